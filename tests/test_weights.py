"""Weights of every form load strictly; what is missing, damaged, hostile or of another architecture says so."""

import io
import json
import pickle
import re
import zipfile
from pathlib import Path

import open_clip
import pytest
import torch
from file_server import Served
from open_clip.pretrained import get_pretrained_cfg
from safetensors.torch import save_file
from small_weights import empty_caches, put_into_hub, small_weights

from ovss.clip import weights
from ovss.clip.keys import from_openai_keys, to_openai_keys
from ovss.clip.model import ARCHITECTURES, CLIP, architecture_config
from ovss.clip.torchscript import read_torchscript
from ovss.clip.weights import find_weights, load_clip, read_weights

ROOT = Path(__file__).parent.parent


@pytest.fixture
def small(monkeypatch, small_config, small_clip):
    """`load_clip("small")` builds the small architecture; the value is its weights under OpenAI's keys."""
    real = weights.architecture_config
    monkeypatch.setattr(weights, "architecture_config", lambda name: small_config if name == "small" else real(name))
    return to_openai_keys(small_clip.state_dict())


def check(path, small_clip):
    loaded = load_clip("small", path)
    assert all(torch.equal(value, small_clip.state_dict()[key]) for key, value in loaded.state_dict().items())
    assert not loaded.training
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}


@pytest.mark.parametrize("form", ["plain", "state_dict", "module", "safetensors", "folder", "extras"])
def test_forms(form, small, small_clip, tmp_path):
    path = tmp_path / "weights.pt"
    if form in ("safetensors", "folder"):
        path = tmp_path / "open_clip_model.safetensors"
        save_file({key: value.contiguous() for key, value in small.items()}, path)
    elif form == "state_dict":
        torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in small.items()}}, path)
    elif form == "module":
        torch.save({f"module.{key}": value for key, value in small.items()}, path)
    elif form == "extras":
        torch.save(small | {"input_resolution": torch.tensor(32), "attn_mask": torch.zeros(77, 77)}, path)
    else:
        torch.save(small, path)
    check(tmp_path if form == "folder" else path, small_clip)


def test_torchscript_archive_of_half_precision(small, small_config, small_clip, tmp_path):
    """OpenAI's own form: a traced model in float16. Its tensors are read, its code is not run."""
    theirs = open_clip.CLIP(**small_config).eval()
    theirs.load_state_dict(small, strict=False)
    traced = torch.jit.trace_module(theirs, {"encode_image": torch.zeros(1, 3, 32, 32)}, check_trace=False)
    path = tmp_path / "ViT-small.pt"
    torch.jit.save(traced.half(), path)
    loaded = load_clip("small", path)
    for key, value in loaded.state_dict().items():
        torch.testing.assert_close(value, small_clip.state_dict()[key].half().float())


def test_cliptrase_rekeyed_checkpoint(small, small_clip, tmp_path):
    rekeyed = {}
    for key, value in small.items():
        inside = key.removeprefix("visual.").removeprefix("transformer.")
        rekeyed[f"clip_visual_extractor.{inside}" if key.startswith("visual.") else f"ov_classifier.{key}"] = value
    torch.save({"model": rekeyed}, tmp_path / "rekeyed.pth")
    check(tmp_path / "rekeyed.pth", small_clip)


def test_cliptrase_published_key_list(shared):
    """The key list of the authors' file, translated, is exactly that of a ViT-B/16."""
    published = json.loads((shared / "golden/cliptrase_d2_keys.json").read_text())
    translated = from_openai_keys({key: torch.empty(shape, device="meta") for key, shape in published})
    with torch.device("meta"):
        expected = CLIP(architecture_config("ViT-B/16")).state_dict()
    assert {key: value.shape for key, value in translated.items()} == {
        key: value.shape for key, value in expected.items()
    }


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_have_open_clips_parameters(name):
    """Names and shapes of every tensor equal those of open_clip's own model, on the meta device."""
    architecture = ARCHITECTURES[name]
    config = open_clip.get_model_config(architecture.config) | {"quick_gelu": architecture.quick_gelu}
    with torch.device("meta"):
        theirs = open_clip.CLIP(**config).state_dict()
        ours = CLIP(architecture_config(name)).state_dict()
    translated = from_openai_keys(theirs)
    assert {key: value.shape for key, value in translated.items()} == {key: value.shape for key, value in ours.items()}
    assert open_clip.get_pretrained_cfg(architecture.config, architecture.pretrained)


def test_unknown_architecture():
    with pytest.raises(ValueError, match="unknown CLIP architecture 'ViT-Q/7'; known: ViT-B/32, ViT-B/16"):
        load_clip("ViT-Q/7")


class Evil:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def hostile_torchscript(folder):
    path = folder / "evil_script.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("evil/constants.pkl", b"")
        archive.writestr("evil/data.pkl", pickle.dumps({"weight": Evil(folder / "owned")}))
    return path


def hostile_pickle(folder):
    path = folder / "evil.pt"
    torch.save({"weight": Evil(folder / "owned")}, path)
    return path


def torchscript_of(folder, name, write):
    """A TorchScript archive whose pickle is what `write(pickler)` says."""
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/constants.pkl", b"")
        write(archive)
    return path


def circular_torchscript(folder):
    # A module whose attribute "m" is itself: memoised before it is built.
    code = b"\x80\x02c__torch__\nM\n)\x81q\x00}X\x01\x00\x00\x00mh\x00sb."
    return torchscript_of(folder, "circle.pt", lambda archive: archive.writestr("x/data.pkl", code))


