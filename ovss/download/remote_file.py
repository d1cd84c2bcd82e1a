"""What is known of a file on a public server before it is asked for. Standard library only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteFile:
    """One file.

    url: https, or http where the server has no other. name: the file's name on disk.
    size: bytes; None: not known. checksum: "algorithm:digits", the algorithm one of `hashlib`'s; "": not known.
    published: who published size and checksum.
    limit: bytes; more are refused where neither `size` is known nor the server says one.
    """

    url: str
    name: str
    size: int | None = None
    checksum: str = ""
    published: str = ""
    limit: int = 4 << 30  # of the data sets' files without a size the largest has 1.4 GB
