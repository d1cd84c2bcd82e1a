"""What a bulk run has to do: files from folders and standard input, names for their results, and what is done."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovss.bulk.coco import check_words, merge
from ovss.bulk.jobs import (
    Job,
    check_inputs_stay,
    check_targets,
    find_jobs,
    is_done,
    listed_paths,
    mark,
    unique_stems,
)
from ovss.images import ImageError
from ovss.segmentation import Segmentation


def save(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4)).save(path)
    return str(path)


def made(file: str = "a.png", value: int = 0) -> Segmentation:
    labels, image = np.full((4, 6), value), np.zeros((4, 6, 3), np.uint8)
    return Segmentation(labels, np.ones((4, 6), np.float32), ("cat", "wall"), image, file)


def listed(content: bytes) -> io.TextIOWrapper:
    """A standard input that takes only ASCII as text."""
    return io.TextIOWrapper(io.BytesIO(content), "ascii")


def test_pictures_and_videos_of_folders_and_standard_input(tmp_path, monkeypatch):
    first, second = save(tmp_path / "in/b.png"), save(tmp_path / "other/a.png")
    (tmp_path / "in/a.MP4").write_bytes(b"a film")
    (tmp_path / "in/notes.txt").write_text("no picture")
    monkeypatch.setattr("sys.stdin", listed(f"{second}\n\n{first}\n".encode()))
    jobs = find_jobs([str(tmp_path / "in"), "-"])
    assert [(job.path.name, job.stem, job.is_video) for job in jobs] == [
        ("a.MP4", "a", True),
        ("b.png", "b", False),
        ("a.png", "a_2", False),
    ]
    monkeypatch.setattr("sys.stdin", listed(b"\n"))
    with pytest.raises(ValueError, match="nothing on standard input"):
        find_jobs(["-"])
    with pytest.raises(ImageError, match="absent: no such file or folder"):
        find_jobs(["absent"])


def test_unique_stems():
    paths = [Path(name) for name in ("x/a.png", "a.jpg", "a_2.png", "A.png", "b.png", "coco_panoptic.png")]
    assert unique_stems(paths) == ["a", "a_2", "a_2_2", "A_3", "b", "coco_panoptic_2"]


def test_done_is_what_is_whole_and_of_the_same_file_and_run(tmp_path):
    photo = Path(save(tmp_path / "in/a.png"))
    job = Job(photo, "a")
    assert not is_done(job, tmp_path, "run", ["labels"])
    made(str(photo)).save(tmp_path, "a", ["labels"], mark(job, "run", ["labels"]))
    assert is_done(job, tmp_path, "run", ["labels"])
    assert not is_done(job, tmp_path, "of another model", ["labels"])
    assert not is_done(Job(Path("b/a.png"), "a"), tmp_path, "run", ["labels"])
    assert not is_done(job, tmp_path, "run", ["labels", "overlay"])
    assert not is_done(job, tmp_path, "run", ["rle"])
    before = photo.stat().st_mtime_ns
    for other in (before + 10**9, 0):
        os.utime(photo, ns=(other, other))
        assert not is_done(job, tmp_path, "run", ["labels"]), "the picture is another one by now, newer or older"
    os.utime(photo, ns=(before, before))
    assert is_done(job, tmp_path, "run", ["labels"])
    (tmp_path / "a_labels.png").unlink()
    assert not is_done(job, tmp_path, "run", ["labels"])
    (tmp_path / "a.json").write_text("[1]")
    assert not is_done(job, tmp_path, "run", [])


@pytest.mark.parametrize("output", ["overlay", "panoptic"])
def test_files_of_another_run_do_not_make_a_picture_done(tmp_path, output):
    """A record tells of its own run's files alone, though those of an earlier one with other words are there."""
    job = Job(Path(save(tmp_path / "in/a.png")), "a")
    for run, outputs in (("first", ["labels", output]), ("second", ["labels"])):
        made(str(job.path)).save(tmp_path, "a", outputs, mark(job, run, outputs))
    assert is_done(job, tmp_path, "second", ["labels"])
    assert not is_done(job, tmp_path, "second", ["labels", output])


def test_a_record_does_not_vouch_for_files_that_are_being_written(tmp_path, monkeypatch):
    job = Job(Path(save(tmp_path / "in/a.png")), "a")
    made(str(job.path)).save(tmp_path, "a", ["labels"], mark(job, "first", ["labels"]))
    monkeypatch.setattr("ovss.segmentation.write_json", lambda *_: (_ for _ in ()).throw(OSError("stopped here")))
    with pytest.raises(OSError, match="stopped here"):
        made(str(job.path), 1).save(tmp_path, "a", ["labels"], mark(job, "second", ["labels"]))
    assert not is_done(job, tmp_path, "first", ["labels"])


def test_names_that_no_file_could_have(tmp_path):
    """Long ones are cut, bytes that are no text are question marks; both keep apart."""
    long, odd = Path("x" * 240 + ".png"), Path(os.fsdecode(b"bad\xff.png"))
    stems = unique_stems([long, Path("x" * 239 + ".png"), odd])
    assert stems == ["x" * 200, "x" * 200 + "_2", "bad?"]
    made(str(odd)).save(tmp_path, stems[2])
    assert json.loads((tmp_path / "bad?.json").read_bytes())["file"] == str(odd)


