"""Where the events of a training run go: the log, metrics.json, TensorBoard, Weights & Biases. Imports the seam.

All writers smooth what is noisy over the last LOG_PERIOD steps, and write each iteration once.
"""

from pathlib import Path

from ovss.d2.api import CfgNode, EventWriter, JSONWriter
from ovss.d2.watch.board import TensorBoard
from ovss.d2.watch.progress_line import ProgressLine
from ovss.d2.watch.weights_and_biases import WeightsAndBiases, check_installed


def check_writers(cfg: CfgNode) -> None:
    """Raise ValueError for settings of what is written during training that cannot be kept."""
    if cfg.LOG_PERIOD < 1:
        raise ValueError(f"LOG_PERIOD {cfg.LOG_PERIOD}: must be at least 1 iteration")
    if cfg.WANDB.ENABLED:
        check_installed()


def build_writers(cfg: CfgNode, start_iter: int) -> list[EventWriter]:
    """The main process's writers in OUTPUT_DIR, of a run that starts, or goes on, at iteration `start_iter`."""
    Path(cfg.OUTPUT_DIR).mkdir(parents=True, exist_ok=True)
    return [
        ProgressLine(cfg.SOLVER.MAX_ITER, window=cfg.LOG_PERIOD, batch=cfg.SOLVER.IMS_PER_BATCH),
        JSONWriter(f"{cfg.OUTPUT_DIR}/metrics.json", cfg.LOG_PERIOD),
        *([WeightsAndBiases(cfg, start_iter)] if cfg.WANDB.ENABLED else []),
        TensorBoard(cfg, start_iter),  # the last, it clears the pictures
    ]
