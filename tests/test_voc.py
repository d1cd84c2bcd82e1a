"""PASCAL VOC 2012: 20 classes; background not scored in one folder and class 20 in the other; void stays void."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_sets import read, save_label, save_pair

from ovss.datasets.label_images import relabel
from ovss.datasets.prepare import Outcome, prepare
from ovss.datasets.source_files import read_names
from ovss.datasets.table import BENCHMARKS, SPLITS
from ovss.datasets.voc import FOLDERS, OUTPUTS, convert, plan, table

HOME = "VOCdevkit/VOC2012"
VAL = ["2007_000033", "2007_000042"]  # of the official list


def save_masks(folder, *names: str, palette: bool = False) -> None:
    for name in names:
        save_pair(folder, "SegmentationClassAug", "JPEGImages", name, [[0, 1, 20, 255]], palette=palette)


def save_list(folder, *lines: str) -> None:
    path = folder / "ImageSets/Segmentation/val.txt"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines))


@given(st.lists(st.sampled_from([*range(21), 255]), min_size=1, max_size=40))
def test_table(values):
    image = np.array([values], np.uint8)
    for background in (20, 255):
        expected = [background if value == 0 else 255 if value == 255 else value - 1 for value in values]
        assert relabel(image, table(background)).tolist() == [expected]


@pytest.mark.parametrize("home", [HOME, "VOC2012"])
@pytest.mark.parametrize("palette", [False, True])
def test_val_has_both_folders_in_both_layouts(tmp_path, home, palette):
    folder = tmp_path / home
    save_masks(folder, *VAL, "2008_000003", palette=palette)
    save_list(folder, *VAL, "")
    outcome = prepare(plan(tmp_path, "val"), workers=1)
    assert outcome == Outcome(written=4, notes=["2 of 1,449 pictures: not the whole benchmark"])
    for name in VAL:
        assert read(folder / f"annotations_detectron2/val/{name}.png") == [[255, 0, 19, 255]]
        assert read(folder / f"annotations_detectron2_bg/val/{name}.png") == [[20, 0, 19, 255]]
    assert len(list(folder.glob("annotations_detectron2*/*/*"))) == 4


def test_what_is_written_is_what_evaluation_reads(tmp_path):
    rows = [row for row in BENCHMARKS if row.preparation == "voc"]
    for number, home in enumerate(FOLDERS):
        written = {(f"{home}/JPEGImages", f"{home}/{output}") for outputs in OUTPUTS.values() for output in outputs}
        assert written == {row.layouts[number] for row in rows}


def test_without_its_list_the_official_one_counts(tmp_path):
    save_masks(tmp_path / HOME, *VAL, "2008_000003")
    made = plan(tmp_path, "val")
    assert [item.outputs[0].stem for item in made.items] == VAL
    (note,) = made.notes
    assert note.endswith("val.txt is not there; the official list of val pictures was used in its place")


def test_a_list_that_is_not_the_official_one(tmp_path):
    save_masks(tmp_path / HOME, VAL[0], "2008_000003")
    save_list(tmp_path / HOME, VAL[0], "2008_000003")
    made = plan(tmp_path, "val")
    assert len(made.items) == 2
    (note,) = made.notes
    assert note.endswith("val.txt: 1 pictures are not of the official val, the first is 2008_000003")


def test_a_listed_picture_without_a_mask_is_named(tmp_path):
    save_masks(tmp_path / HOME, VAL[0])
    save_list(tmp_path / HOME, *VAL)
    outcome = prepare(plan(tmp_path, "val"), workers=1)
    assert outcome.written == 2
    assert outcome.failures == [f"{tmp_path}/{HOME}/SegmentationClassAug/{VAL[1]}.png: no such file"]


def test_train_is_all_that_is_not_val(tmp_path):
    save_masks(tmp_path / HOME, *VAL, "2008_000003", "2011_000006")
    made = plan(tmp_path, "train")
    assert (len(made.items), made.expected) == (2, 10582)
    assert prepare(made, workers=1).written == 2
    assert read(tmp_path / f"{HOME}/annotations_detectron2/train/2008_000003.png") == [[255, 0, 19, 255]]


def test_a_mask_without_labels_is_left_out_where_background_is_none(tmp_path):
    """As in the official script: void and background alone hold nothing to score, but background may be a class."""
    save_pair(tmp_path / HOME, "SegmentationClassAug", "JPEGImages", VAL[0], [[0, 255]])
    outcome = prepare(plan(tmp_path, "val"), workers=1)
    assert (outcome.written, outcome.left_out, outcome.failures) == (1, 1, [])
    assert read(tmp_path / f"{HOME}/annotations_detectron2_bg/val/{VAL[0]}.png") == [[20, 255]]


def test_unknown_values_become_unlabelled_and_are_told(tmp_path):
    path = save_label(tmp_path / "a.png", [[5, 21, 254]])
    with pytest.warns(UserWarning, match="no class of the set"):
        outputs = convert(path, (255, 20))
    assert [labels.tolist() for labels in outputs] == [[[4, 255, 255]]] * 2


@pytest.mark.parametrize(
    ("split", "names", "message"),
    [
        ("val", [], r"SegmentationClassAug: no label images .* SegmentationClassAug\.zip"),
        ("train", VAL, "SegmentationClassAug: none of its 2 label images is of train"),
        ("val", ["2008_000003"], "SegmentationClassAug: none of its 1 label images is of val"),
    ],
)
def test_nothing_to_prepare(tmp_path, split, names, message):
    save_masks(tmp_path / HOME, *names)
    with pytest.raises(ValueError, match=message):
        plan(tmp_path, split)


@pytest.mark.parametrize("line", ["../../etc/passwd", "2007_000033 1", "2007_000033.png", "ü"])
def test_a_list_of_something_else(tmp_path, line):
    save_masks(tmp_path / HOME, *VAL)
    save_list(tmp_path / HOME, *VAL, line)
    with pytest.raises(ValueError, match=r"val\.txt: .* is no name of a picture"):
        plan(tmp_path, "val")


def test_a_list_from_any_editor(tmp_path):
    """Lines of Windows, a byte order mark, blank lines, a name twice, no end of the last line."""
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf2007_000042\r\n\r\n 2007_000033 \r\n2007_000042\r\n2007_000061")
    assert read_names(tmp_path / "a.txt") == ["2007_000042", "2007_000033", "2007_000061"]


def test_an_empty_list_and_an_unreadable_one(tmp_path):
    (tmp_path / "a.txt").write_text("\n\n")
    with pytest.raises(ValueError, match=r"a\.txt: an empty list"):
        read_names(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ValueError, match=r"a\.txt: cannot be read"):
        read_names(tmp_path / "a.txt")


def test_real_masks_in_grey_and_in_colours_are_the_same(shared):
    folder = shared / "samples/voc_extra"
    pairs = [("labels_only/gray_L/2007_000032.png", "labels_only/SegmentationClassAug/2007_000032.png")]
    raw = f"../raw/{HOME}/SegmentationClassAug"
    pairs += [(f"gray_L_derived/2011_00000{n}.png", f"{raw}/2011_00000{n}.png") for n in (3, 6)]
    for pair in pairs:
        modes = [Image.open(folder / path).mode for path in pair]
        assert modes == ["L", "P"]
        grey, coloured = (convert(folder / path, (255, 20)) for path in pair)
        for one, other in zip(grey, coloured, strict=True):
            np.testing.assert_array_equal(one, other)


def test_real_masks_lose_and_gain_nothing(shared):
    """Counted class by class, against the values of the mask; one of them has no void border (SBD's)."""
    masks = sorted((shared / "samples/voc_extra/labels_only").glob("*/*.png"))
    assert len(masks) > 8
    for path in masks:
        before = np.bincount(np.asarray(Image.open(path)).ravel(), minlength=256)
        plain, with_background = (np.bincount(labels.ravel(), minlength=256) for labels in convert(path, (255, 20)))
        assert plain[:20].tolist() == with_background[:20].tolist() == before[1:21].tolist()
        assert plain[255] == before[0] + before[255]
        assert (with_background[20], with_background[255]) == (before[0], before[255])


def test_the_shipped_list():
    names = read_names(SPLITS / "voc_2012_val.txt")
    assert len(names) == 1449
    assert set(VAL) < set(names)
