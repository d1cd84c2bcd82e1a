"""What a bulk run has to do: files from folders and standard input, names for their results, and what is done."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovss.bulk.coco import merge
from ovss.bulk.jobs import Job, check_inputs_stay, find_jobs, is_done, listed_paths, unique_stems
from ovss.images import ImageError
from ovss.segmentation import Segmentation


def save(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4)).save(path)
    return str(path)


def made(file: str = "a.png", value: int = 0) -> Segmentation:
    labels, image = np.full((4, 6), value), np.zeros((4, 6, 3), np.uint8)
    return Segmentation(labels, np.ones((4, 6), np.float32), ("cat", "wall"), image, file)


def test_pictures_and_videos_of_folders_and_standard_input(tmp_path, monkeypatch):
    first, second = save(tmp_path / "in/b.png"), save(tmp_path / "other/a.png")
    (tmp_path / "in/a.MP4").write_bytes(b"a film")
    (tmp_path / "in/notes.txt").write_text("no picture")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{second}\n\n{first}\n"))
    jobs = find_jobs([str(tmp_path / "in"), "-"])
    assert [(job.path.name, job.stem, job.is_video) for job in jobs] == [
        ("a.MP4", "a", True),
        ("b.png", "b", False),
        ("a.png", "a_2", False),
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
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
    made(str(photo)).save(tmp_path, "a", ["labels"], told={"run": "run"})
    assert is_done(job, tmp_path, "run", ["labels"])
    assert not is_done(job, tmp_path, "of another model", ["labels"])
    assert not is_done(Job(Path("b/a.png"), "a"), tmp_path, "run", ["labels"])
    assert not is_done(job, tmp_path, "run", ["labels", "overlay"])
    assert not is_done(job, tmp_path, "run", ["rle"])
    later = (tmp_path / "a.json").stat().st_mtime_ns + 10**9
    os.utime(photo, ns=(later, later))
    assert not is_done(job, tmp_path, "run", ["labels"]), "the picture is another one by now"
    os.utime(photo, ns=(0, 0))
    (tmp_path / "a_labels.png").unlink()
    assert not is_done(job, tmp_path, "run", ["labels"])
    (tmp_path / "a.json").write_text("[1]")
    assert not is_done(job, tmp_path, "run", [])


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


def test_no_result_is_written_over_an_input(tmp_path):
    paths = [Path(save(tmp_path / name)) for name in ("a.png", "a_labels.png")]
    jobs = [Job(path, path.stem) for path in paths]
    with pytest.raises(ValueError, match=r"would overwrite .*a_labels\.png, which is an input: give another --output"):
        check_inputs_stay(jobs, tmp_path, ["labels"])
    check_inputs_stay(jobs, tmp_path, ["overlay"])
    check_inputs_stay(jobs, tmp_path / "out", ["labels"])


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


def test_pictures_of_other_words_are_not_put_into_one_file(tmp_path):
    made().save(tmp_path, "a", ["panoptic"])
    other = Segmentation(**{**vars(made()), "classes": ("sofa", "wall")})
    other.save(tmp_path, "b", ["panoptic"])
    with pytest.raises(ValueError, match="segmented with other words"):
        merge(tmp_path, ["panoptic"])
