"""The seam: records, loader and augmentations, on Detectron2 and on lite alike."""

import numpy as np
import pytest
from PIL import Image

from ovss.d2 import api


def double(record):
    record["value"] *= 2  # a mapper may change its record
    return record


def test_loader_gives_lists_in_order_and_keeps_the_records(request):
    records = [{"value": value} for value in range(5)]
    request.addfinalizer(lambda: api.DatasetCatalog.remove("test_loader"))
    api.DatasetCatalog.register("test_loader", lambda: records)
    cfg = api.get_cfg()
    cfg.DATALOADER.NUM_WORKERS = 0
    for loader in (
        api.build_detection_test_loader(records, mapper=double, batch_size=2),
        api.build_detection_test_loader(records, mapper=double, batch_size=2, num_workers=1),
        api.build_detection_test_loader(cfg, "test_loader", mapper=double, batch_size=2),
    ):
        assert len(loader) == 3
        assert [[one["value"] for one in batch] for batch in loader] == [[0, 2], [4, 6], [8]]
    assert [record["value"] for record in records] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("size", "short", "longest", "expected"),
    [
        ((480, 640), 800, 1333, (800, 1067)),  # 1066.67
        ((640, 480), 800, 1333, (1067, 800)),
        ((100, 400), 800, 1333, (333, 1333)),  # 800 x 3200 would pass 1333: 333.25
        ((333, 500), 640, 2560, (640, 961)),  # 960.96
        ((2, 5), 5, 99, (5, 13)),  # 12.5 rounds up
        ((7, 7), 0, 99, (7, 7)),  # 0 keeps the size
    ],
)
def test_resize_shortest_edge_size(size, short, longest, expected):
    resized = api.T.AugInput(np.zeros((*size, 3), np.uint8))
    api.T.AugmentationList([api.T.ResizeShortestEdge(short, longest)])(resized)
    assert resized.image.shape == (*expected, 3)


def test_resize_is_pillow_bilinear_for_images_and_nearest_for_labels():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (31, 47, 3), dtype=np.uint8)
    labels = rng.choice(np.asarray([0, 7, 255], np.uint8), (31, 47))
    resized = api.T.AugInput(image, sem_seg=labels)
    transform = api.T.ResizeShortestEdge(20)(resized)
    np.testing.assert_array_equal(resized.image, Image.fromarray(image).resize((30, 20), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(resized.sem_seg, Image.fromarray(labels).resize((30, 20), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(transform.apply_image(image), resized.image)
    assert transform.inverse().apply_image(resized.image).shape == image.shape
    wide = api.T.ResizeTransform(1, 2, 1, 4)  # floats: half-pixel centres, 0 + {0, 1/4, 3/4, 1} * 8
    np.testing.assert_allclose(wide.apply_image(np.asarray([[0.0, 8.0]])), [[0, 2, 6, 8]])


def augmented(augmentation, seed=0, size=(20, 30)):
    """Every pixel of the picture tells its place; its labels tell the same."""
    places = np.arange(size[0] * size[1], dtype=np.float32).reshape(size)
    pair = api.T.AugInput(places, sem_seg=places.astype(np.float64))
    np.random.seed(seed)  # noqa: NPY002 (the generator that augmentations draw from)
    api.T.AugmentationList([augmentation])(pair)
    np.testing.assert_array_equal(pair.image, pair.sem_seg)
    return places, pair.image


@pytest.mark.parametrize(
    ("kind", "size", "heights", "widths"),
    [
        ("absolute", (8, 9), (8, 8), (9, 9)),
        ("absolute", (50, 9), (20, 20), (9, 9)),  # the picture's side where the crop's is longer
        ("relative", (0.5, 0.22), (10, 10), (7, 7)),  # 6.6 and a half
        ("relative_range", (0.5, 0.9), (10, 20), (27, 30)),
        ("absolute_range", (8, 25), (8, 20), (8, 25)),
    ],
)
def test_random_crops_lie_in_the_picture_everywhere_alike(kind, size, heights, widths):
    shapes, tops, lefts = set(), set(), set()
    for seed in range(60):
        _, cropped = augmented(api.T.RandomCrop(kind, size), seed)
        top, left = divmod(int(cropped[0, 0]), 30)
        assert int(cropped[-1, -1]) == (top + cropped.shape[0] - 1) * 30 + left + cropped.shape[1] - 1
        shapes.add(cropped.shape)
        tops.add(top)
        lefts.add(left)
    for (least, most), found in ((heights, {h for h, _ in shapes}), (widths, {w for _, w in shapes})):
        assert min(found) == least
        assert max(found) == most
    assert min(lefts) == 0
    assert max(lefts) == 30 - min(w for _, w in shapes) or len(shapes) > 1
    assert (tops == {0}) == (heights == (20, 20))


def test_flips_mirror_image_and_labels():
    for options, mirrored in (({}, np.s_[:, ::-1]), ({"horizontal": False, "vertical": True}, np.s_[::-1])):
        always, never = (augmented(api.T.RandomFlip(prob, **options)) for prob in (1.0, 0.0))
        np.testing.assert_array_equal(always[1], always[0][mirrored])
        np.testing.assert_array_equal(never[1], never[0])
    halves = [augmented(api.T.RandomFlip(), seed)[1][0, 0] == 0 for seed in range(100)]
    assert 35 < sum(halves) < 65
    with pytest.raises(ValueError, match="horiz"):
        api.T.RandomFlip(horizontal=True, vertical=True)


def test_a_crop_of_one_class_alone_is_drawn_again():
    labels = np.tile(np.arange(40, dtype=np.uint8) // 10 % 2, (12, 1))  # stripes as wide as the crop
    labels[:9] = 255
    image = np.repeat(labels[..., None], 3, axis=2)

    def shares(area):
        crop = api.T.RandomCrop_CategoryAreaConstraint("absolute", (12, 10), area, 255)
        for seed in range(50):
            pair = api.T.AugInput(image, sem_seg=labels)
            np.random.seed(seed)  # noqa: NPY002 (the generator that augmentations draw from)
            crop(pair)
            np.testing.assert_array_equal(pair.image[..., 0], pair.sem_seg)
            yield (pair.sem_seg == 0).sum() / (pair.sem_seg != 255).sum()

    assert 15 < sum(0.2 < share < 0.8 for share in shares(1.0)) < 35  # any crop: 15 of the 31 places
    assert all(0.2 < share < 0.8 for share in shares(0.8))
