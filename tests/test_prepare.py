"""The engine of preparation: what is written, kept, made again and reported, file by file."""

import os
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovss.datasets.plan import Item, Plan
from ovss.datasets.prepare import Outcome, prepare
from ovss.files import write_atomic


def grey(value: int) -> list[np.ndarray]:
    """What an item makes of its source: here a flat label image of 4 x 6 px."""
    return [np.full((4, 6), value, np.uint8)]


def broken(name: str) -> list[np.ndarray]:
    raise ValueError(f"{name}: truncated")


def changed(value: int) -> list[np.ndarray]:
    warnings.warn("value 9 became 0", stacklevel=1)
    return grey(value)


def small_plan(folder: Path, count: int = 3, **changes) -> Plan:
    items = [Item((folder / f"{index}.png",), partial(grey, index)) for index in range(count)]
    return Plan(**{"items": items, "expected": count, **changes})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_of_all_kinds_and_their_folders(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    arrays = [grey(7)[0], np.full((4, 6), 700, np.uint16), picture]
    outputs = tuple(tmp_path / f"new/{name}" for name in ("a.png", "b.tif", "c.jpg"))
    outcome = prepare(Plan([Item(outputs, partial(list, arrays))], 1), workers=1)
    assert outcome == Outcome(written=3)
    for output, array, mode in zip(outputs[:2], arrays[:2], ("L", "I;16"), strict=True):
        assert Image.open(output).mode == mode
        np.testing.assert_array_equal(np.asarray(Image.open(output)), array)
    assert Image.open(outputs[2]).size == (6, 4)


def test_whole_files_are_kept_and_damaged_ones_made_again(tmp_path):
    assert prepare(small_plan(tmp_path), workers=1) == Outcome(written=3)
    first = contents(tmp_path)
    assert prepare(small_plan(tmp_path), workers=1) == Outcome(kept=3)
    (tmp_path / "0.png").write_bytes(first["0.png"][:-20])  # a killed copy
    (tmp_path / "1.png").write_bytes(b"")
    assert prepare(small_plan(tmp_path), workers=1) == Outcome(written=2, kept=1)
    assert contents(tmp_path) == first


def test_overwrite_makes_whole_files_again(tmp_path):
    prepare(small_plan(tmp_path), workers=1)
    Image.new("L", (6, 4), 99).save(tmp_path / "2.png")
    assert prepare(small_plan(tmp_path), workers=1) == Outcome(kept=3), "it cannot know"
    assert prepare(small_plan(tmp_path), workers=1, overwrite=True) == Outcome(written=3)
    assert (np.asarray(Image.open(tmp_path / "2.png")) == 2).all()


def test_kept_outputs_of_an_item_are_not_written_again(tmp_path):
    outputs = (tmp_path / "a.png", tmp_path / "b.png")
    plan = Plan([Item(outputs, partial(list, grey(1) + grey(2)))], 1)
    prepare(plan, workers=1)
    before = outputs[0].stat().st_mtime_ns
    outputs[1].unlink()
    assert prepare(plan, workers=1) == Outcome(written=1, kept=1)
    assert outputs[0].stat().st_mtime_ns == before


def test_an_output_that_is_left_out(tmp_path):
    outputs = (tmp_path / "a.png", tmp_path / "b.png")
    plan = Plan([Item(outputs, partial(list, [None, *grey(1)]))], 1)
    assert prepare(plan, workers=1) == Outcome(written=1, left_out=1)
    assert os.listdir(tmp_path) == ["b.png"]
    assert prepare(plan, workers=1) == Outcome(kept=1, left_out=1)


def test_leftovers_of_killed_runs_go_and_nothing_else(tmp_path):
    leftover = tmp_path / ".0.png.0123abcd.tmp"
    others = {".DS_Store", "note.tmp", ".0.png.0123abcg.tmp"}
    for name in (leftover.name, *others):
        (tmp_path / name).write_text("x")
    prepare(small_plan(tmp_path), workers=1)
    assert set(os.listdir(tmp_path)) == {"0.png", "1.png", "2.png", *others}


def test_leftovers_have_the_names_that_writing_gives(tmp_path):
    """Whatever `write_atomic` calls its files: one that it leaves when it is killed is found."""
    seen = []
    write_atomic(tmp_path / "0.png", lambda file: seen.append(Path(file.name)))
    seen[0].write_text("half")
    prepare(small_plan(tmp_path, 0, items=small_plan(tmp_path).items), workers=1)
    assert not seen[0].exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_wrong_source_is_told_and_the_others_are_done(tmp_path, capsys, workers):
    plan = small_plan(tmp_path)
    items = [*plan.items[:1], Item((tmp_path / "b.png",), partial(broken, "source/b.png")), *plan.items[1:]]
    outcome = prepare(Plan(items, 4), workers=workers)
    assert outcome == Outcome(written=3, failures=["source/b.png: truncated"])
    assert capsys.readouterr().err == "ovss: failed: source/b.png: truncated\n"
    assert sorted(os.listdir(tmp_path)) == ["0.png", "1.png", "2.png"]


def test_pictures_are_there_and_of_the_labels_size(tmp_path):
    """The label image is written all the same, and the pair is looked at again by the next run."""
    Image.new("RGB", (6, 4)).save(tmp_path / "0.jpg")
    Image.new("RGB", (7, 4)).save(tmp_path / "1.jpg")
    (tmp_path / "3.jpg").write_text("no picture")
    turned = Image.Exif()
    turned[0x0112] = 6  # shown with its sides swapped
    Image.new("RGB", (4, 6)).save(tmp_path / "4.jpg", exif=turned)
    labels = tmp_path / "labels"
    items = [Item((labels / f"{n}.png",), partial(grey, n), tmp_path / f"{n}.jpg") for n in range(5)]
    outcome = prepare(Plan(items, 5), workers=1)
    assert outcome.written == 5
    size, missing, unreadable = outcome.failures
    assert size == f"{labels}/1.png is 6 x 4 px, its picture {tmp_path}/1.jpg 7 x 4 px: they must be equal"
    assert missing == f"{tmp_path}/2.jpg: no such file; it is the picture of {labels}/2.png"
    assert unreadable.startswith(f"{tmp_path}/3.jpg: not a readable picture")
    assert prepare(Plan(items, 5), workers=1) == Outcome(kept=5, failures=outcome.failures)


def test_what_had_to_be_changed_is_counted(tmp_path):
    items = [Item((tmp_path / f"{n}.png",), partial(changed if n else grey, n)) for n in range(3)]
    (note,) = prepare(Plan(items, 3), workers=2).notes
    assert note == f"2 of 3 pictures: value 9 became 0; the first is {tmp_path}/1.png"


def test_a_part_of_a_set_and_what_the_plan_says(tmp_path, capsys):
    outcome = prepare(small_plan(tmp_path, expected=5000, notes=["no list"], problems=["b.jpg: no label"]), workers=1)
    assert outcome == Outcome(
        written=3, failures=["b.jpg: no label"], notes=["no list", "3 of 5,000 pictures: not the whole benchmark"]
    )
    assert prepare(small_plan(tmp_path, expected=2), workers=1).notes == [
        "3 of 2 pictures: more than the benchmark has"
    ]


def test_there_before_a_run(tmp_path):
    plan = small_plan(tmp_path / "out")
    assert list(plan.outputs_there()) == [(tmp_path / "out", 3, 0)]
    (tmp_path / "out").mkdir()
    (tmp_path / "out/1.png").touch()
    assert list(plan.outputs_there()) == [(tmp_path / "out", 3, 1)]


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OSError, match=r"out: cannot be written \(File exists\)"):
        prepare(small_plan(tmp_path / "out"), workers=1)
    with pytest.raises(OSError, match=r"out/deep: cannot be written \(Not a directory\)"):
        prepare(small_plan(tmp_path / "out/deep"), workers=1)
    assert (tmp_path / "out").read_text() == "mine"
