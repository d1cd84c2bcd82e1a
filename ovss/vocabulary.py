"""Words to classes: names, synonyms, background words, from a file or from the command line. Standard library only.

Background words are asked for one by one and answered as one last class, "background".
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from ovss.class_file import read_class_file, split_words

BACKGROUND = "background"


@dataclass(frozen=True)
class Vocabulary:
    """K classes. `synonyms[k]` holds all phrasings of class k, its name first; `background` may be empty.

    Raises:
        ValueError: no class at all, an empty word, a word of several lines, or a class that occurs twice, in upper or
            lower case: CLIP reads both alike. Classes may share a name as long as their synonyms differ (ADE-847 has
            "screen, crt screen" and "screen, silver screen").
    """

    synonyms: tuple[tuple[str, ...], ...]
    background: tuple[str, ...] = ()

    def __post_init__(self):
        if not self.synonyms:
            raise ValueError("an empty vocabulary: give at least one word, such as 'cat, wall'")
        seen: dict[tuple[str, ...], int] = {}
        for index, phrasings in enumerate(self.synonyms):
            if not phrasings or not all(word.strip() for word in phrasings):
                raise ValueError(f"class {index} of the vocabulary has an empty word: {phrasings!r}")
            read = tuple(word.lower() for word in phrasings)
            if read in seen:
                words = ", ".join(phrasings)
                raise ValueError(f"the vocabulary names {words!r} twice, as class {seen[read]} and as class {index}")
            seen[read] = index
        for word in (*chain.from_iterable(self.synonyms), *self.background):
            if len(word.splitlines()) > 1:
                raise ValueError(f"the vocabulary has a word of several lines, {word!r}: give them one by one")
        if not all(word.strip() for word in self.background):
            raise ValueError(f"the vocabulary has an empty background word: {self.background!r}")
        if self.background and BACKGROUND in self.names:
            index = self.names.index(BACKGROUND)
            raise ValueError(f"{BACKGROUND!r} is both class {index} and the name of the merged background words")

    @property
    def names(self) -> tuple[str, ...]:
        """First phrasing of each class, or all of them where classes share it; without the background."""
        count = Counter(phrasings[0] for phrasings in self.synonyms)
        return tuple(phrasings[0] if count[phrasings[0]] == 1 else ", ".join(phrasings) for phrasings in self.synonyms)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the output classes: `names`, then "background" where there are background words."""
        return self.names + ((BACKGROUND,) if self.background else ())

    def phrases(self, synonyms: str = "first") -> tuple[list[tuple[str, ...]], list[int]]:
        """Return the T rows of text to encode, each a tuple of phrasings to average, and the class of each row.

        `synonyms`: "first" uses only the name (CAT-Seg, version 2), "average" all phrasings in one row (CAT-Seg,
        version 1), "joined" the whole comma string as one phrase (CLIPtrase), "each" one row per phrasing.
        """
        ways = {
            "first": lambda phrasings: [phrasings[:1]],
            "average": lambda phrasings: [phrasings],
            "joined": lambda phrasings: [(", ".join(phrasings),)],
            "each": lambda phrasings: [(phrasing,) for phrasing in phrasings],
        }
        if synonyms not in ways:
            raise ValueError(f"unknown treatment of synonyms {synonyms!r}; known: {', '.join(ways)}")
        rows: list[tuple[str, ...]] = []
        classes: list[int] = []
        for index, phrasings in enumerate(self.synonyms):
            new = ways[synonyms](phrasings)
            rows += new
            classes += [index] * len(new)
        rows += [(word,) for word in self.background]
        classes += [len(self.synonyms)] * len(self.background)
        return rows, classes

    @classmethod
    def from_words(cls, words: Iterable[str], background: Iterable[str] = ()) -> "Vocabulary":
        """Build from words: "car, auto" is "car" with the synonym "auto"."""
        words = list(words)
        for word in words:
            if not isinstance(word, str):
                raise ValueError(f"a class must be a word, not {word!r}")
        return cls(tuple(split_words(word) for word in words), tuple(word.strip() for word in background))

    @classmethod
    def from_file(cls, path: str | Path) -> "Vocabulary":
        """Read a class file (`ovss.class_file`).

        Raises:
            ValueError: unreadable, not of the format, or no vocabulary; the message names the file.
        """
        content = read_class_file(path)
        try:
            return cls(content.synonyms, content.background)
        except ValueError as error:
            raise ValueError(f"class file {path}: {error}") from error

    @classmethod
    def parse(cls, spec: "Words") -> "Vocabulary":
        """Read what a user gives: a vocabulary, a list of words, a class file, or words with commas or lines between.

        A string that ends in .json or .txt is the path of a class file.
        """
        if isinstance(spec, Vocabulary):
            return spec
        if isinstance(spec, PathLike):
            return cls.from_file(Path(spec))
        if not isinstance(spec, str):
            return cls.from_words(spec)
        if spec.lower().endswith((".json", ".txt")):
            return cls.from_file(spec)
        words = re.split(r"[,\n]", spec)
        if any(not word.strip() for word in words):
            raise ValueError(
                f"an empty word in the vocabulary {spec!r}: give words separated by commas, such as 'cat, wall'"
            )
        return cls.from_words(words)


Words: TypeAlias = Vocabulary | Sequence[str] | str | PathLike
