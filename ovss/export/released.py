"""A trained CAT-Seg as its authors' code loads it: {"model": tensors under their released names}. Imports torch."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from ovss.files import write_atomic
from ovss.hub import released_tensors
from ovss.models import EMBEDDED


def export_released(model: str, weights: str | None, opts: Sequence[str], output: Path) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        model, opts: see `ovss.hub.load`.
        weights: those of the trained model; default: its own, or what MODEL.WEIGHTS names.

    Raises:
        ValueError: a bad config or weights, or a model that has no released names.
        OSError: the file cannot be written.
    """
    if weights is None:
        tensors = released_tensors(str(EMBEDDED.get(model, model)), opts)
    else:
        tensors = released_tensors(model, [*opts, "MODEL.WEIGHTS", weights])
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(output, partial(torch.save, {"model": tensors}))
    print(f"{len(tensors)} tensors written to {output}")
