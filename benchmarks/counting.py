"""What a piece of work takes at least: floating-point operations, and bytes that must move. Imports torch alone.

Operations are those of matrix products, convolutions and attention, as torch counts them while the work runs (a
multiplication and an addition are two); what is done element by element is not counted, nor what torch.compile has
fused. Bytes are those of inputs, parameters and results, each counted once, as if nothing between them left the caches.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
    """Operations of softmax(q k^T) v for shapes (...,L,E), (...,S,E), (...,S,V)."""
    return 2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def attention_backward(
    _: Sequence[int], query: Sequence[int], key: Sequence[int], value: Sequence[int], *__: Any, **___: Any
) -> int:
    """The product of queries and keys again, and four products for the gradients of both products."""
    again = 2 * math.prod(query[:-1]) * key[-2] * query[-1]
    return again + 2 * attention(query, key, value)


def linear(x: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
    """Operations of a linear layer (O,I) on (...,I)."""
    return 2 * math.prod(x) * weight[0]


def extra_formulas() -> dict[Any, Callable[..., int]]:
    """Formulas for operators of the CPU that torch has no formula for, where this torch has the operators."""
    wanted: dict[tuple[str, str], Callable[..., int]] = {
        ("aten", "_scaled_dot_product_flash_attention_for_cpu"): attention,
        ("aten", "_scaled_dot_product_flash_attention_for_cpu_backward"): attention_backward,
        ("mkldnn", "_linear_pointwise"): linear,
    }
    found = {}
    for (library, name), formula in wanted.items():
        operator = getattr(getattr(torch.ops, library), name, None)
        if operator is not None:
            found[operator] = formula
    return found


def count_flops(call: Callable[[], object]) -> int:
    """Floating-point operations of one call, backward passes in it included."""
    with FlopCounterMode(display=False, custom_mapping=extra_formulas()) as counter:
        call()
    return counter.get_total_flops()


def least_bytes(*parts: object) -> int:
    """Bytes of all tensors in the parts (tensors, modules, and what holds them), memory that several share once."""
    return sum({(tensor.device, tensor.data_ptr()): size_of(tensor) for tensor in tensors_of(parts)}.values())


def size_of(tensor: Tensor) -> int:
    """Bytes that the tensor's elements take; an expanded dimension takes nothing."""
    return math.prod(n for n, step in zip(tensor.shape, tensor.stride(), strict=True) if step) * tensor.element_size()


def tensors_of(part: object) -> Iterator[Tensor]:
    if isinstance(part, Tensor):
        yield part
    elif isinstance(part, nn.Module):
        yield from part.parameters()
        yield from part.buffers()
    elif isinstance(part, Mapping):
        yield from tensors_of(tuple(part.values()))
    elif isinstance(part, (list, tuple)):
        for each in part:
            yield from tensors_of(each)
