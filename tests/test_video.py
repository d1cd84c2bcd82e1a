"""Videos through a model that labels by colour: frames, times, sizes, what is written, what is refused."""

import json
import os
import struct
import tracemalloc
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from PIL import Image

from ovss.bulk.jobs import Job, is_done
from ovss.bulk.video import segment_video, upright
from ovss.images import ImageError
from ovss.palette import palette
from ovss.predictor import Predictor
from ovss.visualize import UNTINTED, legend
from ovss.vocabulary import Vocabulary

WORDS = Vocabulary.parse("red, green, blue")
COLOURS = ((220, 20, 20), (20, 220, 20), (20, 20, 220))


def by_colour(batch):
    return [{"sem_seg": request["image"].float()} for request in batch]


def film(path: Path, frames: int, size=(48, 64), times=None, rate=10, kind=None) -> Job:
    """One colour a frame, red, green and blue in turn; `times` of the frames in tenths of a second."""
    with av.open(str(path), "w", format=kind) as out:
        stream = out.add_stream("libx264", rate=rate, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 10)
        for index in range(frames):
            pixels = np.full((*size, 3), COLOURS[index % 3], np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = (times or range(frames))[index], Fraction(1, 10)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return Job(path, path.stem)


def run(job: Job, folder: Path, outputs=("overlay", "labels"), transform=lambda image: image, **more):
    folder.mkdir(exist_ok=True)
    return segment_video(Predictor(by_colour, transform, WORDS), job, folder, outputs, **more)


def test_every_frame_has_its_labels_and_its_place_in_the_film(tmp_path):
    times = [0, 1, 2, 5, 9, 10]  # as of a camera that drops frames
    record = run(film(tmp_path / "a.mp4", 6, times=times), tmp_path / "out").record
    assert sorted(os.listdir(tmp_path / "out")) == ["a.json", "a_labels", "a_overlay.mp4"]
    assert json.loads((tmp_path / "out/a.json").read_text()) == record
    assert record["frames"] == 6
    assert record["seconds"] == pytest.approx(1.0)
    assert (record["width"], record["height"]) == (64, 48)
    assert record["areas"] == {name: pytest.approx(1 / 3) for name in ("red", "green", "blue")}
    for index in range(6):
        with Image.open(tmp_path / f"out/a_labels/{index:06d}.png") as labels:
            assert (np.asarray(labels) == index % 3).all()
    with av.open(str(tmp_path / "out/a_overlay.mp4")) as made:
        frames = list(made.decode(video=0))
    assert [round(10 * frame.time) for frame in frames] == times
    assert {(frame.width, frame.height) for frame in frames} == {(frames[0].width, frames[0].height)}
    assert frames[0].width == 64
    assert frames[0].height > 48, "the legend is below a wide picture"


def test_a_film_without_a_legend_keeps_its_size_and_odd_sides_are_filled(tmp_path):
    words = Vocabulary.from_words(["red", "green", "blue", *map(str, range(30))])

    def scores(batch):
        found = by_colour(batch)[0]["sem_seg"]
        return [{"sem_seg": torch.cat([found, torch.zeros(30, *found.shape[1:])])}]

    job = film(tmp_path / "a.mp4", 2)
    (tmp_path / "out").mkdir()
    predictor = Predictor(scores, lambda image: image, words)
    assert segment_video(predictor, job, tmp_path / "out", ["overlay"]).error == ""
    with av.open(str(tmp_path / "out/a_overlay.mp4")) as made:
        frame = next(made.decode(video=0))
    assert (frame.width, frame.height) == (64, 48)


def test_background_is_untinted_in_the_legend_as_in_the_film():
    drawn = np.asarray(legend(Image.new("RGB", (600, 400)), ("red", "background"), background=1))
    below = drawn[400:].reshape(-1, 3)
    assert (below == palette(1)[0]).all(1).any()
    assert (below == UNTINTED).all(1).any()
    assert not (below == palette(2)[1]).all(1).any()


@pytest.mark.parametrize("content", [b"no film at all", b""])
def test_what_is_no_video_costs_itself_alone(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    outcome = run(Job(tmp_path / "a.mp4", "a"), tmp_path / "out")
    assert outcome.record is None
    assert outcome.error
    assert os.listdir(tmp_path / "out") == []


def test_a_truncated_film_leaves_nothing_under_its_name(tmp_path):
    job = film(tmp_path / "a.mp4", 6)
    whole = job.path.read_bytes()
    job.path.write_bytes(whole[: len(whole) // 2])
    assert run(job, tmp_path / "out").error.startswith("not a whole video (")
    assert os.listdir(tmp_path / "out") == []


def test_a_film_cut_in_the_middle_leaves_no_frames_behind(tmp_path):
    """Its beginning can be decoded: frames were written before the damage is met."""
    path = tmp_path / "a.mkv"
    job = film(path, 60, size=(96, 128))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(content)
    outcome = run(job, tmp_path / "out")
    names = os.listdir(tmp_path / "out")
    assert names == [] if outcome.record is None else set(names) == {"a.json", "a_labels", "a_overlay.mp4"}


def test_a_second_run_leaves_no_frames_of_the_first(tmp_path):
    run(film(tmp_path / "a.mp4", 9), tmp_path / "out")
    run(film(tmp_path / "a.mp4", 3), tmp_path / "out")
    assert len(os.listdir(tmp_path / "out/a_labels")) == 3
    assert sorted(os.listdir(tmp_path / "out")) == ["a.json", "a_labels", "a_overlay.mp4"]


@pytest.mark.parametrize("kind", ["avi", "h264"])
def test_frames_whose_times_are_wrong_or_missing_follow_each_other(tmp_path, kind):
    """H.264 in an AVI has those of its decoder, out of order; a raw stream has none, and the rate is a guess, 25."""
    record = run(film(tmp_path / f"a.{kind}", 12, kind=kind), tmp_path / "out").record
    rate = 10 if kind == "avi" else 25
    assert record["frames"] == 12
    assert 11 / rate <= record["seconds"] <= 15 / rate
    with av.open(str(tmp_path / "out/a_overlay.mp4")) as made:
        times = [frame.time for frame in made.decode(video=0)]
    assert times[-1] - times[0] >= 11 / rate - 1e-3
    assert min(np.diff(times)) > 0.9 / rate


def test_a_film_is_turned_as_a_player_turns_it(tmp_path):
    """A telephone held upright writes wide frames and a matrix that says: a quarter clockwise."""
    job = film(tmp_path / "a.mp4", 2)
    matrix = [0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000], [0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000]
    still, turned = (struct.pack(">9i", *values) for values in matrix)
    content = job.path.read_bytes()
    start = content.index(b"tkhd")
    job.path.write_bytes(content[:start] + content[start:].replace(still, turned, 1))
    record = run(job, tmp_path / "out").record
    assert (record["width"], record["height"]) == (48, 64)
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)[..., None].repeat(3, axis=2)
    for rotation, expected in (
        (0, pixels),
        (-90, np.rot90(pixels, 3)),
        (90, np.rot90(pixels)),
        (180, pixels[::-1, ::-1]),
    ):
        frame = SimpleNamespace(to_ndarray=lambda format: pixels, rotation=rotation)
        np.testing.assert_array_equal(upright(frame), expected)


def test_a_film_that_cannot_be_resized_costs_itself_alone(tmp_path):
    def thin(image):
        raise ImageError("too thin")

    outcome = run(film(tmp_path / "a.mp4", 2), tmp_path / "out", transform=thin)
    assert (outcome.record, outcome.error) == (None, "too thin")
    assert os.listdir(tmp_path / "out") == []


def test_frames_go_to_the_model_together(tmp_path):
    sizes = []

    def spy(batch):
        sizes.append(len(batch))
        return by_colour(batch)

    job = film(tmp_path / "a.mp4", 5)
    (tmp_path / "out").mkdir()
    outcome = segment_video(Predictor(spy, lambda image: image, WORDS), job, tmp_path / "out", ["labels"], batch_size=2)
    assert sizes == [2, 2, 1]
    assert outcome.record["areas"]["red"] == pytest.approx(2 / 5)


def test_a_folder_of_the_users_own_stays(tmp_path):
    job, own = film(tmp_path / "a.mp4", 2), tmp_path / "out/a_labels/notes.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    with pytest.raises(ValueError, match="a_labels is there, and of no earlier run"):
        run(job, tmp_path / "out")
    assert own.read_text() == "mine"
    own.unlink()
    own.parent.rmdir()
    record = run(job, tmp_path / "out").record
    assert is_done(job, tmp_path / "out", record["run"], ["overlay", "labels"])


def test_a_sound_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert "no video in this file" in run(Job(tmp_path / "a.mp4", "a"), tmp_path / "out").error


def test_memory_does_not_grow_with_the_length(tmp_path):
    peaks = []
    for frames in (8, 80):
        job = film(tmp_path / f"{frames}.mp4", frames, size=(96, 128))
        tracemalloc.start()
        assert run(job, tmp_path / "out").record["frames"] == frames
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
