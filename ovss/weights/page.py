"""docs/models.md, the model cards: made from configs/models.yaml and the tables of weights and of published figures.

Standard library and yaml.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ovss import published
from ovss.model_names import CONFIGS
from ovss.weights import table
from ovss.weights.table import UNKNOWN, Weights

_HEAD = (
    "<!-- Made by `ovss weights list --markdown` from configs/models.yaml, configs/weights.yaml and "
    "configs/reproduce.yaml: change those. -->"
)


def cards() -> list[Mapping[str, Any]]:
    """The cards as configs/models.yaml has them."""
    return _content()["cards"]


def _content() -> Mapping[str, Any]:
    return yaml.safe_load((CONFIGS / "models.yaml").read_text(encoding="utf-8"))


def page() -> str:
    """The whole page, in Markdown."""
    content = _content()
    parts = [_HEAD, "# Models", content["about"].strip()]
    parts += ["## Use and limits", content["use"].strip(), "## Licences", content["licences"].strip()]
    parts += [_card(card) for card in content["cards"]]
    return "\n\n".join([*parts, _weights()])


def _card(card: Mapping[str, Any]) -> str:
    """A kind of model: what is said of it, then a row for each of its models."""
    told = {"what": card["what"], "trained on": card["trained"], "limits": card["limits"], "code": card["code"]}
    rows = [_model(name, card.get("licence", "")) for name in card["models"]]
    lines = _rows(("model", "weights", "their licence", "published scores"), rows)
    return "\n".join([f"## {card['title']}", "", *(f"- {key}: {text}" for key, text in told.items()), "", *lines])


def _model(name: str, licence: str) -> tuple[str, ...]:
    """The row of a model; `licence`: of weights that are in the package."""
    weights, config = table.default_for(name), f"{name}.yaml"
    scores = [f"[{title}](reproduce.md#{_anchor(title)})" for title in published.titles(config)]
    return (
        f"[`{name}`](../configs/{config})",
        f"[`{weights.name}`](#weights)" if weights else table.without()[name],
        weights.licence if weights else licence or "-",
        "; ".join(scores) or "none",
    )


def _anchor(title: str) -> str:
    """A heading's address on its page."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _weights() -> str:
    """Every file, one row each, then whose word its licence is, and whose its size and checksum."""
    entries = table.entries().values()
    licences = [(entry.name, f"{entry.licence}: {entry.licence_source}") for entry in entries]
    sources = [(entry.name, entry.file.published or "nothing was published") for entry in entries]
    rows = _rows(
        ("name", "what", "file", "bytes", "SHA-256", "setting", "licence"), [_file(entry) for entry in entries]
    )
    parts = ["## Weights", "\n".join(rows), "Licences of the weights:", _grouped(licences)]
    return "\n\n".join([*parts, "Sizes and sums are from:", _grouped(sources)])


def _grouped(told: Sequence[tuple[str, str]]) -> str:
    """A list of what is said, each text once, after the names that it is said of."""
    groups: dict[str, list[str]] = {}
    for name, text in told:
        groups.setdefault(text, []).append(f"`{name}`")
    return "\n".join(f"- {', '.join(names)}: {text}" for text, names in groups.items())


def _file(entry: Weights) -> tuple[str, ...]:
    return (
        f"`{entry.name}`",
        entry.title,
        f"by hand: {entry.by_hand}" if entry.by_hand else f"[`{entry.file.name}`]({entry.file.url})",
        UNKNOWN if entry.file.size is None else f"{entry.file.size:,}",
        f"`{entry.file.checksum.removeprefix('sha256:')}`" if entry.file.checksum else UNKNOWN,
        f"`{entry.setting}`",
        entry.licence,
    )


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return [lines[0], "|" + "---|" * len(head), *lines[1:]]
