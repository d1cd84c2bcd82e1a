"""`ovss.load`: a model by its name, ready to segment pictures. Imports torch.

Which words, which device, which precision and whose weights are arguments; the rest is the model's config.
"""

import os
from collections.abc import Sequence

import torch

from ovss import hub
from ovss.clip.model import ASSETS
from ovss.model_names import config_path, is_name
from ovss.predictor import Predictor
from ovss.vocabulary import Vocabulary, Words
from ovss.weights.store import published_path

# Trained models that are in the package, in place of the config that trains them.
EMBEDDED = {"quickstart/cat_seg": ASSETS / "tiny_cat_seg.safetensors"}
OFFLINE = "quickstart/"  # its models are on the embedded CLIP
PACKAGED = ".safetensors"


def load(
    name: str,
    weights: str | os.PathLike | None = None,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    vocabulary: Words | None = None,
    opts: Sequence[str] = (),
) -> Predictor:
    """Build a model and load its weights.

    Args:
        name: one of `ovss.list_models()`, such as "cat_seg/vitb_384" or "cliptrase/vitb16_336"; a YAML config; or a
            packaged model, the `.safetensors` file that training ends with.
        weights: a file, a folder or a name of `ovss weights list`: the checkpoint of a CAT-Seg, CLIP's weights for a
            training-free model. Default for a name: the published ones, downloaded once and verified, or embedded
            (`quickstart/...`); for a YAML config: what it says.
        device: "cpu", "cuda", "cuda:1", ...; default: a GPU where there is one.
        dtype: what it computes in: "float32", "bfloat16" or "float16", or torch's; default: the config's, float32.
        vocabulary: what calls look for that bring no words: "cat, wall", a list, a class file; default: the config's.
        opts: KEY VALUE words, config values to change.

    Raises:
        ValueError: a name, config, words, weights or device that do not exist or fit; no weights were published.
        ConnectionError: published weights that are not here and cannot be downloaded.
    """
    name, given = str(name), [str(word) for word in opts]
    words = None if vocabulary is None else Vocabulary.parse(vocabulary)
    if weights is None and name in EMBEDDED and is_name(name):
        name = str(EMBEDDED[name])
    elif weights is not None and name.endswith(PACKAGED):
        raise ValueError(f"weights {weights}: {name} holds its own; give the name of a model or a config with weights")
    elif weights is not None or is_name(name):
        given += _weights(name, weights, given)
    if dtype is not None:
        given += ["TEST.PRECISION", str(dtype).removeprefix("torch.")]
    return hub.build_predictor(config_path(name), given, words, None if device is None else str(device))


def _weights(name: str, weights: str | os.PathLike | None, opts: Sequence[str]) -> list[str]:
    """KEY VALUE words of the weights that were given, or else of the published ones, unless `opts` name some."""
    setting = hub.weights_setting(name, opts)
    if weights is not None:
        return [setting, str(weights)]
    if setting in opts[::2] or name.startswith(OFFLINE):
        return []
    published = published_path(name)
    if published is None:
        raise ValueError(f"{name}: no weights were published for it; give weights (--weights), those that you trained")
    return [published[0], str(published[1])]
