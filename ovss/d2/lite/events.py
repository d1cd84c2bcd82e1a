"""What a training run produces on its way, scalars and pictures, kept until a writer takes them. Imports fvcore."""

from collections import defaultdict
from itertools import takewhile
from typing import Any

from fvcore.common.history_buffer import HistoryBuffer
from torch import Tensor

_active: list["EventStorage"] = []


def get_event_storage() -> "EventStorage":
    """The storage of the innermost `with EventStorage(...)`; RuntimeError outside of one."""
    if not _active:
        raise RuntimeError("no EventStorage is open: scalars and pictures are recorded while a trainer trains")
    return _active[-1]


class EventStorage:
    """Histories of named scalars, and pictures, each with the iteration `iter` at which it came.

    The trainer moves `iter`. A scalar's smoothing hint says whether writers show the median of a window or the value.
    """

    def __init__(self, start_iter: int = 0):
        self.iter = start_iter
        self._vis_data: list[tuple[str, Tensor, int]] = []  # as in Detectron2, whose writers read it
        self._histories: dict[str, HistoryBuffer] = defaultdict(HistoryBuffer)
        self._smoothing_hints: dict[str, bool] = {}

    def put_scalar(self, name: str, value: float | Tensor, smoothing_hint: bool = True) -> None:
        """Record a number; ValueError where `name` came with the other hint before."""
        if self._smoothing_hints.setdefault(name, smoothing_hint) != smoothing_hint:
            raise ValueError(f"scalar {name!r} was put with smoothing_hint={not smoothing_hint} before: keep to one")
        self._histories[name].update(float(value), self.iter)

    def put_scalars(self, *, smoothing_hint: bool = True, **scalars: float | Tensor) -> None:
        for name, value in scalars.items():
            self.put_scalar(name, value, smoothing_hint)

    def put_image(self, img_name: str, img_tensor: Tensor) -> None:
        """Record an RGB picture (3,H,W), uint8 or float in [0,1], for writers."""
        self._vis_data.append((img_name, img_tensor, self.iter))

    def clear_images(self) -> None:
        self._vis_data = []

    def history(self, name: str) -> HistoryBuffer:
        """All values of a scalar; KeyError where there are none."""
        if name not in self._histories:
            raise KeyError(f"no scalar {name!r} was recorded; there are: {', '.join(self._histories) or 'none'}")
        return self._histories[name]

    def histories(self) -> dict[str, HistoryBuffer]:
        return self._histories

    def smoothing_hints(self) -> dict[str, bool]:
        return self._smoothing_hints

    def latest(self) -> dict[str, tuple[float, int]]:
        """The last value of every scalar, and its iteration."""
        return {name: history.values()[-1] for name, history in self._histories.items()}

    def latest_with_smoothing_hint(self, window_size: int = 20) -> dict[str, tuple[float, int]]:
        """As `latest`, but the median over the last `window_size` iterations where the hint asks for smoothing."""
        return {
            name: (self.history(name).median(self.count_samples(name, window_size)), iteration)
            if self._smoothing_hints[name]
            else (value, iteration)
            for name, (value, iteration) in self.latest().items()
        }

    def count_samples(self, name: str, window_size: int = 20) -> int:
        """How many values of a scalar came in the `window_size` iterations up to its last one."""
        values = self._histories[name].values()
        recent = takewhile(lambda value: value[1] > values[-1][1] - window_size, reversed(values))
        return sum(1 for _ in recent)

    def __enter__(self) -> "EventStorage":
        _active.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        _active.remove(self)
