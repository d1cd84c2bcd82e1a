"""The published figures of both systems, from configs/reproduce.yaml, and their tables. Standard library and yaml.

What runs them is `ovss.reproduce`.
"""

import difflib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from ovss.datasets.table import BY_NAME, Benchmark
from ovss.model_names import CONFIGS
from ovss.weights import table
from ovss.weights.table import Weights

NONE = "none published"
COMMAND = "ovss reproduce ID [--weights FILE]"


@dataclass(frozen=True)
class Entry:
    """One data set of one published row.

    Attributes:
        id: FAMILY-SET.
        config: below configs/.
        dataset: name for DATASETS.TEST.
        settings: KEY VALUE words that belong to the data set.
        published: scores in percent by this project's names; empty where none was published.
    """

    id: str
    config: str
    dataset: str
    settings: tuple[str, ...]
    published: Mapping[str, float]
    weights: Weights
    source: str

    @property
    def benchmark(self) -> Benchmark | None:
        """The row of the table of benchmarks; None for a data set of the user's."""
        return BY_NAME.get(self.dataset)


@functools.cache
def _content() -> dict[str, Any]:
    return yaml.safe_load((CONFIGS / "reproduce.yaml").read_text(encoding="utf-8"))


def _of_family(name: str) -> Iterator[Entry]:
    family = _content()["families"][name]
    for short, row in _content()["sets"][family["sets"]].items():
        figures = family["published"].get(short)
        yield Entry(
            id=f"{name}-{short}",
            config=family["config"],
            dataset=row["data"],
            settings=tuple(str(word) for pair in row.get("settings", {}).items() for word in pair),
            published=dict(zip(family["metrics"], figures, strict=True)) if figures else {},
            weights=_weights(family),
            source=family["source"],
        )


def entries() -> dict[str, Entry]:
    """All entries by id, in the order of the file."""
    return {entry.id: entry for name in _content()["families"] for entry in _of_family(name)}


def find(id: str) -> Entry:
    """The entry of an id. Raises ValueError, naming the nearest one, where there is none."""
    known = entries()
    if id not in known:
        nearest = difflib.get_close_matches(id, known, n=1, cutoff=0)[0]
        raise ValueError(f"no published figure is called {id!r}; did you mean {nearest!r}? `ovss reproduce --list`")
    return known[id]


def plain_list() -> str:
    """All entries for a terminal: of each family what it takes and its source, then a line for each of its entries."""
    return "\n\n".join([f"Each is run by: {COMMAND}", *(_listed(name) for name in _content()["families"])])


def _listed(name: str) -> str:
    family = _content()["families"][name]
    head = [
        family["title"],
        f"  config: {family['config']}",
        f"  weights: {_weights(family).name}, {_weights(family).origin}",
        f"  source: {family['source']}",
    ]
    rows = []
    for entry in _of_family(name):
        scores = ", ".join(f"{metric} {value}" for metric, value in entry.published.items()) or NONE
        rows.append((entry.id, entry.dataset, scores, _preparation(entry)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join([*head, *(f"  {line.rstrip()}" for line in lines)])


def _weights(family: Mapping[str, Any]) -> Weights:
    return table.find(family["config"].removesuffix(".yaml"))


def titles(config: str) -> list[str]:
    """Titles of the families of published figures that were measured with a config (below configs/)."""
    families = _content()["families"].values()
    return [family["title"] for family in families if family["config"] == config and family["published"]]


def _preparation(entry: Entry) -> str:
    assert entry.benchmark is not None
    return f"ovss datasets prepare {entry.benchmark.preparation}"


def markdown_page(protocols: Mapping[str, Mapping[str, str]]) -> str:
    """The whole of docs/reproduce.md; `protocols` says by config what `ovss.d2.protocol.describe` says of it."""
    head = "<!-- Made by `ovss reproduce --list --markdown` from configs/reproduce.yaml: change that. -->"
    parts = [head, "# Published figures and how to reproduce them", _content()["about"].strip()]
    families = _content()["families"]
    return "\n\n".join([*parts, *(_section(name, protocols[families[name]["config"]]) for name in families)])


def _section(name: str, protocol: Mapping[str, str]) -> str:
    """A family: what it takes, then a row for each data set."""
    family = _content()["families"][name]
    takes = [
        f"- config: [`{family['config']}`](../configs/{family['config']})",
        f"- weights: [`{_weights(family).name}`](models.md#weights)",
        f"- source: {family['source']}",
        *(f"- {key}: {text}" for key, text in protocol.items()),
        *([f"- note: {family['note']}"] if "note" in family else []),
    ]
    metrics = family["metrics"]
    lines = [
        f"| id | data set | {' | '.join(metrics)} | settings | data by |",
        f"|---|---|{'---:|' * len(metrics)}---|---|",
    ]
    for entry in _of_family(name):
        figures = [str(entry.published[metric]) if entry.published else NONE for metric in metrics]
        settings = f"`{' '.join(entry.settings)}`" if entry.settings else ""
        row = (f"`{entry.id}`", f"`{entry.dataset}`", *figures, settings, f"`{_preparation(entry)}`")
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join([f"## {family['title']}", "", *takes, "", *lines])
