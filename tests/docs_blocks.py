"""The fenced blocks of the project's Markdown pages, and the commands in them. Standard library only."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PATTERNS = ("README.md", "docs/*.md", "datasets/*.md", "benchmarks/*.md", "demo/**/*.md")
FENCE = re.compile(r"( *)```(\S*) *(.*)")


@dataclass(frozen=True)
class Block:
    """One fenced block. `title`: the file that it is the content of, as mkdocs shows it; "" for none."""

    page: str
    line: int
    language: str
    title: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    return sorted({path for pattern in PATTERNS for path in ROOT.glob(pattern)})


def all_blocks() -> list[Block]:
    """Those of all pages, page by page in order."""
    found = []
    for path in pages():
        found += blocks_of(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    return found


def blocks_of(page: str, text: str) -> list[Block]:
    """All fenced blocks of a page, in order.

    Raises:
        ValueError: a fence that is never closed.
    """
    found: list[Block] = []
    opened: tuple[int, re.Match[str]] | None = None
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        if opened is None:
            fence = FENCE.fullmatch(line)
            opened = (number, fence) if fence else None
        elif line.strip() == "```":
            start, (indent, language, options) = opened[0], opened[1].groups()
            content = "\n".join(each.removeprefix(indent) for each in lines[start : number - 1]) + "\n"
            title = re.search(r'title="([^"]+)"', options)
            found.append(Block(page, start, language, title[1] if title else "", content))
            opened = None
    if opened is not None:
        raise ValueError(f"{page}:{opened[0]}: this block is never closed")
    return found


def commands_of(text: str) -> list[str]:
    """The commands of a bash block: continued lines joined, comments and empty lines left out.

    Raises:
        ValueError: a quote that is never closed, or a last line that is to be continued.
    """
    commands: list[str] = []
    waiting = ""
    for line in text.splitlines():
        waiting += line
        if waiting.endswith("\\"):
            waiting = f"{waiting[:-1].rstrip()} "
        elif not is_whole(waiting):
            waiting += "\n"
        else:
            commands += filter(None, [without_comment(waiting)])
            waiting = ""
    if waiting:
        raise ValueError(f"a command that does not end: {waiting!r}")
    return commands


def is_whole(command: str) -> bool:
    """Whether every quote is closed."""
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return False
    return True


def without_comment(command: str) -> str:
    """The command up to a comment; a # within quotes is none."""
    ends = [found.start() for found in re.finditer(r"(?<!\S)#", command) if is_whole(command[: found.start()])]
    return command[: min(ends, default=len(command))].strip()


def inline_commands(text: str) -> list[str]:
    """Commands between single backticks, in a page without its blocks, such as `make bench`."""
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.S | re.M)
    spans = [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose)]
    return [span for span in spans if re.match(r"(ovss|python|make|pip|torchrun|tensorboard|pytest|mkdocs) \S", span)]
