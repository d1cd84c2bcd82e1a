"""Weights & Biases, for who asks for it: config, scalars, pictures and scores of a run. Loads `wandb` when it is used.

Nothing is sent unless WANDB.ENABLED; where to (entity, key, offline) is said in wandb's own environment variables.
"""

import importlib.util
import logging
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import yaml
from torch import Tensor

from ovss.d2.api import CfgNode
from ovss.d2.watch.board import Board
from ovss.files import write_atomic

logger = logging.getLogger(__name__)
ID_FILE = "wandb_run_id"
ANSWER_SECONDS = 10.0


def check_installed() -> None:
    """Raise ValueError where the package is missing."""
    if importlib.util.find_spec("wandb") is None:
        raise ValueError("WANDB.ENABLED, but the package wandb is not installed: pip install 'ovss[wandb]'")


class WeightsAndBiases(Board):
    """A run of Weights & Biases, whose id is kept in OUTPUT_DIR: a run that is resumed goes on in it.

    wandb keeps what it could not send, and tries again; it never waits for the network after the start.

    Raises:
        ValueError: wandb is not told who the user is, a setting of its environment is wrong, or its server, which
            answers, does not let it begin.
    """

    def __init__(self, cfg: CfgNode, start_iter: int):
        super().__init__(cfg.LOG_PERIOD)
        self._run = _start(cfg, _run_id(Path(cfg.OUTPUT_DIR) / ID_FILE, start_iter > 0))

    def show(self, iteration: int, scalars: Mapping[str, float], pictures: Mapping[str, Tensor]) -> None:
        from wandb import Image

        if iteration >= self._run.step:  # what a resumed run repeats is there already, and wandb takes no step twice
            images = {name: Image(picture.permute(1, 2, 0).numpy()) for name, picture in pictures.items()}
            self._run.log({**scalars, **images}, step=iteration)

    def close(self) -> None:
        self._run.finish(exit_code=0 if sys.exc_info()[0] is None else 1)  # closed in a `finally`, after an error too


def _run_id(file: Path, resumed: bool) -> str:
    """The id of the run that is resumed, where it had one, else a new one, which is kept."""
    if resumed and file.is_file():
        return file.read_text("ascii").strip()
    new = secrets.token_hex(4)
    write_atomic(file, lambda opened: opened.write(new.encode()))
    return new


def _start(cfg: CfgNode, run_id: str) -> Any:
    """The open run; it stays in OUTPUT_DIR, which the log says, where the network is down."""
    import wandb

    settings = {
        "project": cfg.WANDB.PROJECT,
        "name": cfg.WANDB.NAME or None,
        "id": run_id,
        "resume": "allow",
        "dir": cfg.OUTPUT_DIR,
        "config": yaml.safe_load(cfg.dump()),
        "settings": wandb.Settings(console="off", quiet=True),  # log.txt holds what is printed
    }
    chosen = wandb.setup().settings
    if chosen.mode == "online" and (problem := _silence(chosen.base_url)):
        # Not left to wandb: it would wait for the network at its end, too.
        logger.warning(f"no connection to Weights & Biases: recording for `wandb sync` instead ({problem})")
        settings["mode"] = "offline"
    try:
        return wandb.init(**settings)
    except (wandb.errors.AuthenticationError, wandb.errors.UsageError, wandb.errors.CommError) as error:
        raise ValueError(f"WANDB.ENABLED, but wandb refuses: {error} Or set WANDB_MODE=offline") from error


def _silence(url: str) -> str:
    """Why nobody answers there; empty where somebody does."""
    try:
        urlopen(url, timeout=ANSWER_SECONDS).close()
    except HTTPError:
        return ""
    except OSError as error:
        return f"{url}: {error}"
    return ""
