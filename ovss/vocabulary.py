"""Words to classes: names, synonyms, background words, from a file or from the command line. Standard library only.

A class file is JSON (UTF-8), either a list of names, where "car, auto" means the name "car" with the synonym "auto", or

    {"classes": ["wall", "car, auto", {"name": "sofa", "synonyms": ["couch"]}],
     "background": ["sky", "ground"]}

Background words are asked for one by one and answered as one last class, "background".
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

BACKGROUND = "background"
MAX_FILE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Vocabulary:
    """K classes. `synonyms[k]` holds all phrasings of class k, its name first; `background` may be empty.

    Raises:
        ValueError: no class at all, an empty word, or a class that occurs twice. Classes may share a name as long as
            their synonyms differ (ADE-847 has "screen, crt screen" and "screen, silver screen").
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
            if phrasings in seen:
                words = ", ".join(phrasings)
                raise ValueError(
                    f"the vocabulary names {words!r} twice, as class {seen[phrasings]} and as class {index}"
                )
            seen[phrasings] = index
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
    def from_words(cls, words: Iterable[str | dict], background: Iterable[str] = ()) -> "Vocabulary":
        """Build from words ("car, auto" holds synonyms) or `{"name": ..., "synonyms": [...]}` entries."""
        return cls(tuple(_phrasings(word) for word in words), tuple(word.strip() for word in background))

    @classmethod
    def from_file(cls, path: str | Path) -> "Vocabulary":
        """Read a `.json` class file (see above) or a text file with one class a line (# starts a comment).

        Raises:
            ValueError: unreadable, too large, or not of that form; the message names the file.
        """
        path = Path(path)
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ValueError(
                    f"{path.stat().st_size} bytes, more than the {MAX_FILE_BYTES} that a class file may have"
                )
            text = path.read_text(encoding="utf-8")
            if path.suffix.lower() == ".json":
                return cls._from_json(json.loads(text))
            lines = (line.split("#", 1)[0].strip() for line in text.splitlines())
            return cls.from_words(line for line in lines if line)
        except OSError as error:
            raise ValueError(f"class file {path}: cannot be read ({error.strerror})") from error
        except ValueError as error:  # also JSONDecodeError and UnicodeDecodeError
            raise ValueError(f"class file {path}: {error}") from error

    @classmethod
    def _from_json(cls, content: object) -> "Vocabulary":
        if isinstance(content, list):
            content = {"classes": content}
        if not isinstance(content, dict) or not isinstance(content.get("classes"), list):
            raise ValueError('expected a list of names or an object with a list "classes"')
        unknown = set(content) - {"classes", "background"}
        if unknown:
            raise ValueError(f"unknown keys {sorted(unknown)}; known: classes, background")
        background = content.get("background", [])
        if not isinstance(background, list) or not all(isinstance(word, str) for word in background):
            raise ValueError(f'"background" must be a list of words, not {background!r}')
        return cls.from_words(content["classes"], background)

    @classmethod
    def parse(cls, spec: "str | Sequence[str] | Vocabulary") -> "Vocabulary":
        """Read what a user gives: a vocabulary, a list of words, a path to a class file, or a comma list of words."""
        if isinstance(spec, Vocabulary):
            return spec
        if not isinstance(spec, str):
            return cls.from_words(spec)
        if spec.lower().endswith((".json", ".txt")):
            return cls.from_file(spec)
        words = spec.split(",")
        if any(not word.strip() for word in words):
            raise ValueError(
                f"an empty word in the vocabulary {spec!r}: give words separated by commas, such as 'cat, wall'"
            )
        return cls.from_words(words)


def _phrasings(entry: object) -> tuple[str, ...]:
    """All phrasings of one class entry, stripped, the name first."""
    if isinstance(entry, str):
        return tuple(word.strip() for word in entry.split(","))
    if isinstance(entry, dict) and isinstance(entry.get("name"), str) and set(entry) <= {"name", "synonyms"}:
        synonyms = entry.get("synonyms", [])
        if isinstance(synonyms, list) and all(isinstance(word, str) for word in synonyms):
            return (entry["name"].strip(), *(word.strip() for word in synonyms))
    raise ValueError(f"a class must be a word or an object with a name and synonyms, not {entry!r}")
