"""Videos in and out, frame by frame, by PyAV (the extra `video`). Memory does not grow with the length.

The film that is written has the frames, the size and the times of the one that is read, below them a legend of all
classes where there are not too many; it has no sound.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from tqdm import tqdm

from ovss.bulk.jobs import Job
from ovss.bulk.pictures import Outcome
from ovss.files import write_atomic, write_json
from ovss.images import MAX_PIXELS
from ovss.outputs import VIDEO
from ovss.predictor import Predictor
from ovss.visualize import label_png, legend
from ovss.vocabulary import BACKGROUND

try:
    import av
except ImportError as error:
    raise ValueError("videos are read by PyAV, which is not installed: pip install 'ovss[video]'") from error

MOST_IN_LEGEND = 24


def segment_video(predictor: Predictor, job: Job, folder: Path, outputs: Sequence[str]) -> Outcome:
    """Segment every frame; write NAME_overlay.mp4, NAME_labels/000000.png, ..., and NAME.json, as `outputs` say.

    The JSON's "areas" are means over the frames; it has "frames" and "seconds" too. A file that is no video, or ends
    early, is an outcome with an error, and leaves nothing.

    Raises:
        OSError: the folder cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix=".frames.", suffix=".tmp", dir=folder) as place:
        film = Film(predictor, job, Path(place) / "labels" if "labels" in outputs else None)
        try:
            if "overlay" in outputs:
                write_atomic(folder / f"{job.stem}{VIDEO['overlay']}", film.write)
            else:
                film.write(None)
        except (av.error.FFmpegError, VideoError) as error:
            reason = error.strerror if isinstance(error, av.error.FFmpegError) else error
            return Outcome(job, None, f"not a whole video ({reason})")
        if film.labels is not None:
            target = folder / f"{job.stem}{VIDEO['labels']}"
            shutil.rmtree(target, ignore_errors=True)  # of an earlier run, which may have had more frames
            os.replace(film.labels, target)
    write_json(folder / f"{job.stem}.json", record := film.record())
    return Outcome(job, record)


class VideoError(ValueError):
    """A video that cannot be used, and why."""


class Film:
    """One video on its way through a model.

    Args:
        predictor: with words of its own.
        job: the file.
        labels: the folder for a label PNG of each frame; None for none.
    """

    def __init__(self, predictor: Predictor, job: Job, labels: Path | None):
        self.predictor, self.job, self.labels = predictor, job, labels
        self.classes = predictor.words().classes
        self.background = self.classes.index(BACKGROUND) if BACKGROUND in self.classes else None
        self.areas = np.zeros(len(self.classes))
        self.frames, self.seconds, self.size = 0, 0.0, (0, 0)

    def write(self, out: BinaryIO | None) -> None:
        """Segment all frames; write the film to `out`, or none."""
        with av.open(str(self.job.path)) as source:
            if not source.streams.video:
                raise VideoError("no video in this file")
            stream = source.streams.video[0]
            stream.thread_type = "AUTO"
            rate = stream.average_rate or Fraction(25)
            frames = tqdm(
                source.decode(stream), total=stream.frames or None, unit="frame", desc=self.job.stem, disable=None
            )
            if out is None:
                for _ in self._segmented(frames):
                    pass
                return
            with av.open(out, "w", format="mp4") as film:
                encode(film, self._segmented(frames), rate, stream.time_base)
        if not self.frames:
            raise VideoError("no frame in this video can be decoded")

    def _segmented(self, frames: Iterator[Any]) -> Iterator[tuple[Image.Image, int | None]]:
        """Each frame's overlay with its time, in units of the stream's time base."""
        for frame in frames:
            if frame.width * frame.height > MAX_PIXELS:
                raise VideoError(f"frames of {frame.width} x {frame.height} px, more than the limit of {MAX_PIXELS} px")
            image = upright(frame)
            found = self.predictor.segment(image)
            self.areas += list(found.areas().values())
            self.seconds, self.size = float(frame.time or 0), image.shape[1::-1]
            if self.labels is not None:
                self.labels.mkdir(exist_ok=True)
                picture = label_png(found.labels)
                write_atomic(self.labels / f"{self.frames:06d}.png", partial(picture.save, format="PNG"))
            self.frames += 1
            yield self._drawn(found.overlay(legend=False)), frame.pts

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
        return told | {"run": self.predictor.run_key(), "areas": areas, "frames": self.frames, "seconds": self.seconds}


def upright(frame: Any) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a frame, turned as a player shows it."""
    image = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def encode(film: Any, pictures: Iterator[tuple[Image.Image, int | None]], rate: Fraction, time_base: Fraction) -> None:
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
