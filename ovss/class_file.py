"""Class files: names, synonyms, background words, label values and colours. Imports the standard library only.

datasets/README.md describes the format. A text file has one class a line; # starts a comment.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_FILE_BYTES = 16 * 1024 * 1024
Color = tuple[int, int, int]
Class = tuple[tuple[str, ...], int | None, Color | None]  # phrasings, id, colour
_KEYS: dict[str, type] = {
    "source": str,
    "based_on": str,
    "background_from": int,
    "classes": list,
    "background": list,
    "variants": dict,
}
_VARIANT_KEYS: dict[str, type] = {"reason": str, "names": dict, "background": list}


@dataclass(frozen=True)
class ClassFile:
    """What a file says of its K classes, in the order of the label values.

    Attributes:
        synonyms: all phrasings of each class, its name first.
        background: words that are asked for one by one and answered as one last class.
        ids: value of each class in the original annotation, before preparation; empty where the file has none.
        colors: RGB of each class, 0 to 255, None where the file has none.
    """

    synonyms: tuple[tuple[str, ...], ...]
    background: tuple[str, ...]
    ids: tuple[int, ...]
    colors: tuple[Color | None, ...]


def read_class_file(path: str | Path, system: str = "") -> ClassFile:
    """Read a `.json` or a text file, with the changes of the variant of `system` where the file has one.

    Raises:
        ValueError: unreadable, too large, or not of the format; the message names the file.
    """
    path = Path(path)
    try:
        return _parse(_load(path), path, system)
    except OSError as error:
        raise ValueError(f"class file {path}: cannot be read ({error.strerror})") from error
    except RecursionError as error:
        raise ValueError(f"class file {path}: nested too deep") from error
    except ValueError as error:  # also JSONDecodeError and UnicodeDecodeError
        raise ValueError(f"class file {path}: {error}") from error


def split_words(text: str) -> tuple[str, ...]:
    """All phrasings of a class that is given as one text, stripped: "car, auto" is "car" with the synonym "auto"."""
    return tuple(word.strip() for word in text.split(","))


def _load(path: Path) -> dict[str, Any]:
    """The content of a file in the long form, its keys and their types checked."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"{path.stat().st_size} bytes, more than the {MAX_FILE_BYTES} that a class file may have")
    text = path.read_text(encoding="utf-8-sig")  # some editors put a mark first, which is no part of the first word
    if path.suffix.lower() != ".json":
        lines = (line.split("#", 1)[0].strip() for line in text.splitlines())
        return {"classes": [line for line in lines if line]}
    content = json.loads(text)
    if isinstance(content, list):
        content = {"classes": content}
    if not isinstance(content, dict) or ("classes" in content) == ("based_on" in content):
        raise ValueError('expected a list of names, or an object with a list "classes" or else with "based_on"')
    _check(content, _KEYS, "the file")
    for system, variant in content.get("variants", {}).items():
        if not isinstance(variant, dict):
            raise ValueError(f"variant {system!r} must be an object, not {variant!r}")
        _check(variant, _VARIANT_KEYS, f"variant {system!r}")
    return content


def _check(content: dict[str, Any], keys: dict[str, type], place: str) -> None:
    unknown = sorted(set(content) - set(keys))
    if unknown:
        raise ValueError(f"unknown keys {unknown} in {place}; known: {', '.join(keys)}")
    for key, value in content.items():
        if not isinstance(value, keys[key]) or isinstance(value, bool):
            raise ValueError(f'"{key}" must be of type {keys[key].__name__}, not {value!r}')
    for key in ("background", "names"):
        words = content.get(key, [])
        if not all(isinstance(word, str) for word in (words.values() if isinstance(words, dict) else words)):
            raise ValueError(f'"{key}" must hold words, not {words!r}')


def _parse(content: dict[str, Any], path: Path, system: str) -> ClassFile:
    base: dict[str, Any] = content
    if "based_on" in content:
        base = _base(path, content["based_on"])
    variants = [file.get("variants", {}).get(system, {}) for file in (base, content)]
    classes = [_class(entry) for entry in base["classes"]]
    for old, new in {**variants[0].get("names", {}), **variants[1].get("names", {})}.items():
        classes = _renamed(classes, old, new)
    words = variants[1].get("background", content.get("background", []))
    first = content.get("background_from", len(classes))
    if not 0 <= first <= len(classes):
        raise ValueError(f'"background_from" {first} is outside 0 to {len(classes)}, the number of classes')
    merged = [phrasings[0] for phrasings, _, _ in classes[first:]]
    classes = classes[:first]
    ids = tuple(value for _, value, _ in classes if value is not None)
    if len(ids) not in (0, len(classes)) or len(set(ids)) < len(ids):
        raise ValueError(f"{len(classes)} classes have {len(set(ids))} different ids: give each its own, or none")
    return ClassFile(
        synonyms=tuple(phrasings for phrasings, _, _ in classes),
        background=tuple(word.strip() for word in [*words, *merged]),
        ids=ids,
        colors=tuple(color for _, _, color in classes),
    )


def _base(path: Path, name: str) -> dict[str, Any]:
    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f'"based_on" {name!r}: give the name of a file beside this one, without its suffix')
    file = path.with_name(f"{name}.json")
    if not file.is_file():
        raise ValueError(f'"based_on" {name!r}: there is no {file}')
    base = _load(file)
    if "based_on" in base:
        raise ValueError(f'"based_on" {name!r} is itself based on {base["based_on"]!r}: name that file')
    return base


def _class(entry: object) -> Class:
    if isinstance(entry, str):
        return split_words(entry), None, None
    if isinstance(entry, dict) and isinstance(entry.get("name"), str):
        synonyms, value, color = entry.get("synonyms", []), entry.get("id"), entry.get("color")
        fits = (
            set(entry) <= {"name", "synonyms", "id", "color"}
            and (isinstance(synonyms, list) and all(isinstance(word, str) for word in synonyms))
            and (value is None or (type(value) is int and value >= 0))
            and (color is None or (isinstance(color, list) and len(color) == 3))
            and all(type(part) is int and 0 <= part <= 255 for part in color or [])
        )
        if fits:
            words = tuple(word.strip() for word in (entry["name"], *synonyms))
            return words, value, (color[0], color[1], color[2]) if color else None
    raise ValueError(f"a class must be a word or an object with name, synonyms, id and color, not {entry!r}")


def _renamed(classes: list[Class], old: str, new: str) -> list[Class]:
    if old not in {phrasings[0] for phrasings, _, _ in classes}:
        raise ValueError(f'"names" of the variant: {old!r} is no class of the file')
    return [
        ((new, *phrasings[1:]) if phrasings[0] == old else phrasings, value, color)
        for phrasings, value, color in classes
    ]