def test_a_list_keeps_spaces_and_takes_nul(tmp_path):
    assert listed_paths(" lead.png\na b.png\n\n") == [Path(" lead.png"), Path("a b.png")]
    assert listed_paths("new\nline.png\0b.png\0") == [Path("new\nline.png"), Path("b.png")]


def test_a_list_is_bytes_and_may_come_from_windows(monkeypatch):
    monkeypatch.setattr("sys.stdin", listed(b"caf\xe9.png\r\nb.png\r\n"))
    assert [job.path for job in find_jobs(["-"])] == [Path(os.fsdecode(b"caf\xe9.png")), Path("b.png")]


def test_no_result_is_written_over_an_input(tmp_path):
    paths = [Path(save(tmp_path / name)) for name in ("a.png", "a_labels.png")]
    jobs = [Job(path, path.stem) for path in paths]
    with pytest.raises(ValueError, match=r"would overwrite .*a_labels\.png, which is an input: give another --output"):
        check_inputs_stay(jobs, tmp_path, ["labels"])
    check_inputs_stay(jobs, tmp_path, ["overlay"])
    check_inputs_stay(jobs, tmp_path / "out", ["labels"])


def test_no_result_is_written_over_what_no_run_has_written(tmp_path):
    picture, film = Job(Path("a.png"), "a"), Job(Path("b.mp4"), "b")

    def check(*jobs, resume=False):
        check_targets(jobs, tmp_path, ["overlay", "labels"], resume)

    check(picture, film)
    (tmp_path / "a.json").write_text('{"shapes": [], "imagePath": "a.png"}')  # labelme's
    for resume in (False, True):
        with pytest.raises(ValueError, match=r"a\.json is there, and of no earlier run"):
            check(picture, resume=resume)
    made().save(tmp_path, "a")
    check(picture)
    (tmp_path / "a.json").unlink()
    with pytest.raises(ValueError, match=r"a_labels\.png|a_overlay\.jpg"):
        check(picture)
    check(picture, resume=True)  # of a run that was stopped
    (tmp_path / "b_labels").mkdir()
    made("b.mp4").save(tmp_path, "b", [], {"frames": 1, "outputs": ["overlay"]})
    for resume in (False, True):
        with pytest.raises(ValueError, match="b_labels is there, and of no earlier run"):
            check(film, resume=resume)
    made("b.mp4").save(tmp_path, "b", [], {"frames": 1, "outputs": ["labels"]})
    check(film)


def test_one_file_about_all_pictures_in_coco_formats(tmp_path):
    outputs = ["panoptic", "rle"]
    for stem, value in (("b", 1), ("a", 0)):
        made(f"in/{stem}.png", value).save(tmp_path, stem, outputs)
    made("in/c.png").save(tmp_path, "c", [])  # of a run that asked for less
    (tmp_path / "notes.json").write_text("{not JSON")  # somebody else's
    assert merge(tmp_path, outputs) == [tmp_path / "coco_panoptic.json", tmp_path / "coco_segments.json"]
    panoptic = json.loads((tmp_path / "coco_panoptic.json").read_text())
    assert panoptic["images"] == [
        {"id": stem, "file_name": f"in/{stem}.png", "width": 6, "height": 4} for stem in ("a", "b")
    ]
    assert panoptic["categories"] == [{"id": 0, "name": "cat", "isthing": 0}, {"id": 1, "name": "wall", "isthing": 0}]
    assert [entry["file_name"] for entry in panoptic["annotations"]] == ["a_panoptic.png", "b_panoptic.png"]
    assert panoptic["annotations"][1]["segments_info"][0]["category_id"] == 1
    segments = json.loads((tmp_path / "coco_segments.json").read_text())
    assert [(entry["image_id"], entry["category_id"]) for entry in segments] == [("a", 0), ("b", 1)]
    assert merge(tmp_path, ["overlay"]) == []
    empty = tmp_path / "empty"
    empty.mkdir()
    merge(empty, outputs)
    assert json.loads((empty / "coco_segments.json").read_text()) == []


@pytest.mark.parametrize("output", ["panoptic", "rle"])
def test_pictures_of_other_words_are_not_put_into_one_file(tmp_path, output):
    made().save(tmp_path, "a", [output])
    check_words(tmp_path, [output], ["cat", "wall"])
    with pytest.raises(ValueError, match=r"a\.json was segmented with other words"):
        check_words(tmp_path, [output], ["sofa", "wall"])
    check_words(tmp_path, [output], ["sofa", "wall"], rewritten=["a"])
    check_words(tmp_path, ["labels"], ["sofa", "wall"])
    other = Segmentation(**{**vars(made()), "classes": ("sofa", "wall")})
    other.save(tmp_path, "b", [output])
    with pytest.raises(ValueError, match=r"b\.json was segmented with other words"):
        merge(tmp_path, [output])
    assert not list(tmp_path.glob("coco_*"))
