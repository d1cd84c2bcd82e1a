"""Which checkpoint a run goes on from, and whether it can: checked before anything changes.

Imports CLIP's keys, what reads weights, and the optimizer.
"""

import logging
import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from ovss.clip.keys import misfit
from ovss.clip.weights import model_tensors, read_content
from ovss.d2.training.solver import fitted_state

logger = logging.getLogger(__name__)
LAST = "last_checkpoint"
CHECKPOINT = re.compile(r"model_(\d+|final)\.pth")


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of training in a folder, which need not be there: model_<iteration>.pth and model_final.pth."""
    return sorted(path for path in folder.glob("model_*.pth") if CHECKPOINT.fullmatch(path.name))


def newest_checkpoint(folder: str | Path) -> tuple[Path, Mapping[str, Any]] | None:
    """The newest good checkpoint of a folder and its content, read and checked once; None where there is none at all.

    It is the one that the file last_checkpoint names. Where that is missing or damaged, it is the one of most
    iterations beside it, and a warning says what is wrong.

    Raises:
        ValueError: there are checkpoints, but no good one; it names all of them.
    """
    tried: list[str] = []
    for path in _newest_first(Path(folder), tried):
        try:
            content = _read_whole(path)
        except ValueError as error:
            tried.append(str(error))
            continue
        if tried:
            logger.warning(f"{'; '.join(tried)}: taking {path}, the newest good checkpoint beside it")
        return path, content
    if tried:
        raise ValueError(
            f"no good checkpoint in {folder}: {'; '.join(tried)}. Put a good one there, or take another OUTPUT_DIR"
        )
    return None


def _newest_first(folder: Path, tried: list[str]) -> Iterator[Path]:
    """The named checkpoint, then all others; `tried` learns where no checkpoint is named."""
    named, others = None, checkpoints(folder)
    try:
        named = folder / (folder / LAST).read_text(encoding="utf-8").strip()
        yield named
    except FileNotFoundError:
        if others:
            tried.append(f"{folder / LAST}: no such file")
    except ValueError:
        tried.append(f"{folder / LAST}: damaged")
    yield from sorted((path for path in others if path != named), key=_iterations, reverse=True)


def _iterations(path: Path) -> float:
    """Of a run up to a checkpoint; of a damaged model_final.pth infinite, so that it is tried first and told."""
    number = path.stem.removeprefix("model_")
    if number.isdecimal():
        return int(number)
    try:
        return _read_whole(path).get("iteration", math.inf)
    except ValueError:
        return math.inf


def _read_whole(path: Path) -> Mapping[str, Any]:
    """The content of a checkpoint. Raises ValueError for a missing or damaged one: torch reads over a flipped bit."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                record = archive.testzip()
        except Exception as error:  # of a damaged archive: zipfile, zlib, struct, a length that makes no sense
            raise ValueError(f"{path}: damaged ({error})") from error
        if record is not None:
            raise ValueError(f"{path}: damaged, {record} does not have its checksum")
    content = read_content(path)
    if not isinstance(content, Mapping) or "model" not in content:
        raise ValueError(f"{path}: no checkpoint of training")
    return content


def read_checkpoint(
    path: Path, content: Mapping[str, Any], *, model: nn.Module, optimizer: Optimizer, max_iter: int
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of the model and the state of the trainer in a checkpoint's content.

    Args:
        model: which the tensors must fit exactly.
        optimizer: of `ovss.d2.training.solver`, whose parameters, rates and decays must be those of the checkpoint.
        max_iter: iterations of the whole run; where all are done, what comes after the last one is left.

    Raises:
        ValueError: without a state of training, of another model or optimizer, or beyond its end.
    """
    tensors = model_tensors(content, path)
    state = content.get("trainer")
    if not isinstance(state, Mapping) or not {"iteration", "_trainer"} <= state.keys():
        raise ValueError(
            f"checkpoint {path} holds weights, but no state of a training run to go on from: "
            f"train from it with MODEL.WEIGHTS {path}, without --resume"
        )
    if problem := misfit(model.state_dict(), tensors):
        raise ValueError(f"checkpoint {path} is not of this config's model: {problem}")
    try:
        fitted = fitted_state(state["_trainer"]["optimizer"], optimizer)
    except ValueError as error:
        raise ValueError(f"checkpoint {path} is of a run that {error}") from error
    done = state["iteration"] + 1
    if done > max_iter:
        raise ValueError(
            f"checkpoint {path} is of iteration {done}, SOLVER.MAX_ITER is {max_iter}: there is nothing left to train; "
            "raise MAX_ITER, or evaluate with --eval-only --resume"
        )
    hooks = dict(state.get("hooks", {}))
    if "LRScheduler" in hooks:  # has one rate for each group
        hooks["LRScheduler"] = hooks["LRScheduler"] | {
            "base_lrs": [group["initial_lr"] for group in optimizer.param_groups]
        }
    return tensors, {**state, "hooks": hooks, "_trainer": {**state["_trainer"], "optimizer": fitted}}
