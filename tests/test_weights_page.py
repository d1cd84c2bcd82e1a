"""docs/models.md: current, complete, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from ovss.cli import main
from ovss.model_names import list_models
from ovss.weights import table
from ovss.weights.page import cards

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/models.md").read_text(encoding="utf-8")


def test_the_page_is_up_to_date(capsys):
    assert main(["weights", "list", "--markdown"]) == 0
    assert capsys.readouterr().out == PAGE, "run `ovss weights list --markdown > docs/models.md`"


def test_every_model_has_one_card():
    assert sorted(model for card in cards() for model in card["models"]) == list_models()


@pytest.mark.parametrize("card", cards(), ids=lambda card: card["title"])
def test_card_says_everything(card):
    assert (
        {"title", "models", "what", "trained", "limits", "code"}
        <= set(card)
        <= {*("title", "models", "what"), *("trained", "limits", "code", "licence")}
    )
    assert all(card.values())
    own = [model for model in card["models"] if "in the package" in table.without().get(model, "")]
    assert bool(own) == ("licence" in card), "weights in the package have this project's licence, others their owners'"


def test_every_file_is_there_with_what_is_known():
    for entry in table.entries().values():
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{entry.name}` |")]
        assert entry.origin in row
        assert (f"{entry.file.size:,}" if entry.file.size else "unknown") in row
        assert (entry.file.checksum.removeprefix("sha256:") or "unknown") in row
        assert row.endswith(f"| {entry.licence} |")


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#:]*)(#[^)]*)?\)", PAGE)
    assert len(links) > 30
    for path, anchor in links:
        target = ROOT / "docs" / (path or "models.md")
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"^## (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor.removeprefix("#") in slugs
