"""Test-time augmentation (TEST.AUG): a picture at several sizes and mirrored, its scores averaged. For any segmentor.

Knows of the model only Detectron2's convention; one view is in memory at a time.
"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ovss.d2.api import CfgNode
from ovss.d2.mapper import InputTransform
from ovss.labels import answered_labels


class AugmentedSegmentor(nn.Module):
    """Answers as the segmentor does, with the mean over the views of each picture of their scores.

    Views are made from the picture as the test resizes it, as Detectron2's are: for no loss of detail MIN_SIZE_TEST is
    the largest of the sizes. All answers have the same resolution, so that no score is resized but the model's own.

    Args:
        segmentor: a list of dicts with "image" (3,h,w) uint8 -> a list of {"sem_seg": (K,height,width)}. It is always
            asked for scores; those who ask for "labels_only" get the labels of the mean scores.
        resizes: one for each size, (h,w,3) uint8 -> (h',w',3) uint8.
        flip: add the mirror image of every view.
    """

    def __init__(self, segmentor: nn.Module, *, resizes: Sequence[InputTransform], flip: bool):
        super().__init__()
        self.segmentor = segmentor
        self.resizes = tuple(resizes)
        self.flip = flip
        self.train(segmentor.training)

    @property
    def name(self) -> str:
        """What results are called: "ms+flip", "ms", "flip", or the one size."""
        scales = "ms" if len(self.resizes) > 1 else "" if self.flip else f"{self.resizes[0].min_size} px"
        return "+".join(part for part in (scales, "flip" if self.flip else "") if part)

    @property
    def device(self) -> torch.device:
        """Where the segmentor is."""
        return cast(torch.device, self.segmentor.device)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Mean scores (K,height,width) to values in [0,1], as the segmentor's own."""
        return cast(Any, self.segmentor).probabilities(scores)

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """Segment a list of Detectron2 inputs; `height` and `width` default to the picture's own."""
        sizes = [item["image"].shape[-2:] for item in batched_inputs]
        requests = [
            {"height": height, "width": width, **item, "labels_only": False}
            for (height, width), item in zip(sizes, batched_inputs, strict=True)
        ]
        totals: list[Tensor] = []
        for resize in self.resizes:
            views = [_resized(request["image"], resize) for request in requests]
            for mirrored in (False, True) if self.flip else (False,):
                images = [view.flip(-1) if mirrored else view for view in views]
                asked = [{**request, "image": image} for request, image in zip(requests, images, strict=True)]
                scores = [answer["sem_seg"] for answer in self.segmentor(asked)]
                scores = [score.flip(-1) for score in scores] if mirrored else scores
                totals = [total.add_(score) for total, score in zip(totals, scores, strict=True)] if totals else scores
        means = [{"sem_seg": total.div_(len(self.resizes) * (1 + self.flip))} for total in totals]
        return [
            dict(zip(("labels", "scores"), answered_labels(mean), strict=True)) if item.get("labels_only") else mean
            for item, mean in zip(batched_inputs, means, strict=True)
        ]


def _resized(image: Tensor, resize: InputTransform) -> Tensor:
    pixels = resize(np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy()))
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def augmented(cfg: CfgNode, segmentor: nn.Module) -> nn.Module:
    """The segmentor under TEST.AUG of a config, or itself where that is not enabled.

    Raises:
        ValueError: no sizes, or sizes that do not fit together.
    """
    node = cfg.TEST.AUG
    if not node.ENABLED:
        return segmentor
    if not node.MIN_SIZES or not 1 <= min(node.MIN_SIZES) <= max(node.MIN_SIZES) <= node.MAX_SIZE:
        raise ValueError(
            f"TEST.AUG.MIN_SIZES {node.MIN_SIZES} and MAX_SIZE {node.MAX_SIZE}: expected at least one size of 1 to "
            f"MAX_SIZE pixels; mirroring alone is MIN_SIZES ({cfg.INPUT.MIN_SIZE_TEST},)"
        )
    resizes = [
        InputTransform(min_size=size, max_size=node.MAX_SIZE, interpolation=cfg.INPUT.INTERPOLATION_TEST)
        for size in node.MIN_SIZES
    ]
    return AugmentedSegmentor(segmentor, resizes=resizes, flip=node.FLIP)
