"""Data sets, the mapper and the evaluator: geometry, rules for void pixels, and every kind of bad label."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from ovss import scenes
from ovss.d2 import catalog
from ovss.d2.api import DatasetCatalog, MetadataCatalog
from ovss.d2.mapper import InputMapper, InputTransform
from ovss.d2.sem_seg_evaluator import SemSegEvaluator
from ovss.datasets.pairs import read_labels
from ovss.vocabulary import Vocabulary


@pytest.fixture
def data(tmp_path):
    """Three pictures of 6 x 4 px, class = column // 2, with one void pixel, as a registered data set."""
    labels = np.tile(np.arange(6, dtype=np.uint8) // 2, (4, 1))
    labels[0, 0] = 255
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for index in range(3):
        Image.fromarray(np.full((4, 6, 3), 40 * index, np.uint8)).save(tmp_path / f"images/{index}.jpg")
        Image.fromarray(labels).save(tmp_path / f"labels/{index}.png")
    records = catalog.pair_by_stem(tmp_path / "images", tmp_path / "labels")
    catalog.register(
        "made", lambda: records, Vocabulary.from_words(["a", "b", "c"]), 255, class_groups={"outer": ("a", "c")}
    )
    return tmp_path


def run(evaluator, records, labels):
    """Evaluate answers whose argmax is `labels`."""
    scores = torch.nn.functional.one_hot(torch.as_tensor(labels), len(evaluator.classes)).permute(2, 0, 1).float()
    for record in records:
        evaluator.process([record], [{"sem_seg": scores}])
    return evaluator.evaluate()["sem_seg"]


def test_scores_by_hand(data):
    answer = np.zeros((4, 6), np.int64)
    answer[:, 4:] = 2
    found = run(SemSegEvaluator("made", output_dir=str(data / "out")), DatasetCatalog.get("made"), answer)
    # Of 23 counted pixels a picture: a 7 right, 8 of b called a, c 8 right.
    assert found["pAcc"] == pytest.approx(100 * 15 / 23)
    assert found["mIoU_gt"] == pytest.approx(100 * (7 / 15 + 0 + 1) / 3)
    assert found["mIoU_gt[outer]"] == pytest.approx(100 * (7 / 15 + 1) / 2)
    stored = json.loads((data / "out/made.json").read_text())
    assert stored["scores"] == found
    assert stored["confusion"] == [[21, 0, 0], [24, 0, 0], [0, 0, 24]]


def test_harmonic_mean_of_seen_and_unseen(data):
    records = DatasetCatalog.get("made")
    groups = {"seen": ("a", "b"), "unseen": ("c",)}
    catalog.register("zero_shot", lambda: records, Vocabulary.from_words(["a", "b", "c"]), 255, class_groups=groups)
    answer = read_labels(records[0]["sem_seg_file_name"])
    answer[:, :4] = 0
    found = run(SemSegEvaluator("zero_shot"), records, answer)
    # Of 23 counted pixels: a 7 right, 8 of b called a, c 8 right. Seen: (7 / 15 + 0) / 2 = 7 / 30, unseen: 1.
    assert found["hIoU"] == pytest.approx(100 * 2 * (7 / 30) / (7 / 30 + 1))
    answer[:, 4:] = 0
    assert run(SemSegEvaluator("zero_shot"), records, answer)["hIoU"] == 0
    assert "hIoU" not in run(SemSegEvaluator("made"), records, answer)


def test_order_and_batching_do_not_matter(data):
    generator = np.random.default_rng(0)
    records = DatasetCatalog.get("made")
    answers = [generator.integers(0, 3, (4, 6)) for _ in records]
    tables = []
    for order in ([0, 1, 2], [2, 0, 1]):
        evaluator = SemSegEvaluator("made")
        outputs = [{"sem_seg": torch.eye(3)[torch.as_tensor(answers[index])].permute(2, 0, 1)} for index in order]
        evaluator.process([records[index] for index in order], outputs)
        tables.append(evaluator.evaluate())
    assert tables[0] == tables[1]


def test_void_as_background(data):
    records = DatasetCatalog.get("made")
    catalog.register("with_bg", lambda: records, Vocabulary.from_words(["a", "b", "c"], ["sky", "sea"]), 255)
    answer = read_labels(records[0]["sem_seg_file_name"])
    answer[answer == 255] = 0
    strict = run(SemSegEvaluator("with_bg"), records, answer)
    counted = run(SemSegEvaluator("with_bg", void_as_background=True), records, answer)
    assert strict["pAcc"] == 100
    assert counted["pAcc"] == pytest.approx(100 * 23 / 24)
    plain, asked = SemSegEvaluator("made"), SemSegEvaluator("made", void_as_background=True, skip_background_alone=True)
    assert run(asked, records, answer) == run(plain, records, answer), "a set without background keeps its void"


def test_pictures_of_background_alone(data):
    """As CLIPtrase's script, which passes over crops whose only label is void."""
    records = DatasetCatalog.get("made")
    catalog.register("with_bg", lambda: records, Vocabulary.from_words(["a", "b", "c"], ["sky"]), 255)
    answer = np.full((4, 6), 3)
    Image.fromarray(np.full((4, 6), 255, np.uint8)).save(data / "labels/1.png")
    rules = {"void_as_background": True, "skip_background_alone": True}
    kept = run(SemSegEvaluator("with_bg", void_as_background=True), records, answer)
    assert kept["pAcc"] == pytest.approx(100 * (1 + 24 + 1) / 72)
    assert run(SemSegEvaluator("with_bg", **rules), records, answer)["pAcc"] == pytest.approx(100 * 2 / 48)
    Image.fromarray(np.full((4, 6), 2, np.uint8)).save(data / "labels/1.png")
    plain, asked = SemSegEvaluator("made"), SemSegEvaluator("made", **rules)
    found = run(asked, records, np.full((4, 6), 2))
    assert found == run(plain, records, np.full((4, 6), 2)), "the last class of a set without background is a class"
    assert len(asked.pictures) == 3


def test_a_label_map_that_settles_void_is_kept(data):
    """COCO-Object as CLIPtrase scores it: void is background already, what is left without label stays out."""
    records = DatasetCatalog.get("made")
    words = Vocabulary.from_words(["a", "b", "c"], ["sky"])
    catalog.register("mapped", lambda: records, words, 255, label_map=((255, 3), (9, 255)))
    assert not SemSegEvaluator("mapped", void_as_background=True).void_as_background


BAD_LABELS = {
    "size": (np.zeros((4, 5), np.uint8), r"0\.png is 5 x 4 px, its picture .*0\.jpg 6 x 4 px: they must be equal"),
    "range": (np.full((4, 6), 7, np.uint8), r"0\.png: class 7 in the target is outside 0 to 2"),
    "colour": (np.zeros((4, 6, 3), np.uint8), r"0\.png: 3 channels, expected one channel of class indices"),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_bad_labels(data, case):
    labels, message = BAD_LABELS[case]
    Image.fromarray(labels).save(data / "labels/0.png")
    with pytest.raises(ValueError, match=message):
        run(
            SemSegEvaluator("made", output_dir=str(data / "out")),
            DatasetCatalog.get("made"),
            np.zeros((4, 6), np.int64),
        )
    assert not (data / "out").exists()


def test_truncated_label(data):
    path = data / "labels/0.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"label image .*0\.png: not a readable picture"):
        read_labels(str(path))


def test_nothing_to_score(data):
    for index in range(3):
        Image.fromarray(np.full((4, 6), 255, np.uint8)).save(data / f"labels/{index}.png")
    with pytest.raises(ValueError, match="not a single labelled pixel"):
        run(SemSegEvaluator("made"), DatasetCatalog.get("made"), np.zeros((4, 6), np.int64))


@pytest.mark.parametrize("mode", ["palette", "grey", "16 bit", "tif"])
def test_label_formats(mode, tmp_path):
    values = np.array([[0, 1, 255], [7, 2, 3]])
    path = tmp_path / ("x.tif" if mode == "tif" else "x.png")
    image = Image.fromarray(values.astype(np.uint16 if mode in ("16 bit", "tif") else np.uint8))
    if mode == "palette":
        image.putpalette(list(range(255, -1, -1)) * 3)
    image.save(path)
    assert read_labels(str(path)).tolist() == values.tolist()


def test_pairs(data):
    (data / "labels/1.png").rename(data / "labels/one.png")
    with pytest.raises(ValueError, match=r"1 of 3 files in .*images have no partner in .*labels, the first is 1\.jpg"):
        catalog.pair_by_stem(data / "images", data / "labels")
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        catalog.pair_by_stem(data / "images", data / "nowhere")
    (data / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: no pictures in this folder"):
        catalog.pair_by_stem(data / "images", data / "empty")


def test_equal_stems_are_refused(data):
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(data / "images/1.png")
    with pytest.raises(ValueError, match=r"images: 1\.jpg and 1\.png have the same name without suffix"):
        catalog.pair_by_stem(data / "images", data / "labels")


def test_labels_must_be_whole_numbers(data):
    Image.fromarray(np.full((4, 6), 0.9, np.float32)).save(data / "labels/0.tif")
    with pytest.raises(ValueError, match="values of type float32, expected whole numbers"):
        read_labels(str(data / "labels/0.tif"))


def test_a_picture_that_is_too_thin(data):
    with pytest.raises(ValueError, match="4000 x 3 px is too thin"):
        InputTransform(min_size=128, max_size=512)(np.zeros((3, 4000, 3), np.uint8))


def test_mapper_keeps_the_picture_and_its_words(data):
    mapper = InputMapper(InputTransform(min_size=8, max_size=100), "made")
    mapped = mapper(DatasetCatalog.get("made")[2])
    assert mapped["image"].shape == (3, 8, 12)
    assert mapped["image"].dtype == torch.uint8
    assert (mapped["height"], mapped["width"]) == (4, 6)
    assert mapped["vocabulary"] is MetadataCatalog.get("made").vocabulary
    assert mapped["sem_seg"].tolist() == read_labels(mapped["sem_seg_file_name"]).tolist()
    assert mapped["labels_only"]


def test_centre_crop_takes_labels_along(data):
    transform = InputTransform(min_size=8, max_size=100, interpolation="bicubic", center_crop=True)
    mapped = InputMapper(transform, "made")(DatasetCatalog.get("made")[0])
    assert mapped["image"].shape == (3, 8, 8)
    assert mapped["sem_seg"].shape == (mapped["height"], mapped["width"]) == (8, 8)
    # 6 columns become 12, of which 2 to 9 stay: two of class 0, four of 1, two of 2.
    assert mapped["sem_seg"][5].tolist() == [0, 0, 1, 1, 1, 1, 2, 2]
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(data / "labels/0.png")
    with pytest.raises(ValueError, match="5 x 4 px, its picture"):
        InputMapper(transform, "made")(DatasetCatalog.get("made")[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_size": 8, "max_size": 9, "interpolation": "cubic"}, "known: bilinear, bicubic"),
        ({"min_size": 9, "max_size": 8}, "1 <= MIN <= MAX"),
        ({"min_size": 0, "max_size": 8}, "1 <= MIN"),
    ],
)
def test_transform_mistakes(settings, message):
    with pytest.raises(ValueError, match=message):
        InputTransform(**settings)


def test_scenes_are_a_data_set():
    records = DatasetCatalog.get("scenes_val")
    assert len(records) == 200
    metadata = MetadataCatalog.get("scenes_val")
    assert metadata.stuff_classes == list(scenes.CLASSES)
    assert metadata.class_groups == {"seen": scenes.SEEN, "unseen": scenes.UNSEEN}
    assert read_labels(records[0]["sem_seg_file_name"]).max() < 40


def test_training_scenes_have_no_word_for_an_unseen_pair():
    metadata = MetadataCatalog.get("scenes_train_seen")
    assert metadata.stuff_classes == [*scenes.SEEN, *scenes.GROUNDS]
    assert metadata.class_groups == {"seen": scenes.SEEN}
