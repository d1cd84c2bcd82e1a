"""Videos in and out, frame by frame, by PyAV (the extra `video`). Memory does not grow with the length.

The film that is written has the frames, the size and the times of the one that is read, below them a legend of all
classes where there are not too many; it has no sound.
"""

import itertools
import os
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from tqdm import tqdm

from ovss.bulk.jobs import Job, check_targets, mark
from ovss.bulk.pictures import Outcome
from ovss.files import write_atomic, write_json
from ovss.images import MAX_PIXELS, ImageError
from ovss.outputs import VIDEO
from ovss.predictor import Predictor
from ovss.visualize import label_png, legend
from ovss.vocabulary import BACKGROUND

try:
    import av
except ImportError as error:
    raise ValueError("videos are read by PyAV, which is not installed: pip install 'ovss[video]'") from error

MOST_IN_LEGEND = 24


def segment_video(predictor: Predictor, job: Job, folder: Path, outputs: Sequence[str], batch_size: int = 1) -> Outcome:
    """Segment every frame; write NAME_overlay.mp4, NAME_labels/000000.png, ..., and NAME.json, as `outputs` say.

    The JSON's "areas" are means over the frames; it has "frames" and "seconds" too. A file that is no video, or ends
    early, is an outcome with an error, and leaves nothing.

    Raises:
        ValueError: a file or a folder is in the way that no earlier run has written.
        OSError: the folder cannot be written.
    """
    check_targets([job], folder, outputs, resume=True)
    told = mark(job, predictor.run_key(), outputs)
    with tempfile.TemporaryDirectory(prefix=".frames.", suffix=".tmp", dir=folder) as work:
        place = Path(work)
        film = Film(predictor, job, place / "labels" if "labels" in outputs else None, batch_size)
        try:
            if "overlay" in outputs:
                with open(place / "overlay", "xb") as out:
                    film.write(out)
            else:
                film.write(None)
        except av.error.FFmpegError as error:
            return Outcome(job, None, f"not a whole video ({error.strerror})")
        except ImageError as error:
            return Outcome(job, None, str(error))
        record_file = folder / f"{job.stem}.json"
        record_file.unlink(missing_ok=True)
        if film.labels is not None:
            target = folder / f"{job.stem}{VIDEO['labels']}"
            if target.exists():  # of an earlier run, which may have had more frames
                os.replace(target, place / "labels_before")
            os.replace(film.labels, target)
        if "overlay" in outputs:
            os.replace(place / "overlay", folder / f"{job.stem}{VIDEO['overlay']}")
        write_json(record_file, record := film.record() | told)
    return Outcome(job, record)


class Film:
    """One video on its way through a model.

    Args:
        predictor: with words of its own.
        job: the file.
        labels: the folder for a label PNG of each frame; None for none.
        batch_size: frames that go to the model together.
    """

    def __init__(self, predictor: Predictor, job: Job, labels: Path | None, batch_size: int = 1):
        self.predictor, self.job, self.labels, self.batch_size = predictor, job, labels, batch_size
        self.classes = predictor.words().classes
        self.background = self.classes.index(BACKGROUND) if BACKGROUND in self.classes else None
        self.areas = np.zeros(len(self.classes))
        self.frames, self.seconds, self.size = 0, 0.0, (0, 0)

    def write(self, out: BinaryIO | None) -> None:
        """Segment all frames; write the film to `out`, or none."""
        with av.open(str(self.job.path)) as source:
            if not source.streams.video:
                raise ImageError("no video in this file")
            stream = source.streams.video[0]
            stream.thread_type = "AUTO"
            rate = stream.average_rate or Fraction(25)
            base = stream.time_base or 1 / rate
            frames = tqdm(
                source.decode(stream), total=stream.frames or None, unit="frame", desc=self.job.stem, disable=None
            )
            segmented = self._segmented(timed(frames, max(1, round(1 / (rate * base)))), base)
            if out is None:
                for _ in segmented:
                    pass
            else:
                with av.open(out, "w", format="mp4") as film:
                    encode(film, segmented, rate, base)
        if not self.frames:
            raise ImageError("no frame in this video can be decoded")

    def _segmented(self, frames: Iterator[tuple[np.ndarray, int]], base: Fraction) -> Iterator[tuple[Image.Image, int]]:
        """Each frame's overlay with its time, in units of the time base."""
        while batch := list(itertools.islice(frames, self.batch_size)):
            images = [image for image, _ in batch]
            for found, (image, time) in zip(self.predictor.segment(images, batch_size=len(batch)), batch, strict=True):
                self.areas += list(found.areas().values())
                self.seconds, self.size = float(time * base), image.shape[1::-1]
                if self.labels is not None:
                    self.labels.mkdir(exist_ok=True)
                    picture = label_png(found.labels)
                    write_atomic(self.labels / f"{self.frames:06d}.png", partial(picture.save, format="PNG"))
                self.frames += 1
                yield self._drawn(found.overlay(legend=False)), time

    def _drawn(self, overlay: Image.Image) -> Image.Image:
        """The frame's overlay at the frame's size, and the legend of all classes below."""
        picture = overlay.resize(self.size, Image.Resampling.LANCZOS)
        return legend(picture, self.classes, self.background) if len(self.classes) <= MOST_IN_LEGEND else picture

    def record(self) -> dict[str, Any]:
        """What NAME.json holds."""
        areas = dict(zip(self.classes, (self.areas / self.frames).tolist(), strict=True))
        told = {
            "file": str(self.job.path),
            "width": self.size[0],
            "height": self.size[1],
            "classes": list(self.classes),
        }
        return told | {"areas": areas, "frames": self.frames, "seconds": self.seconds}


def timed(frames: Iterator[Any], step: int) -> Iterator[tuple[np.ndarray, int]]:
    """Each frame's picture with its time; where that is missing or not above the last one, `step` after that."""
    time = None
    for frame in frames:
        if frame.width * frame.height > MAX_PIXELS:
            raise ImageError(f"frames of {frame.width} x {frame.height} px, more than the limit of {MAX_PIXELS} px")
        if frame.pts is not None and (time is None or frame.pts > time):
            time = frame.pts
        else:
            time = 0 if time is None else time + step
        yield upright(frame), time


def upright(frame: Any) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a frame, turned as a player shows it."""
    image = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def encode(film: Any, pictures: Iterator[tuple[Image.Image, int]], rate: Fraction, time_base: Fraction) -> None:
    """Write pictures of one size, each with its time, as H.264, which every browser plays."""
    stream = None
    for picture, time in pictures:
        if stream is None:
            stream = film.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "veryfast"})
            stream.width, stream.height = (side + side % 2 for side in picture.size)
            stream.pix_fmt = "yuv420p"  # has half as many colours a side, and so even sides
            stream.codec_context.time_base = time_base
        canvas = Image.new("RGB", (stream.width, stream.height))
        canvas.paste(picture)
        frame = av.VideoFrame.from_image(canvas)
        frame.pts, frame.time_base = time, time_base
        film.mux(stream.encode(frame))
    if stream is not None:
        film.mux(stream.encode(None))
