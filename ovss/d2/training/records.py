"""Records of a data set packed into one tensor, which loading processes share. Imports torch.

A list of dicts would be copied, page by page, by every forked process that only looks at it, since Python counts
references inside the objects, and whole to every spawned one. Tensors lie in memory that both kinds share.
"""

import json
import os
from collections.abc import Iterable
from typing import Any

import torch


class PackedRecords:
    """Dicts held as JSON; `records[index]`, counted from 0, makes a new one.

    Args:
        records: of names, numbers, lists and dicts of those; paths become text.

    Raises:
        ValueError: a record that holds anything else.
    """

    def __init__(self, records: Iterable[dict[str, Any]]):
        texts = [self._packed(record) for record in records]
        self._ends = torch.tensor([0, *(len(text) for text in texts)]).cumsum(dim=0)
        self._texts = torch.frombuffer(bytearray(b"".join([*texts, b" "])), dtype=torch.uint8)

    @staticmethod
    def _packed(record: dict[str, Any]) -> bytes:
        try:
            return json.dumps(record, default=os.fspath).encode()
        except TypeError as error:
            raise ValueError(f"a record of a data set holds more than names, numbers and lists: {error}") from error

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> dict[str, Any]:
        start, end = self._ends[index : index + 2].tolist()
        return json.loads(self._texts[start:end].numpy().tobytes())
