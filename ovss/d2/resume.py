"""Which checkpoint a run goes on from, and whether it can: checked before anything changes. The seam, CLIP's keys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from ovss.clip.keys import misfit
from ovss.clip.weights import model_tensors, read_content
from ovss.d2.api import DetectionCheckpointer


def last_checkpoint(folder: str) -> str:
    """The checkpoint that training in `folder` wrote last, "" where it wrote none.

    Raises:
        ValueError: the file last_checkpoint names no file.
    """
    checkpointer = DetectionCheckpointer(nn.Module(), folder)
    if not checkpointer.has_checkpoint():
        return ""
    path = checkpointer.get_checkpoint_file()
    if not Path(path).is_file():
        raise ValueError(
            f"{Path(folder) / 'last_checkpoint'} should name a checkpoint beside it, but {path} is no file: "
            "write the name of one into it, or remove it to start anew"
        )
    return path


def read_checkpoint(
    path: str, *, model: nn.Module, optimizer: Optimizer, max_iter: int
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of the model and the state of the trainer in a checkpoint, from one reading.

    Args:
        model: which the tensors must fit exactly.
        optimizer: of `ovss.d2.solver`, whose parameters must be those that the checkpoint's trained.
        max_iter: iterations of the whole run, of which some must be left.

    Raises:
        ValueError: damaged, without a state of training, of another model or other trained parameters, or at its end.
    """
    content = read_content(Path(path))
    tensors = model_tensors(content, Path(path))
    state = content.get("trainer")
    if not isinstance(state, Mapping) or not {"iteration", "_trainer"} <= state.keys():
        raise ValueError(
            f"checkpoint {path} holds weights, but no state of a training run to go on from: "
            f"train from it with MODEL.WEIGHTS {path}, without --resume"
        )
    if problem := misfit(model.state_dict(), tensors):
        raise ValueError(f"checkpoint {path} is not of this config's model: {problem}")
    saved = state["_trainer"]["optimizer"]["param_groups"]
    then, now = ({group["name"] for group in groups} for groups in (saved, optimizer.param_groups))
    if then != now:
        raise ValueError(
            f"checkpoint {path} is of a run that trained {len(then)} parameters, this config trains {len(now)}, "
            f"{min(then ^ now)} in one of them alone: set CLIP_FINETUNE and BACKBONE_MULTIPLIER as that run had them"
        )
    done = state["iteration"] + 1
    if done >= max_iter:
        found = f"checkpoint {path} is of iteration {done}, SOLVER.MAX_ITER is {max_iter}"
        how = "the run is complete" if done == max_iter else "there is nothing left to train"
        raise ValueError(f"{found}: {how}; raise MAX_ITER, or evaluate with --eval-only --resume")
    return tensors, dict(state)
