"""A pickle read as data: nothing that it names is imported, built or called. Imports the standard library only.

`pickle.load` runs what a file asks for, and a stranger's index of pictures is such a file. Here `pickletools` splits
it into opcodes and a stack machine keeps strings, lists, tuples and dicts. Numbers, bytes and numpy's arrays are read
over, so that an index with a table of a gigabyte leaves only its names in memory. Any other global is an error.
"""

import pickletools
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

MAX_BYTES = 1 << 30  # index_ade20k.pkl has 817,537,016
MAX_KEPT = 10_000_000  # strings, containers and memo entries; ADE20K's index has fewer than a million
MAX_STRING = 1 << 16  # longer ones are the data of arrays, in pickles of protocol 2 and below

OMITTED: Final = object()
"""Stands for every number, bytes object and array of the file."""

_GLOBAL: Final = object()  # stands for every global of the list below; calling one gives OMITTED
_GLOBALS = {
    *(
        f"{package}.multiarray.{name}"
        for package in ("numpy.core", "numpy._core")
        for name in ("_reconstruct", "scalar")
    ),
    *(f"{package}.numeric._frombuffer" for package in ("numpy.core", "numpy._core")),
    *("numpy.ndarray", "numpy.dtype", "_codecs.encode"),
}
_NUMBERS = {
    *("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT"),
    *("BINFLOAT", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_STRINGS = {
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
_CONTAINERS = {"EMPTY_LIST": list, "LIST": list, "EMPTY_TUPLE": tuple, "TUPLE": tuple, "EMPTY_DICT": dict, "DICT": dict}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_pickle_data(path: Path) -> Any:
    """Return the strings, lists, tuples and dicts (of their string keys) of a pickle; the rest is `OMITTED`.

    Raises:
        ValueError: no pickle, damaged, too large, or it needs a global or an opcode that such data has no use for;
            the message names the file and what it asks for.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path}: {size} bytes, more than the limit of {MAX_BYTES} for an index")
    machine = _Machine()
    try:
        with open(path, "rb") as file:
            for opcode, argument, _ in pickletools.genops(file):
                machine.step(opcode.name, argument)
        return machine.stack[-1]
    except (IndexError, KeyError, MemoryError, OverflowError) as error:  # of a stack, a memo or a length that lies
        raise ValueError(f"{path}: not read: it is a damaged pickle ({type(error).__name__})") from error
    except ValueError as error:
        raise ValueError(f"{path}: not read: {error}") from error


class _Machine:
    """The pickle machine's stack, marks and memo; the memo is a dict, so that no index into it costs memory."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.kept = 0

    def step(self, opcode: str, argument: Any) -> None:
        if opcode in _NUMBERS:
            self.stack.append(OMITTED)
        elif opcode in _STRINGS:
            self._keep(argument if len(argument) <= MAX_STRING else OMITTED)
        elif opcode in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            self._count()
            self.memo[len(self.memo) if opcode == "MEMOIZE" else int(argument)] = self.stack[-1]
        elif opcode in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[int(argument)])
        elif opcode == "MARK":
            self.marks.append(len(self.stack))
        elif opcode in _CONTAINERS:
            make = _CONTAINERS[opcode]
            items = () if opcode.startswith("EMPTY") else self._above_mark()
            self._keep(dict(_pairs(items)) if make is dict else make(items))
        elif opcode in _TUPLES:
            self._keep(tuple(self._pop(_TUPLES[opcode])))
        elif opcode in ("APPEND", "APPENDS"):
            items = self._above_mark() if opcode == "APPENDS" else self._pop(1)
            self._top(list).extend(items)
        elif opcode in ("SETITEM", "SETITEMS"):
            items = self._above_mark() if opcode == "SETITEMS" else self._pop(2)
            self._top(dict).update(_pairs(items))
        else:
            self._object(opcode, argument)

    def _object(self, opcode: str, argument: Any) -> None:
        """Opcodes of globals and objects, and the few without a value."""
        if opcode == "GLOBAL":
            self.stack.append(_global(argument.replace(" ", ".")))
        elif opcode == "STACK_GLOBAL":
            self.stack.append(_global(".".join(map(str, self._pop(2)))))
        elif opcode == "REDUCE":
            function, _ = self._pop(2)
            if function is not _GLOBAL:
                raise ValueError("it calls something that is none of numpy's constructors")
            self.stack.append(OMITTED)
        elif opcode == "BUILD":
            self._pop(1)
            if self.stack[-1] is not OMITTED:
                raise ValueError("it sets the state of something that is no array")
        elif opcode == "POP":
            self._pop(1)
        elif opcode == "POP_MARK":
            self._above_mark()
        elif opcode not in ("PROTO", "FRAME", "STOP"):
            raise ValueError(f"it has the opcode {opcode}, which no index of pictures needs")

    def _keep(self, value: Any) -> None:
        self._count()
        self.stack.append(value)

    def _count(self) -> None:
        self.kept += 1
        if self.kept > MAX_KEPT:
            raise ValueError(f"it holds more than {MAX_KEPT} strings and containers")

    def _pop(self, count: int) -> list[Any]:
        if len(self.stack) - count < (self.marks[-1] if self.marks else 0):
            raise IndexError
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def _above_mark(self) -> list[Any]:
        start = self.marks.pop()
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def _top(self, kind: type) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise ValueError(f"it is damaged: items for a {kind.__name__} that is none")
        return self.stack[-1]


def _global(name: str) -> object:
    if name not in _GLOBALS:
        raise ValueError(f"it asks for {name}, which no index of pictures needs")
    return _GLOBAL


def _pairs(items: Iterable[Any]) -> list[tuple[str, Any]]:
    """Keys and values in turn; keys that are no strings are left out."""
    items = list(items)
    if len(items) % 2:
        raise ValueError("it is damaged: a key without a value")
    return [(key, value) for key, value in zip(items[::2], items[1::2], strict=True) if isinstance(key, str)]
