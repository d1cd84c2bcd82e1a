"""ovss/static.py: rows of known classes merge as those of any do; a model without its text tower shares the rest."""

import pytest
import torch

from cliptrase.model import CLIPtrase
from ovss.inference import merge_rows
from ovss.static import Merge, resize, without_text_tower


@pytest.mark.parametrize(
    "classes", [[0, 1, 2], [0, 0, 0], [2, 0, 1], [0, 1, 1, 2, 3, 5, 4, 5, 5], [1, 0, 1, 0], [0, 1, 2, 2, 2, 2]]
)
def test_rows_merge_to_their_best(classes):
    scores = torch.randn(2, len(classes), 3, 5, generator=torch.Generator().manual_seed(0))
    merge = Merge(torch.tensor(classes))
    assert merge.count == max(classes) + 1
    assert torch.equal(merge(scores), merge_rows(scores, torch.tensor(classes)))


def test_rows_that_are_classes_stay_as_they_are():
    scores = torch.randn(1, 4, 2, 2)
    assert Merge(torch.arange(4))(scores) is scores


def test_the_text_tower_is_left_out_of_one_copy_alone(small_clip):
    model = CLIPtrase(clip=small_clip)
    light = without_text_tower(model)
    assert not any(name.startswith("clip.text.") for name in light.state_dict())
    assert any(name.startswith("clip.text.") for name in model.state_dict())
    assert light.clip.visual is model.clip.visual
    assert light.clip.logit_scale is model.clip.logit_scale


def test_resizing_is_bilinear_by_pixel_centres():
    line = torch.tensor([0.0, 4.0]).view(1, 1, 1, 2)
    assert resize(line, (1, 4)).flatten().tolist() == [0, 1, 3, 4]
