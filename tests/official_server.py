"""A server of small archives in place of those that `ovss datasets download` asks. As a program: that command, with it.

python tests/official_server.py ade20k_150 [--root FOLDER ...]
"""

import hashlib
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import replace

from file_server import FileServer, Served, serve
from official_archives import ARCHIVES

from ovss.cli import main
from ovss.datasets.downloads import SOURCES, Source


@contextmanager
def official_server() -> Iterator[tuple[FileServer, dict[str, Source]]]:
    """The server, and the table of downloads with its addresses, and with the archives' own sizes and checksums."""
    with serve() as server:
        for name, content in ARCHIVES.items():
            server.files[name] = Served(content)
        yield server, {name: _served(server, source) for name, source in SOURCES.items()}


def _served(server: FileServer, source: Source) -> Source:
    files = []
    for file in source.files:
        content = ARCHIVES[file.name]
        size = None if file.size is None else len(content)
        checksum = file.checksum and f"sha256:{hashlib.sha256(content).hexdigest()}"
        files.append(replace(file, url=server.url(file.name), size=size, checksum=checksum))
    return replace(source, files=tuple(files))


def download(words: list[str], table: MutableMapping[str, Source] = SOURCES) -> int:
    with official_server() as (_, sources):
        table.update(sources)
        return main(["datasets", "download", *words])


if __name__ == "__main__":
    sys.exit(download(sys.argv[1:]))
