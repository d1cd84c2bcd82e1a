"""Scalars and pictures of a training run for people to look at: TensorBoard. Imports torch and the seam."""

from collections import defaultdict
from collections.abc import Mapping

from torch import Tensor

from ovss.d2.api import CfgNode, EventWriter, get_event_storage


class Board(EventWriter):
    """A writer of scalars and pictures, in the order of their iterations; a subclass says how to `show` them."""

    def __init__(self, window: int):
        self.window = window
        self._last = -1  # iteration up to which everything is written

    def show(self, iteration: int, scalars: Mapping[str, float], pictures: Mapping[str, Tensor]) -> None:
        """Write what came at an iteration; pictures are RGB (3,H,W), uint8."""
        raise NotImplementedError

    def write(self) -> None:
        storage = get_event_storage()
        scalars: dict[int, dict[str, float]] = defaultdict(dict)
        pictures: dict[int, dict[str, Tensor]] = defaultdict(dict)
        for name, (value, iteration) in storage.latest_with_smoothing_hint(self.window).items():
            scalars[iteration][name] = value
        for name, picture, iteration in storage._vis_data:  # Detectron2 knows no other way to them
            pictures[iteration][name] = picture
        new = sorted(iteration for iteration in {*scalars, *pictures} if iteration > self._last)
        for iteration in new:
            self.show(iteration, scalars[iteration], pictures[iteration])
        self._last = max(new, default=self._last)


class TensorBoard(Board):
    """Scalars, pictures and, as text, the config, to TensorBoard files in OUTPUT_DIR.

    What a run that was broken off has left there from `start_iter` on is no longer shown.
    """

    def __init__(self, cfg: CfgNode, start_iter: int):
        super().__init__(cfg.LOG_PERIOD)
        from torch.utils.tensorboard import SummaryWriter  # slow to import

        self._writer = SummaryWriter(cfg.OUTPUT_DIR, purge_step=start_iter)
        self._writer.add_text("config", f"```yaml\n{cfg.dump()}```", start_iter)

    def show(self, iteration: int, scalars: Mapping[str, float], pictures: Mapping[str, Tensor]) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, iteration)
        for name, picture in pictures.items():
            self._writer.add_image(name, picture, iteration)

    def write(self) -> None:
        super().write()
        self._writer.flush()
        get_event_storage().clear_images()

    def close(self) -> None:
        self._writer.close()
