"""Published and measured scores side by side. Standard library, and the table of published figures."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import Any

from ovss.files import write_atomic
from ovss.published import Entry


@dataclass(frozen=True)
class Comparison:
    """One evaluation of an entry.

    Attributes:
        measured: all scores in percent, by name.
        pictures: how many were evaluated.
        told: what the scores depend on, by name, in words.
    """

    entry: Entry
    measured: Mapping[str, float]
    pictures: int
    told: Mapping[str, str]

    @property
    def difference(self) -> dict[str, float]:
        """Measured less published, in points, for every published score."""
        return {name: self.measured[name] - value for name, value in self.entry.published.items()}

    @property
    def data(self) -> str:
        """The data set and its pictures; a part of it is called so."""
        text = f"{self.entry.dataset}, {self.pictures:,} pictures"
        official = self.entry.benchmark.pictures if self.entry.benchmark else self.pictures
        if self.pictures == official:
            return text
        return f"{text} of {official:,}: not the whole benchmark, its scores are not comparable"

    def table(self) -> str:
        """Markdown: a row for each score with 2 decimals, and below them what they depend on."""
        lines = [f"| {self.entry.id} | published | measured | difference |", "|---|---:|---:|---:|"]
        for name, value in self.measured.items():
            measured = "-" if math.isnan(value) else f"{value:.2f}"
            published, difference = "-", "-"
            if name in self.entry.published:
                published, difference = str(self.entry.published[name]), f"{self.difference[name]:+.2f}"
            lines.append(f"| {name} | {published} | {measured} | {difference} |")
        told = {"data set": self.data, "published in": self.entry.source, **self.told}
        return "\n".join([*lines, "", *(f"- {name}: {text}" for name, text in told.items())])

    def as_dict(self) -> dict[str, Any]:
        """All of it for JSON, which has no nan."""
        return {
            "id": self.entry.id,
            "dataset": self.entry.dataset,
            "pictures": self.pictures,
            "official_pictures": self.entry.benchmark.pictures if self.entry.benchmark else None,
            "published": dict(self.entry.published),
            "measured": {name: _number(value) for name, value in self.measured.items()},
            "difference": {name: _number(value) for name, value in self.difference.items()},
            "source": self.entry.source,
            **self.told,
        }

    def write(self, folder: Path) -> Path:
        """Write comparison.md and comparison.json; return the path of the first."""
        for name, text in (("comparison.json", json.dumps(self.as_dict(), indent=1)), ("comparison.md", self.table())):
            write_atomic(folder / name, methodcaller("write", f"{text}\n".encode()))
        return folder / "comparison.md"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
