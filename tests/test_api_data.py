"""The seam: records, loader and resizing, on Detectron2 and on lite alike."""

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