def bomb_torchscript(folder):
    """A storage that claims 4 values and unpacks to a gigabyte."""

    def write(archive):
        storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
        archive.writestr("x/data.pkl", b"\x80\x02" + storage + b".")
        with archive.open(zipfile.ZipInfo("x/data/0"), "w", force_zip64=True) as entry:
            entry.write(b"\0" * 2**20)

    return torchscript_of(folder, "bomb.pt", write)


def numbered(folder):
    torch.save({3: torch.zeros(2)}, folder / "numbered.pt")
    return folder / "numbered.pt"


def written(folder, name, content):
    (folder / name).write_bytes(content)
    return folder / name


BAD = {
    "missing": (lambda folder: folder / "nowhere.pt", "nowhere.pt: no such file or folder"),
    "empty folder": (lambda folder: folder, "expected one file of weights .* found none"),
    "empty file": (lambda folder: written(folder, "empty.pt", b""), "damaged, or not a file of weights"),
    "text": (lambda folder: written(folder, "text.pt", b"<html>404</html>"), "holds something else than tensors"),
    "bad safetensors": (
        lambda folder: written(folder, "x.safetensors", b"\xff" * 64),
        "damaged, or not a file of weights",
    ),
    "hostile pickle": (hostile_pickle, "holds something else than tensors"),
    "hostile torchscript": (hostile_torchscript, "holds something else than tensors"),
    "modules in a circle": (circular_torchscript, "holds something else than tensors"),
    "zip bomb": (bomb_torchscript, "holds something else than tensors"),
    "names that are numbers": (numbered, "not the name of a tensor"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files(case, tmp_path):
    make, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        read_weights(find_weights(make(tmp_path)))
    assert not (tmp_path / "owned").exists(), "code of the file was run"


def test_truncated_torchscript(small, tmp_path):
    traced = torch.jit.trace(torch.nn.Linear(300, 300), torch.zeros(1, 300))
    path = tmp_path / "whole.pt"
    torch.jit.save(traced, path)
    assert read_torchscript(path)["weight"].shape == (300, 300)
    (tmp_path / "half.pt").write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(ValueError, match=r"half\.pt: damaged"):
        read_weights(tmp_path / "half.pt")


def test_not_tensors(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="holds no state dict"):
        read_weights(tmp_path / "x.pt")


def test_two_files_in_a_folder(tmp_path):
    for name in ("a.pt", "b.pt"):
        torch.save({}, tmp_path / name)
    with pytest.raises(ValueError, match=r"found a\.pt, b\.pt: name the file"):
        find_weights(tmp_path)


def test_strict(small, tmp_path):
    changed = dict(small)
    del changed["ln_final.bias"]
    changed["visual.extra"] = torch.zeros(1)
    changed["text_projection"] = torch.zeros(32, 5)
    torch.save(changed, tmp_path / "x.pt")
    with pytest.raises(
        ValueError,
        match=r"1 missing \(such as text.ln_final.bias\); 1 unknown \(such as visual.extra\); 1 of another shape",
    ):
        load_clip("small", tmp_path / "x.pt")


def test_wrong_architecture_names_the_right_one(tmp_path, rule_weights):
    with pytest.raises(ValueError, match=r"are not those of a ViT-B/32: .*; it fits MODEL.CLIP.NAME ViT-B/16$"):
        load_clip("ViT-B/32", rule_weights)


def test_published_weights_that_are_not_here(monkeypatch, tmp_path):
    empty_caches(monkeypatch, tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    put = r"put https://openaipublic\S+/ViT-B-16\.pt there as \S+/ViT-B-16\.pt"
    with pytest.raises(ConnectionError, match=rf"no weights for ViT-B/16: clip_vitb16 is not .*{put}.* MODEL\.CLIP\."):
        load_clip("ViT-B/16")


def test_what_open_clip_has_downloaded_is_found(monkeypatch, tmp_path):
    empty_caches(monkeypatch, tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    repository = get_pretrained_cfg("ViT-B-16", "openai")["hf_hub"].strip("/")
    copy = put_into_hub(tmp_path, repository, "open_clip_model.safetensors", b"no weights")
    with pytest.raises(ValueError, match=re.escape(f"weights {copy}: damaged")):
        load_clip("ViT-B/16")


def test_name_of_published_weights(small, small_clip, monkeypatch, tmp_path):
    file = io.BytesIO()
    torch.save(small, file)
    with small_weights(monkeypatch, tmp_path) as server:
        server.files["cat.pth"] = Served(file.getvalue())
        check("cat_small", small_clip)
        check("cat_small", small_clip)
        assert len(server.requests) == 1


def test_two_names_of_one_tensor(small, tmp_path):
    torch.save(small | {"module.logit_scale": torch.zeros(())}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"x\.pt: two tensors for logit_scale"):
        load_clip("small", tmp_path / "x.pt")


def test_fused_tensor_that_does_not_split(small, tmp_path):
    key = "visual.transformer.resblocks.0.attn.in_proj_bias"
    torch.save(small | {key: torch.zeros(7)}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="does not split into query, key and value"):
        load_clip("small", tmp_path / "x.pt")


def test_values_that_are_not_finite(small, tmp_path):
    torch.save(small | {"ln_final.bias": torch.full((32,), torch.nan)}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"text\.ln_final\.bias holds values that are not finite"):
        load_clip("small", tmp_path / "x.pt")
