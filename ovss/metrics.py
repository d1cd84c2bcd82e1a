"""Scores of semantic segmentation: the confusion matrix, both published definitions of mIoU by name, a table per class.

Imports torch only. K classes; counts[i, j] is the number of pixels of true class i that were given class j.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


class ConfusionMatrix:
    """Counts of (true class, predicted class) over all pixels of all images.

    `counts` (K, K) int64 on `device`, rows = ground truth. Matrices of parts of a data set add up to that of the whole:
    use `+` or `sum(parts, ConfusionMatrix(K))`, or reduce `counts` over the processes.

    Raises:
        ValueError: fewer than 1 class.
    """

    def __init__(self, num_classes: int, device: torch.device | str = "cpu"):
        if num_classes < 1:
            raise ValueError(f"a confusion matrix needs at least 1 class, not {num_classes}")
        self.num_classes = num_classes
        self.counts = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    def update(self, prediction: Tensor, target: Tensor, ignore_label: int) -> Tensor:
        """Count one image or a batch of them, on the device of the prediction.

        Args:
            prediction: predicted classes, integers of any shape.
            target: true classes, of the same shape.
            ignore_label: pixels with this target are not counted, whatever was predicted there.

        Returns: (K, K), the counts of these images alone.

        Raises:
            ValueError: shapes that differ, or a counted pixel with a class outside [0, K).
        """
        if prediction.shape != target.shape:
            raise ValueError(f"the prediction has shape {tuple(prediction.shape)}, the target {tuple(target.shape)}")
        prediction, target = prediction.flatten().long(), target.flatten().to(prediction.device).long()
        void = target == ignore_label
        self._check("target", target, void, f"; pixels to leave out must have the ignore label {ignore_label}")
        self._check("prediction", prediction, void)
        # One bin more than there are pairs takes the void: cheaper than to pick out what is counted.
        pairs = (target * self.num_classes + prediction).masked_fill_(void, self.num_classes**2)
        counts = torch.bincount(pairs, minlength=self.num_classes**2 + 1)[:-1].view_as(self.counts)
        self.counts += counts.to(self.counts.device)
        return counts

    def _check(self, name: str, classes: Tensor, void: Tensor, hint: str = "") -> None:
        if not len(classes):
            return
        low, high = classes.masked_fill(void, 0).aminmax()
        if low < 0 or high >= self.num_classes:
            wrong = classes[~void & ((classes < 0) | (classes >= self.num_classes))]
            raise ValueError(f"class {int(wrong[0])} in the {name} is outside 0 to {self.num_classes - 1}{hint}")

    def __add__(self, other: "ConfusionMatrix") -> "ConfusionMatrix":
        if self.num_classes != other.num_classes:
            raise ValueError(f"cannot add confusion matrices of {self.num_classes} and {other.num_classes} classes")
        total = ConfusionMatrix(self.num_classes, self.counts.device)
        total.counts = self.counts + other.counts.to(self.counts.device)
        return total


@dataclass(frozen=True)
class Scores:
    """All in percent, not rounded. nan where nothing defines a score; everywhere if no pixel was counted."""

    mIoU_gt: float  # mean IoU over the classes in the ground truth (Detectron2 since 2022-07-06; CLIPtrase)
    mIoU_union: float  # mean IoU over the classes in the ground truth or in a prediction (Detectron2 v0.6)
    pAcc: float  # share of the pixels that are right
    mAcc_gt: float  # mean class accuracy over the classes in the ground truth (Detectron2)
    mAcc_all: float  # the same over all K classes, absent ones counting 0 (CLIPtrase)
    fwIoU: float  # mean IoU weighted by the share of each class in the ground truth
    IoU: tuple[float, ...]  # per class; nan if neither in the ground truth nor in a prediction
    accuracy: tuple[float, ...]  # per class: share of its pixels that are right; nan if not in the ground truth


def scores(counts: Tensor, epsilon: float = 0.0) -> Scores:
    """Compute all scores from the (K, K) counts of a `ConfusionMatrix`.

    `epsilon` is added to the denominators of class accuracy and IoU, and nowhere else: CLIPtrase's published figures
    have 0.01 there, those of Detectron2 have 0.
    """
    right, true, predicted = (part.cpu().double() for part in (counts.diagonal(), counts.sum(1), counts.sum(0)))
    union = true + predicted - right
    in_truth, in_either = true > 0, union > 0
    iou = torch.where(in_either, 100 * right / (union + epsilon), torch.nan)
    accuracy = torch.where(in_truth, 100 * right / (true + epsilon), torch.nan)
    total = true.sum()
    return Scores(
        mIoU_gt=iou[in_truth].mean().item(),
        mIoU_union=iou[in_either].mean().item(),
        pAcc=(100 * right.sum() / total).item(),
        mAcc_gt=accuracy[in_truth].mean().item(),
        mAcc_all=(accuracy.nansum() / len(counts)).item() if total > 0 else math.nan,
        fwIoU=((true * iou)[in_truth].sum() / total).item(),
        IoU=tuple(iou.tolist()),
        accuracy=tuple(accuracy.tolist()),
    )


def per_class_table(result: Scores, names: Sequence[str], most: int | None = None) -> str:
    """A Markdown table with the IoU and the accuracy of each class, in percent with 2 decimals; "-" where undefined.

    With more than `most` classes only the best and the worst by IoU, a third of `most` each, the best first, and a
    line that says so.

    Raises:
        ValueError: not one name per class.
    """
    if len(names) != len(result.IoU):
        raise ValueError(f"{len(names)} names for the scores of {len(result.IoU)} classes")
    chosen, note = list(range(len(names))), ""
    if most is not None and len(names) > most:
        defined = [index for index in chosen if not math.isnan(result.IoU[index])]
        ranked = sorted(defined, key=lambda index: -result.IoU[index])
        best = ranked[: most // 3]
        chosen = best + ranked[max(len(best), len(ranked) - most // 3) :]
        note = f"\n\n{len(chosen)} of {len(names)} classes: the best and the worst of {len(defined)} with an IoU"
    lines = ["| class | IoU | accuracy |", "|---|---:|---:|"]
    for index in chosen:
        values = (result.IoU[index], result.accuracy[index])
        cells = [names[index].replace("|", r"\|"), *("-" if math.isnan(value) else f"{value:.2f}" for value in values)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + note
