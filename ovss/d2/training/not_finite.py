"""What is kept of a step whose loss or gradients are not finite, to look at again. Imports files and the seam."""

import json
import logging
import math
from pathlib import Path
from typing import Any

from ovss.d2.api import comm
from ovss.d2.training.resume import LAST
from ovss.d2.training.step import Batch, NotFinite
from ovss.files import write_atomic

logger = logging.getLogger(__name__)
FILE = "not_finite.json"


def keep_not_finite(error: NotFinite, batch: Batch, *, folder: str, iteration: int, seed: int, first: int) -> None:
    """Write `folder`/not_finite.json and log what happened, on the main process; returns in all when it is done.

    A crop can be made again from the seed and its place: item `place` of a `TrainingStream` of that seed.

    Args:
        batch: this process's share.
        seed: of the run, see `ovss.d2.training.loader`.
        first: place in the run of the first crop of `batch`, which the others follow.
    """
    pictures = [{"place": first + index, "file_name": crop.get("file_name")} for index, crop in enumerate(batch)]
    everyone = comm.gather(pictures)
    if comm.is_main_process():
        found = error.findings
        processes = [
            {"losses": _numbers(losses), "pictures": pictures}
            for losses, pictures in zip(found.by_process, everyone, strict=True)
        ]
        path, last = Path(folder) / FILE, Path(folder) / LAST
        content = {
            "iteration": iteration,
            "seed": seed,
            "losses": _numbers(found.losses),
            "gradient_norm": _number(found.gradient_norm),
            "processes": processes,
            "last_checkpoint": last.read_text(encoding="utf-8").strip() if last.is_file() else None,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, lambda file: file.write(json.dumps(content, indent=1).encode()))
        good = f"the last checkpoint is {content['last_checkpoint']}" if content["last_checkpoint"] else "no checkpoint"
        logger.error(f"iteration {iteration}: {error}; its pictures are in {path}, weights unchanged, {good}")
    comm.synchronize()  # a process that ends earlier would have the others stopped


def _numbers(values: dict[str, float]) -> dict[str, Any]:
    return {name: _number(value) for name, value in values.items()}


def _number(value: float) -> float | str:
    """JSON knows no number that is not finite: those are words."""
    return value if math.isfinite(value) else str(value)
