"""cat_seg/static.py: the static form scores as the eager model does, up to rounding, in both versions."""

import pytest
import torch
from cat_seg_parts import small_first_model, small_images, small_model, small_text

from cat_seg import static
from ovss.vocabulary import Vocabulary

VERSIONS = {
    "second": (small_model, {}),
    "second, more classes than it keeps": (small_model, {"kept_classes": 3}),
    "second, pooled": (small_model, {"pooling": 2}),
    "second, whole pictures as they are": (small_model, {"pad_to": 1}),
    "second, one window": (small_model, {"resolution": 32}),
    "first": (small_first_model, {}),
    "first, six prompts": (small_first_model, {"prompts": 6}),
}


@torch.no_grad()
@pytest.mark.parametrize("group", [1, 3, 64])
@pytest.mark.parametrize("version", VERSIONS)
def test_scores_are_the_eager_ones(small_clip, version, group, monkeypatch):
    monkeypatch.setattr(static, "CLASSES_AT_ONCE", group)
    build, settings = VERSIONS[version]
    model = build(small_clip, **settings)
    rows, classes = Vocabulary.from_words(["cat, kitten", "dog", "wall, house, door"], ["sky", "sea"]).phrases("each")
    text, images, owners = small_text(len(rows), settings.get("prompts", 1)), small_images(3), torch.tensor(classes)
    found = model.static_form(text, owners, (40, 56))(images)
    expected = model(images, text, owners)
    assert found.shape == (3, 4, 40, 56)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    clear = expected.topk(2, dim=1).values
    clear = clear[:, 0] - clear[:, 1] > 1e-4
    assert clear.float().mean() > 0.9
    assert torch.equal(found.argmax(1)[clear], model.labels(images, text, owners)[0][clear])


def test_masks_do_not_share_their_memory(small_clip):
    """As parts of one tensor they would be written wrongly, or all of it for each."""
    form = small_model(small_clip).static_form(small_text(3), torch.arange(3), (40, 56))
    masks = [value for name, value in form.named_buffers() if ".mask_" in name]
    assert len(masks) == 3
    assert all(mask.untyped_storage().nbytes() == mask.nbytes for mask in masks)
