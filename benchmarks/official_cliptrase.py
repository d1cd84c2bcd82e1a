"""The authors' CLIPtrase as rows of benchmarks: both versions, and their words. See `benchmarks/official.py`.

Their paper's script knows data sets alone: it is given one of a single picture, whose words are already encoded, so
that a call also reads two small PNG files and scores one answer, a few milliseconds.
"""

import contextlib
import io
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.made import clip_state, made_text, photo, photo_tensor
from benchmarks.official import VIT_B16, enter
from benchmarks.workers import Work

SETTINGS = {224: {"eps": 0.7, "min": 3}, 336: {"eps": 1.1, "min": 7}}
NAME = "benchmark"


def paper_code(folder: str, device: str) -> tuple[Any, nn.Module]:
    """Their script and their CLIP."""
    enter(folder, "CLIPtrase")
    script: Any = import_module("clip_self_correlation")
    script.device = device
    script.tqdm = lambda steps: steps
    clip = import_module("clip_utils.model").build_model(clip_state())
    return script, clip.to(device)


def paper(folder: str, device: str, words: int, size: int) -> Work:
    """Labels of the photo's `size` px square, and its scores."""
    script, clip = paper_code(folder, device)
    text = made_text(words, VIT_B16["embed_dim"], device)[:, 0]
    script.get_text_features = lambda *_: text
    place = tempfile.TemporaryDirectory()
    folders = {kind: Path(place.name) / kind for kind in ("image_path", "gt_path")}
    for path in folders.values():
        path.mkdir()
    photo(size, size).save(folders["image_path"] / "photo.png")
    labels = np.random.default_rng(0).integers(0, words, (size, size)).astype(np.uint8)
    Image.fromarray(labels).save(folders["gt_path"] / "photo.png")
    paths = {kind: str(path) for kind, path in folders.items()}
    script.dataset_info[NAME] = {"labels": [f"class {index}" for index in range(words)], **paths}

    @torch.no_grad()
    def run(_: object = place) -> None:  # which is removed with the process
        with contextlib.redirect_stdout(io.StringIO()):
            script.self_clip(clip, NAME, image_size=size, **SETTINGS[size])

    return Work(run, (clip.visual, text))


def detectron2_version(folder: str, device: str, words: int, size: tuple[int, int]) -> Work:
    """Scores of all classes at each pixel of the photo (H,W)."""
    enter(folder, "CLIPtrase/cliptrase_d2", "detectron2")
    module: Any = import_module("cliptrase.model.CLIPtrase")
    state = clip_state()
    module.load = lambda _: (import_module("cliptrase.model.origin_clip.model").build_model(state), None)
    cfg = import_module("detectron2.config").get_cfg()
    import_module("cliptrase.config").add_our_config(cfg)
    cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.DEVICE = "CLIPtrase", device
    model = import_module("detectron2.modeling").build_model(cfg).eval()
    vocabulary = [f"class {index}" for index in range(words)]
    model.ov_classifier.cache = dict(zip(vocabulary, made_text(words, VIT_B16["embed_dim"], device)[:, 0], strict=True))
    image = photo_tensor(*size)
    one = {"image": image, "height": size[0], "width": size[1], "vocabulary": vocabulary, "meta": {"dataset_name": ""}}
    return Work(lambda: model([one])[0]["sem_seg"], (model.clip_visual_extractor, image))


def text(folder: str, device: str, words: list[str]) -> Work:
    """Embeddings of words under the 80 prompts."""
    script, clip = paper_code(folder, device)

    @torch.no_grad()
    def encode() -> Tensor:
        return script.get_text_features(clip, words)

    return Work(encode, (clip.transformer, clip.token_embedding))  # type: ignore
