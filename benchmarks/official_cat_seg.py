"""The authors' CAT-Seg as rows of benchmarks: sliding window, training step, words. See `benchmarks/official.py`.

Left out is what they encode of words while the model is built, which nothing reads afterwards; where words are not what
is timed, their cache of embeddings is filled beforehand.
"""

import json
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.made import clip_state, made_text
from benchmarks.official import VIT_B16, enter
from benchmarks.workers import Work

PREDICTOR = "cat_seg.modeling.transformer.cat_seg_predictor"
HEAD = "MODEL.SEM_SEG_HEAD"


def made_clip(prompt_depth: int, prompt_length: int) -> nn.Module:
    """Their CLIP, whose weights their loader would download."""
    module = import_module("cat_seg.third_party.model_vpt")
    model = module.CLIP(**VIT_B16, prompt_depth=prompt_depth, prompt_length=prompt_length)
    state = clip_state()
    for key in [key for key in state if key.endswith("in_proj_weight")]:
        for letter, part in zip("qkv", state.pop(key).chunk(3), strict=True):
            state[key.replace("in_proj", f"{letter}_proj")] = part
    model.load_state_dict(state)
    return model.eval()


def build(folder: str, device: str, words: list[str], *, sliding: bool) -> Any:
    """Their model from their config, for these words."""
    enter(folder, "CAT-Seg", "detectron2")
    package = import_module("cat_seg")
    predictor = import_module(PREDICTOR).CATSegPredictor
    loader: Any = import_module("cat_seg.third_party.clip")
    loader.load = lambda _, prompt_depth, prompt_length, **__: (made_clip(prompt_depth, prompt_length), None)
    cfg = import_module("detectron2.config").get_cfg()
    import_module("detectron2.projects.deeplab").add_deeplab_config(cfg)
    package.add_cat_seg_config(cfg)
    cfg.merge_from_file(str(Path(folder) / "CAT-Seg/configs/vitb_384.yaml"))
    encode, predictor.class_embeddings = predictor.class_embeddings, lambda *_: torch.zeros(1, 1, 1)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "words.json"
        path.write_text(json.dumps(words), encoding="utf-8")
        opts = [f"{HEAD}.TRAIN_CLASS_JSON", str(path), f"{HEAD}.TEST_CLASS_JSON", str(path), "MODEL.DEVICE", device]
        if sliding:  # as their eval.sh
            opts += ["TEST.SLIDING_WINDOW", "True", f"{HEAD}.POOLING_SIZES", "[1,1]"]
        cfg.merge_from_list(opts)
        model = import_module("detectron2.modeling").build_model(cfg)
    predictor.class_embeddings = encode
    return model


def sliding_window(folder: str, device: str, words: int, size: tuple[int, int]) -> Work:
    """Scores of all classes at each pixel of a picture (H,W)."""
    model = build(folder, device, [f"class {index}" for index in range(words)], sliding=True).eval()
    predictor = model.sem_seg_head.predictor
    predictor.cache = made_text(words, VIT_B16["embed_dim"], device)
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    inputs = [{"image": image, "height": size[0], "width": size[1]}]
    parts = predictor.clip_model.visual, predictor.transformer, model.upsample1, model.upsample2
    return Work(lambda: model(inputs)[0]["sem_seg"], (parts, predictor.cache, image))


def training_step(folder: str, device: str, words: list[str], batch: list[dict[str, Tensor]]) -> Work:
    """Loss, gradients, clipping and AdamW, of crops with "image" (3,H,W) and "sem_seg" (H,W); float32."""
    model = build(folder, device, words, sliding=False).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-4, weight_decay=1e-4)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = model(batch)["loss_sem_seg"]
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 0.01)
        optimizer.step()
        return loss.detach()

    return Work(step, (model, batch))


def text(folder: str, device: str, words: list[str], *, one_by_one: bool) -> Work:
    """Embeddings of words: one after the other, as while the model is built, or at once, as for the first picture."""
    predictor = build(folder, device, words[:1], sliding=True).eval().sem_seg_head.predictor
    prompts, clip = predictor.prompt_templates, predictor.clip_model

    @torch.no_grad()
    def encode() -> Tensor:
        predictor.cache = predictor.tokens = None
        if one_by_one:
            return predictor.class_embeddings(words, prompts, clip)
        return predictor.get_text_embeds(words, prompts, clip)

    return Work(encode, (clip.transformer, clip.token_embedding))
