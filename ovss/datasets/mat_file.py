"""One matrix of 16-bit numbers from a MATLAB file (version 5, packed or not). Imports numpy only.

SciPy's reader looks up the types that a file states without a bound: a damaged byte ends the process. Here every
length is compared with what is there, and what is unpacked is bounded. The tests hold the two equal on whole files.

Source of the format: MathWorks, "MAT-File Format".
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

MAX_BYTES = 16 << 20  # of a file, and of a variable unpacked; 500 x 500 labels have half a megabyte
_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2"}  # MATLAB stores numbers in the smallest type that holds them
_CLASSES = (
    *("unknown", "cell", "struct", "object", "char", "sparse", "double", "single", "int8", "uint8", "int16", "uint16"),
    *("int32", "uint32", "int64", "uint64"),
)


class _Element(NamedTuple):
    type: int
    data: bytes


def read_uint16(path: Path, name: str) -> np.ndarray:
    """The variable `name` of a MATLAB file, (H,W) uint16; other variables are passed over.

    Raises:
        ValueError: missing, damaged, too large, of version 7.3, or no such variable of uint16 (H,W); the message names
            the file.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes, more than the limit of {MAX_BYTES} for a label map")
    try:
        return _find(path.read_bytes(), name)
    except (struct.error, zlib.error) as error:
        raise ValueError(f"{path}: damaged: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _find(content: bytes, name: str) -> np.ndarray:
    order = {b"IM": "<", b"MI": ">"}.get(content[_HEADER - 2 : _HEADER])
    if order is None:
        raise ValueError("not a MATLAB file of version 5")
    if struct.unpack_from(f"{order}H", content, _HEADER - 4)[0] == 0x0200:
        raise ValueError("a MATLAB 7.3 file (HDF5), which is not read: save it again with -v7 in MATLAB")
    found: list[str] = []
    for element in _elements(content[_HEADER:], order):
        if element.type == _COMPRESSED:
            unpacked = zlib.decompressobj().decompress(element.data, MAX_BYTES)
            element = next(_elements(unpacked, order), element)
        if element.type != _MATRIX:
            continue
        parts = list(_elements(element.data, order))  # flags, shape, name, values
        found += [part.data.decode("latin-1") for part in parts[2:3]]
        if found[-1:] == [name]:
            return _matrix(name, parts, order)
    raise ValueError(f"it has no {name}; it has {', '.join(found) or 'no variable'}")


def _elements(content: bytes, order: str) -> Iterator[_Element]:
    """The elements of a file or of a matrix: type, length, data, and zeros up to 8 bytes. Up to 4 bytes of data stand
    in the place of the length, with their own in the high half of the type; packed data ends without zeros.

    Raises:
        ValueError: an element is longer than what is there.
    """
    place = 0
    while place < len(content):
        type, length = struct.unpack_from(f"{order}II", content, place)
        start = place + 8
        if type >> 16:
            type, length, start = type & 0xFFFF, type >> 16, place + 4
            end = place + 8
        else:
            end = start + length if type == _COMPRESSED else start + -(-length // 8) * 8
        if start + length > len(content):
            raise ValueError(f"damaged: an element of {length} bytes, of which {len(content) - start} are there")
        yield _Element(type, content[start : start + length])
        place = end


def _matrix(name: str, parts: list[_Element], order: str) -> np.ndarray:
    flags, dimensions, _, *values = parts
    kind = struct.unpack_from(f"{order}I", flags.data)[0] & 0xFF
    shape = tuple(np.frombuffer(dimensions.data, f"{order}i4").tolist())
    if kind != _CLASSES.index("uint16") or len(shape) != 2 or min(shape) < 1:
        known = _CLASSES[kind] if kind < len(_CLASSES) else _CLASSES[0]
        raise ValueError(f"{name} is {known} of shape {shape}, expected uint16 (height, width)")
    if len(values) != 1 or values[0].type not in _NUMBERS:
        raise ValueError(f"damaged: {name} has values of types {[element.type for element in values]}")
    numbers = np.frombuffer(values[0].data, order + _NUMBERS[values[0].type])
    if numbers.size != shape[0] * shape[1] or (numbers < 0).any():
        raise ValueError(f"damaged: {name} of shape {shape} has {numbers.size} values, or some below 0")
    return numbers.astype(np.uint16).reshape(shape, order="F")
