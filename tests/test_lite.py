"""What only lite promises alone: files that cannot run code, clear errors."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ovss.d2.lite import transforms as lite_T
from ovss.d2.lite.catalog import DatasetCatalog
from ovss.d2.lite.config import get_cfg
from ovss.d2.lite.configurable import configurable
from ovss.d2.lite.evaluation import inference_on_dataset
from ovss.d2.lite.loader import build_detection_test_loader, share


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("SEED: !!python/object/apply:os.mkdir [PLACE]", "not plain YAML"),
        ("SEED: [1", "not plain YAML"),
        ("", "expected keys and values"),
        ("_BASE_: bad.yaml", "leads back to itself"),
        ("_BASE_: absent.yaml", r"absent\.yaml: cannot be read"),
        ("VERSION: 1", "VERSION 1.*2"),
    ],
)
def test_bad_config_files_end_in_one_message_and_run_nothing(content, message, tmp_path):
    place = tmp_path / "made_by_the_config"
    path = tmp_path / "bad.yaml"
    path.write_text(content.replace("PLACE", str(place)))
    with pytest.raises(ValueError, match=message):
        get_cfg().merge_from_file(str(path))
    assert not place.exists()


def test_unsafe_yaml_cannot_be_asked_for(tmp_path):
    (tmp_path / "fine.yaml").write_text("SEED: 1")
    with pytest.raises(ValueError, match="allow_unsafe"):
        get_cfg().merge_from_file(str(tmp_path / "fine.yaml"), allow_unsafe=True)


def test_configurable_in_the_wrong_form():
    with pytest.raises(TypeError, match="decorates __init__"):
        configurable(get_cfg)

    class Bare:
        @configurable
        def __init__(self):
            pass

    with pytest.raises(TypeError, match=r"Bare .*from_config"):
        Bare(get_cfg())
    with pytest.raises(TypeError, match="must be named cfg"):
        configurable(from_config=lambda config: {})(lambda: None)(get_cfg())


def test_share_by_hand():
    assert [list(share(5, 2, rank)) for rank in range(2)] == [[0, 1, 2], [3, 4]]
    assert [list(share(8, 3, rank)) for rank in range(3)] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert [list(share(1, 3, rank)) for rank in range(3)] == [[0], [], []]


@given(size=st.integers(0, 200), world_size=st.integers(1, 17))
def test_shares_are_the_whole_once_in_order_and_even(size, world_size):
    shares = [share(size, world_size, rank) for rank in range(world_size)]
    assert [index for one in shares for index in one] == list(range(size))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_loader_refuses_a_data_set_without_records(request):
    request.addfinalizer(lambda: DatasetCatalog.remove("test_lite_empty"))
    DatasetCatalog.register("test_lite_empty", list)
    with pytest.raises(ValueError, match=r"test_lite_empty.*no record"):
        build_detection_test_loader(get_cfg(), "test_lite_empty", mapper=dict)


def test_resize_refuses_another_size_and_integer_labels():
    resize = lite_T.ResizeTransform(4, 6, 2, 3)
    with pytest.raises(ValueError, match=r"\(4, 6\).*\(4, 4\)"):
        resize.apply_image(np.zeros((4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"int32.*float64"):
        resize.apply_segmentation(np.zeros((4, 6), np.int32))
    with pytest.raises(ValueError, match="'some'"):
        lite_T.ResizeShortestEdge(5, sample_style="some")


def test_inference_restores_the_mode_after_an_error_and_logs_its_time(caplog):
    model = nn.Identity().train()
    with caplog.at_level(logging.INFO):
        inference_on_dataset(model, [1, 2, 3], None)
    assert "for 3 batches on each of 1 processes" in caplog.text
    model.forward = None  # cannot be called
    with pytest.raises(TypeError):
        inference_on_dataset(model, [1], None)
    assert model.training
