"""Compares what the parts of a full-size CAT-Seg take and put out with some hundred stored values of each."""

from contextlib import contextmanager

import numpy as np
import torch

from cat_seg.cost import cost_volume


class Probe:
    """Stored values lie under `probe/<key>/<name>/{idx,val,shape,stat}`; what has none is passed over."""

    def __init__(self, expected, key):
        self.expected, self.key = expected, f"probe/{key}"
        self.compared = set()

    def __call__(self, name, values, relative=1e-4):
        key = f"{self.key}/{name}"
        if f"{key}/idx" not in self.expected:
            return
        shape = list(self.expected[f"{key}/shape"])
        if name == "proj_text_guidance":  # ours is shared by all views
            values = values.expand(*shape)
        assert list(values.shape) == shape, name
        difference = values.numpy().ravel()[self.expected[f"{key}/idx"]] - self.expected[f"{key}/val"]
        assert np.abs(difference).max() <= relative * self.expected[f"{key}/stat"][2], name
        self.compared.add(name)

    @contextmanager
    def watching(self, model):
        """Compare inside of the model's passes."""
        handles = [
            part.register_forward_hook(lambda _, __, out, name=name, view=view: self(name, view(out)))
            for name, part, view in outputs(model)
        ]
        handles += [
            model.clip.visual.register_forward_pre_hook(lambda _, args: self("clip_input", args[0])),
            model.aggregator.register_forward_pre_hook(
                lambda _, args: self("corr", cost_volume(*args[:2]).transpose(1, 2).contiguous())
            ),
        ]
        if hasattr(model.guidance, "backbone"):
            backbone = model.guidance.backbone
            handles.append(backbone.register_forward_pre_hook(lambda _, args: self("backbone_input", args[0])))
            handles.append(backbone.register_forward_hook(lambda _, __, out: self.levels(out)))
        yield self
        for handle in handles:
            handle.remove()

    def levels(self, maps):
        for name, level in zip(("res4", "res3", "res2"), maps, strict=True):
            self(name, level.contiguous(), relative=5e-5)


def outputs(model):
    """Name, part, and its output in the authors' order of axes."""
    aggregator = model.aggregator
    yield "clip_features", model.clip.visual, lambda out: torch.cat([out.class_token[:, None], out.patches], dim=1)
    yield "corr_embed", aggregator.embedding, channels_first
    yield "proj_guidance", aggregator.appearance, torch.clone
    yield "proj_text_guidance", aggregator.text, torch.clone
    for index, layer in enumerate(aggregator.layers):
        yield f"layer{index}_swin", layer.spatial, channels_first
        yield f"layer{index}", layer, channels_first
    for index, stage in enumerate(aggregator.decoder.stages):
        yield f"proj_decoder_guidance{index}", stage.guidance, torch.clone
        yield f"decoder{index + 1}", stage, lambda out: out.flatten(0, 1)
    yield "logits", aggregator, torch.clone


def channels_first(out):
    """(B,T,h,w,C) -> (B,C,T,h,w)"""
    return out.permute(0, 4, 1, 2, 3).contiguous()
