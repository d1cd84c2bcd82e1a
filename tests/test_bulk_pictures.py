"""Many pictures through one model: order, batches, what a bad one costs, and how many are in memory."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovss.bulk import pictures
from ovss.bulk.jobs import Job, is_done
from ovss.bulk.pictures import segment_jobs
from ovss.images import ImageError
from ovss.predictor import Predictor
from ovss.vocabulary import Vocabulary

WORDS = Vocabulary.parse("red, green, blue")


def jobs(folder: Path, count: int, bad: tuple[int, ...] = ()) -> list[Job]:
    made = []
    for index in range(count):
        path = folder / f"{index}.png"
        pixels = np.zeros((4, 6, 3), np.uint8)
        pixels[..., index % 3] = 200
        Image.fromarray(pixels).save(path)
        if index in bad:
            path.write_bytes(b"no picture")
        made.append(Job(path, path.stem))
    return made


def predictor(sizes: list[int] | None = None, transform=lambda image: image) -> Predictor:
    def by_colour(batch):
        if sizes is not None:
            sizes.append(len(batch))
        return [{"sem_seg": request["image"].float()} for request in batch]

    return Predictor(by_colour, transform, WORDS)


def test_outcomes_come_in_order_and_bad_pictures_cost_themselves_alone(tmp_path):
    sizes: list[int] = []
    out = tmp_path / "out"
    outcomes = list(segment_jobs(predictor(sizes), jobs(tmp_path, 8, bad=(1, 6)), out, ["labels"], batch_size=3))
    assert [outcome.job.stem for outcome in outcomes] == list("01234567")
    assert [outcome.job.stem for outcome in outcomes if outcome.record is None] == ["1", "6"]
    assert outcomes[1].error.startswith("not a readable picture")
    assert sizes == [2, 3, 1]
    for index in (0, 2, 3, 4, 5, 7):
        assert (np.asarray(Image.open(out / f"{index}_labels.png")) == index % 3).all()
        assert outcomes[index].record == json.loads((out / f"{index}.json").read_text())
        assert outcomes[index].record["file"] == str(tmp_path / f"{index}.png")


def test_a_picture_that_cannot_be_resized_does_not_cost_its_batch(tmp_path):
    def thin(image):
        if image[0, 0, 1] == 200:
            raise ImageError("too thin")
        return image

    outcomes = list(segment_jobs(predictor(transform=thin), jobs(tmp_path, 6), tmp_path / "out", [], batch_size=6))
    assert [outcome.error for outcome in outcomes] == ["", "too thin", "", "", "too thin", ""]


def test_mistakes_of_the_run_end_it(tmp_path):
    def unknown(batch):
        raise ValueError("does not know ['zebra']")

    with pytest.raises(ValueError, match="zebra"):
        list(segment_jobs(Predictor(unknown, lambda image: image, WORDS), jobs(tmp_path, 3), tmp_path / "out", []))
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        list(segment_jobs(predictor(), jobs(tmp_path, 3), tmp_path / "file", []))


def test_a_file_that_changes_while_it_is_segmented_is_not_done(tmp_path):
    (job,) = jobs(tmp_path, 1)

    def changing(image):
        job.path.write_bytes(b"another by now")
        return image

    (outcome,) = segment_jobs(predictor(transform=changing), [job], tmp_path / "out", [])
    assert not is_done(job, tmp_path / "out", outcome.record["run"], [])


def test_few_probabilities_wait_to_be_written(tmp_path, monkeypatch):
    """They are K*H*W values a picture: the next is made when the last is written."""
    events: list[str] = []
    write = pictures._write

    def spy(read, *rest):
        outcome = write(read, *rest)
        events.append(f"written {read.job.stem}")
        return outcome

    def noting(image):
        events.append("made")
        return image

    monkeypatch.setattr(pictures, "_write", spy)
    list(segment_jobs(predictor(transform=noting), jobs(tmp_path, 3), tmp_path / "out", ["probabilities"]))
    assert events == ["made", "written 0", "made", "written 1", "made", "written 2"]


def test_no_more_pictures_are_read_than_are_needed(tmp_path, monkeypatch):
    """Nothing is read long before it is asked for, however many there are."""
    read, lock = [], threading.Lock()

    def spy(path):
        with lock:
            read.append(path)
        return np.zeros((4, 6, 3), np.uint8)

    monkeypatch.setattr(pictures, "read_image", spy)
    many = [Job(Path(f"{index}.png"), str(index)) for index in range(200)]
    outcomes = segment_jobs(predictor(), many, tmp_path / "out", [])
    next(outcomes)
    assert len(read) < 20
    assert len(list(outcomes)) == 199
