"""Training crops: sizes, padding, labels that stay with their pixels, words, what is refused."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from small_training import CONFIG, SMALL, WORDS, as_opts, write_squares

from ovss import hub
from ovss.d2.api import T
from ovss.d2.catalog import register
from ovss.d2.training.mapper import TrainMapper, build_augmentations
from ovss.images import ImageError
from ovss.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_words([f"thing {index}" for index in range(200)])


def mapper(augmentations=(), **settings):
    settings = {"vocabulary": VOCABULARY, "unlabelled": 255, "ignore_label": 255, "side": 0, **settings}
    return TrainMapper(augmentations=augmentations, **settings)


@pytest.fixture
def record(tmp_path):
    """A picture of 40 x 30 px whose red tells its label, and labels that differ everywhere."""
    labels = (np.arange(30)[:, None] + 4 * np.arange(40)).astype(np.uint8)
    image = np.stack([labels, labels // 2, np.full_like(labels, 9)], axis=-1)
    labels[0] = 255
    Image.fromarray(image).save(tmp_path / "image.png")
    Image.fromarray(labels).save(tmp_path / "labels.png")
    return {"file_name": str(tmp_path / "image.png"), "sem_seg_file_name": str(tmp_path / "labels.png")}


def test_without_augmentation_the_record_as_tensors(record):
    crop = mapper()(record)
    assert (crop["image"].dtype, crop["image"].shape) == (torch.uint8, (3, 30, 40))
    assert (crop["sem_seg"].dtype, crop["sem_seg"].shape) == (torch.int64, (30, 40))
    assert torch.equal(crop["sem_seg"][1:], crop["image"][0, 1:].long())
    assert crop["vocabulary"] is VOCABULARY
    assert crop["file_name"] == record["file_name"]


def test_padding_is_grey_without_label_on_the_right_and_below(record):
    crop = mapper(side=48, ignore_label=1000)(record)
    assert crop["image"].shape == (3, 48, 48)
    assert (crop["image"][:, 30:] == 128).all()
    assert (crop["image"][:, :, 40:] == 128).all()
    assert torch.equal(crop["image"][:, :30, :40], mapper()(record)["image"])
    assert (crop["sem_seg"][30:] == 1000).all()
    assert (crop["sem_seg"][:, 40:] == 1000).all()
    assert (crop["sem_seg"][0] == 1000).all()  # the data set says 255
    assert crop["sem_seg"][:30, :40].unique().max() == 1000
    assert 255 not in crop["sem_seg"]


def test_labels_go_where_their_pixels_go(record):
    augmentations = [T.ResizeShortestEdge((30,), 1333, "choice"), T.RandomCrop("absolute", (16, 24)), T.RandomFlip()]
    crops = []
    for seed in range(12):
        np.random.seed(seed)  # noqa: NPY002 (the generator that augmentations draw from)
        crop = mapper(augmentations, side=24)(record)
        assert crop["image"].shape[1:] == crop["sem_seg"].shape == (24, 24)
        inside = crop["sem_seg"][:16]
        shown = inside != 255
        assert shown.sum() >= 15 * 24
        assert torch.equal(inside[shown], crop["image"][0, :16][shown].long())
        crops.append(crop["sem_seg"])
    assert any((crop[1, 1:] < crop[1, :-1]).all() for crop in crops)  # mirrored
    assert any((crop[1, 1:] > crop[1, :-1]).all() for crop in crops)
    assert len({crop[1].min().item() for crop in crops}) > 3


def test_published_recipe():
    resize, crop, colours, flip = build_augmentations(hub.load(CONFIG))
    kinds = [type(augmentation).__name__ for augmentation in (resize, crop, colours, flip)]
    assert kinds == ["ResizeShortestEdge", "RandomCrop_CategoryAreaConstraint", "ColorAugSSD", "RandomFlip"]
    image = np.random.default_rng(0).integers(0, 256, (200, 800, 3), dtype=np.uint8)
    one = T.AugInput(image, sem_seg=np.zeros((200, 800)))
    sizes = []
    for augmentation in (resize, crop, colours, flip):
        augmentation(one)
        sizes.append(one.image.shape[:2])
    assert sizes == [(333, 1333), (333, 384), (333, 384), (333, 384)]  # 1333 bounds the longer side
    assert one.sem_seg.shape == (333, 384)


@pytest.mark.parametrize("area", [1.0, 0.4])
def test_crops_are_those_of_the_published_order_of_work(area, tmp_path):
    """There labels are floats from the file on, and each step makes another copy."""
    settings = {"INPUT.MIN_SIZE_TRAIN": (50, 90), "INPUT.CROP.SINGLE_CATEGORY_MAX_AREA": area, "LOSS.IGNORE_LABEL": 99}
    cfg = hub.load(CONFIG, as_opts(SMALL, write_squares(tmp_path), settings))
    built = TrainMapper.from_config(cfg)
    record = {key: str(tmp_path / f"{name}/0.png") for key, name in KINDS.items()}
    image, labels = (np.array(Image.open(record[key])) for key in KINDS)
    labels = np.where(labels == 255, 99, labels).astype(np.float64)
    for seed in range(20):
        np.random.seed(seed)  # noqa: NPY002 (the generators that augmentations draw from)
        random.seed(seed)
        crop = built(record)
        np.random.seed(seed)  # noqa: NPY002 (as above)
        random.seed(seed)
        expected = T.AugInput(image, sem_seg=labels)
        T.AugmentationList(build_augmentations(cfg))(expected)
        height, width = expected.sem_seg.shape
        border = (0, 64 - width, 0, 64 - height)
        planes = torch.tensor(expected.image.transpose(2, 0, 1).copy())
        assert torch.equal(crop["image"], F.pad(planes, border, value=128))
        assert torch.equal(crop["sem_seg"], F.pad(torch.tensor(expected.sem_seg.astype(int)), border, value=99))


def test_config_can_leave_steps_out():
    opts = ["INPUT.CROP.ENABLED", "False", "INPUT.COLOR_AUG_SSD", "False", "INPUT.RANDOM_FLIP", "none"]
    assert [type(step).__name__ for step in build_augmentations(hub.load(CONFIG, opts))] == ["ResizeShortestEdge"]


def test_from_config_takes_words_and_values_of_the_data_set(tmp_path):
    cfg = hub.load(CONFIG, as_opts(SMALL, write_squares(tmp_path), {"LOSS.IGNORE_LABEL": 99}))
    built = TrainMapper.from_config(cfg)
    crop = built({key: str(tmp_path / f"{name}/0.png") for key, name in KINDS.items()})
    assert crop["vocabulary"].classes == WORDS
    assert set(crop["sem_seg"].unique().tolist()) <= {0, 1, 2, 99}


KINDS = {"file_name": "images", "sem_seg_file_name": "labels"}


def test_sets_of_different_words_do_not_mix(tmp_path):
    register("test_mapper_a", list, Vocabulary.parse("cat, wall"), 255)
    register("test_mapper_b", list, Vocabulary.parse("cat, wall"), 65535)
    cfg = hub.load(CONFIG, ["DATASETS.TRAIN", "('test_mapper_a', 'test_mapper_b')"])
    with pytest.raises(ValueError, match="'test_mapper_a' and 'test_mapper_b' differ in words, ignore label"):
        TrainMapper.from_config(cfg)


def test_a_class_cannot_be_the_ignore_label():
    with pytest.raises(ValueError, match=r"LOSS.IGNORE_LABEL 7 is the class 'thing 7': .* such as 65535"):
        mapper(ignore_label=7, unlabelled=65535)


def test_bad_pictures_are_named(record, tmp_path):
    with pytest.raises(
        ValueError, match=r"image.png: a crop of 40 x 30 px does not fit .*SIZE_DIVISIBILITY 32"
    ) as error:
        mapper(side=32)(record)
    assert not isinstance(error.value, ImageError), "a setting is at fault, not the picture"
    few = Vocabulary.from_words([f"thing {index}" for index in range(185)])
    with pytest.raises(ImageError, match=r"labels.png: label 185, but there are 185 classes .* a label are 255"):
        mapper(vocabulary=few)(record)
    with pytest.raises(ValueError, match=r"labels.png: label 255, but .* pixels without a label are 254"):
        mapper(unlabelled=254)(record)
    Image.fromarray(np.zeros((30, 41), np.uint8)).save(tmp_path / "labels.png")
    with pytest.raises(ImageError, match=r"labels.png is 41 x 30 px, its picture"):
        mapper()(record)
    Image.fromarray(np.zeros((1, 5000, 3), np.uint8)).save(tmp_path / "image.png")
    Image.fromarray(np.zeros((1, 5000), np.uint8)).save(tmp_path / "labels.png")
    with pytest.raises(ImageError, match=r"image.png: a picture of 5000 x 1 px is too thin"):
        mapper([T.ResizeShortestEdge((384,), 1333, "choice")])(record)
    (tmp_path / "labels.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"labels.png: not a readable picture"):
        mapper()(record)
