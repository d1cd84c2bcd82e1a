"""The table of published weights: well-formed, complete, and true to open_clip's table and to the configs."""

import re

import pytest
from open_clip.pretrained import get_pretrained_cfg

from ovss import hub
from ovss.clip.model import ARCHITECTURES
from ovss.model_names import CONFIGS, list_models
from ovss.weights import table
from ovss.weights.table import default_for, entries, find, for_clip

ENTRIES = entries()


@pytest.mark.parametrize("name", ENTRIES)
def test_entry_is_well_formed(name):
    entry = ENTRIES[name]
    file = entry.file
    assert entry.name == name
    assert re.fullmatch(r"[a-z0-9_]+", name), "no path and no model is called so"
    assert bool(file.url) != bool(entry.by_hand)
    assert re.fullmatch(r"https://[\w./-]+|", file.url)
    assert re.fullmatch(r"[\w-]+(\.[\w-]+)*\.(pt|pth|bin|safetensors)", file.name)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}|", file.checksum)
    assert file.size is None or file.size > 10**8
    assert bool(file.published) == bool(file.checksum or file.size), "who published what is known"
    assert entry.title
    assert entry.licence
    assert entry.licence_source
    assert entry.setting in ("MODEL.CLIP.WEIGHTS", "MODEL.WEIGHTS")
    assert entry.clip in ARCHITECTURES


def test_files_do_not_meet():
    names = [entry.file.name for entry in ENTRIES.values()]
    assert len(set(names)) == len(names)


def test_largest_file_is_within_the_limit():
    assert all((entry.file.size or 10.2e9) < entry.file.limit for entry in ENTRIES.values())


@pytest.mark.parametrize("clip", ARCHITECTURES)
def test_clip_is_that_of_open_clip(clip):
    """Addresses, which hold OpenAI's sums, and the repositories whose copies are looked for."""
    architecture, entry = ARCHITECTURES[clip], for_clip(clip)
    theirs = get_pretrained_cfg(architecture.config, architecture.pretrained)
    assert entry.hub == theirs["hf_hub"].strip("/")
    assert entry.setting == "MODEL.CLIP.WEIGHTS"
    if theirs["url"]:
        assert entry.file.url == theirs["url"]
        assert entry.file.checksum == f"sha256:{theirs['url'].split('/')[-2]}"
    else:
        assert entry.file.url == f"https://huggingface.co/{entry.hub}/resolve/main/open_clip_pytorch_model.bin"


def test_every_model_has_weights_or_a_reason():
    named = {model for entry in ENTRIES.values() for model in entry.configs}
    assert not named & set(table.without())
    assert named | set(table.without()) == set(list_models())
    assert all(table.without().values())


@pytest.mark.parametrize("model", [model for entry in ENTRIES.values() for model in entry.configs])
def test_weights_fit_their_config(model):
    entry = default_for(model)
    cfg = hub.load(str(CONFIGS / f"{model}.yaml"))
    assert entry.clip == cfg.MODEL.CLIP.NAME
    assert entry.setting == {"CATSeg": "MODEL.WEIGHTS", "CLIPtrase": "MODEL.CLIP.WEIGHTS"}[cfg.MODEL.META_ARCHITECTURE]
    assert not entry.by_hand, "a default comes by itself"


def test_some_by_hand():
    assert default_for("cat_seg/vitb_384") is find("cat_seg_vitb") is find("cat_seg/vitb_384")
    assert find("cat_seg_vitb").file.url.endswith("/CAT-Seg-weights/resolve/main/model_base.pth")
    assert default_for("cliptrase/vitb16_d2").name == "clip_vitb16"
    assert default_for("cliptrase/vitl14").name == "clip_vitl14_336"
    assert default_for("cat_seg/vith_336") is None
    assert default_for("quickstart/cat_seg") is None
    assert find("clip_vitb32").file.size == 353_976_522


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cat_seg_vitt", "'cat_seg_vitt'; did you mean 'cat_seg_vit[bl]'\\? `ovss weights list` has all names"),
        ("cat_seg/vitb_38", "did you mean 'cat_seg/vitb_384'"),
        ("zzz", "no published weights are called 'zzz'; `ovss weights list`"),
        ("cat_seg/vitg_336", "cat_seg/vitg_336 has no published weights: nothing was published, the authors' second"),
        ("quickstart/clip", "quickstart/clip has no published weights: in the package"),
    ],
)
def test_unknown_name(name, message):
    with pytest.raises(ValueError, match=message):
        find(name)


def test_unknown_clip():
    with pytest.raises(ValueError, match="no published weights of a CLIP called 'tiny'"):
        for_clip("tiny")
