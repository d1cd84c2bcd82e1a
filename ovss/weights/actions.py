"""The work of `ovss weights`: the table for people and programs, downloads, verification. Imports no torch."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ovss.download import transfer
from ovss.download.remote_file import RemoteFile
from ovss.weights import store, table
from ovss.weights.table import UNKNOWN, Weights

UNVERIFIED = "not verified: no checksum was published"


def as_text() -> str:
    """All entries, a line each, then what holds for several of them."""
    rows = [("name", "bytes", "SHA-256", "here", "setting", "for")]
    licences: dict[str, list[str]] = {}
    for entry in table.entries().values():
        licences.setdefault(f"{entry.licence} ({entry.licence_source})", []).append(entry.name)
        size = UNKNOWN if entry.file.size is None else f"{entry.file.size:,}"
        digits = entry.file.checksum.removeprefix("sha256:")
        here = "yes" if store.places(entry) else "by hand" if entry.by_hand else "-"
        short = f"{digits[:12]}..." if digits else UNKNOWN
        rows.append((entry.name, size, short, here, entry.setting, ", ".join(entry.configs) or "-"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    told = [
        f"Downloads go to {store.folder()}. All that is known of a file: ovss weights list --json",
        "\n".join(["Licences of the weights:", *(f"  {', '.join(names)}: {text}" for text, names in licences.items())]),
        "\n".join(["Nothing to download:", *(f"  {name}: {why}" for name, why in table.without().items())]),
    ]
    return "\n\n".join(["\n".join(lines), *told])


def as_json() -> str:
    """A list of all entries; what is not known is null, and `path` is where a copy is on this machine."""
    return json.dumps([_known(entry) for entry in table.entries().values()], indent=2, ensure_ascii=False)


def _known(entry: Weights) -> dict:
    here = store.places(entry)
    return {
        "name": entry.name,
        "title": entry.title,
        "url": entry.file.url or None,
        "by_hand": entry.by_hand or None,
        "file": entry.file.name,
        "size": entry.file.size,
        "sha256": entry.file.checksum.removeprefix("sha256:") or None,
        "published_by": entry.file.published or None,
        "licence": entry.licence,
        "licence_source": entry.licence_source,
        "setting": entry.setting,
        "clip": entry.clip,
        "models": list(entry.configs),
        "path": str(here[0][0]) if here else None,
    }


def download(names: Sequence[str]) -> int:
    """Fetch files, each whatever becomes of the others; the exit code is 1 where one failed.

    Raises:
        ValueError: an unknown name, before anything is fetched.
    """
    failed = 0
    for entry in _asked(names):
        try:
            path = store.fetch(entry.name)
        except (ValueError, OSError) as error:
            failed += 1
            print(f"ovss: {error}", file=sys.stderr)
            continue
        _tell(entry, path, dict(store.places(entry))[path])
    return 1 if failed else 0


def verify(names: Sequence[str]) -> int:
    """Read every copy of weights again, by default of all that are here; the exit code is 1 for a wrong or absent one.

    Raises:
        ValueError: an unknown name.
    """
    failed = found = 0
    for entry in _asked(names) if names else table.entries().values():
        copies = store.places(entry)
        found += len(copies)
        if names and not copies:
            failed += 1
            print(f"ovss: {entry.name}: not on this machine", file=sys.stderr)
        failed += sum(not _is_right(entry, path, file) for path, file in copies)
    if not names and not found:
        print("no published weights are on this machine")
    return 1 if failed else 0


def _is_right(entry: Weights, path: Path, file: RemoteFile) -> bool:
    """Read one file, and say what came of it."""
    if wrong := transfer.mismatch(path, file):
        print(f"ovss: {entry.name}: {path} {wrong}", file=sys.stderr)
        return False
    _tell(entry, path, file)
    return True


def _tell(entry: Weights, path: Path, file: RemoteFile) -> None:
    """One line of a file that is as far as is known what was published."""
    checked = f"SHA-256 as published (by {file.published})" if file.checksum else UNVERIFIED
    print(f"{entry.name}: {path}, {path.stat().st_size} bytes, {checked}", flush=True)


def _asked(names: Sequence[str]) -> list[Weights]:
    """The entries of names, each once."""
    return list({entry.name: entry for entry in map(table.find, names)}.values())
