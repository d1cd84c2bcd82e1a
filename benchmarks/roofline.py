"""What this machine can do at best: rates of matrix product, convolution and copy, the ceiling of every other figure.

    python benchmarks/roofline.py [--device cpu] [--threads 2] [--dtype float32 bfloat16] [--json FILE]

Every figure is the best of several tries, of several sizes. "copy" reads and writes a tensor larger than the caches,
and counts both ways. Prints a Markdown table; with --json the same as JSON. Imports torch alone.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # else this folder comes first on the path, and its files hide packages of the same name
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch
import torch.nn.functional as F

DTYPES = {"float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MATRICES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}
# Channels and side of the maps: CAT-Seg's decoder, and a convolution that a library is at its best with.
MAPS = {"cpu": ((64, 48), (128, 24), (256, 32)), "cuda": ((64, 96), (256, 64), (512, 64))}
COPIED = {"cpu": 2**28, "cuda": 2**31}  # bytes of the tensor
BF16_FLAGS = ("avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Rates:
    """The best that was seen with one number format; rates in FLOP/s and bytes/s, a multiplication and addition two."""

    dtype: str
    matrix: float
    convolution: float
    copy: float

    @property
    def peak(self) -> float:
        """FLOP/s that nothing here exceeds."""
        return max(self.matrix, self.convolution)

    def better(self, other: "Rates") -> "Rates":
        """The best of two measurements."""
        pairs = ((self.matrix, other.matrix), (self.convolution, other.convolution), (self.copy, other.copy))
        return Rates(self.dtype, *(max(pair) for pair in pairs))

    def seconds(self, flops: float, moved: float) -> float:
        """The roofline: the least seconds for that many operations and bytes, whichever takes longer."""
        return max(flops / self.peak, moved / self.copy)


def precision(dtype: str, device: str) -> AbstractContextManager:
    """Sets how float32 products are computed, and returns the autocast for `dtype`, for a "with"."""
    torch.set_float32_matmul_precision("high" if dtype == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = dtype == "tf32"
    if DTYPES[dtype] == torch.float32:
        return nullcontext()
    return torch.autocast(device.split(":")[0], DTYPES[dtype])


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def best_seconds(call: Callable[[], object], device: str, budget: float) -> float:
    """The shortest of as many calls as fit into about `budget` seconds, at least two; the first warms up."""
    call()
    synchronise(device)
    best, end = float("inf"), time.perf_counter() + budget
    while best == float("inf") or time.perf_counter() + best < end:
        start = time.perf_counter()
        call()
        synchronise(device)
        best = min(best, time.perf_counter() - start)
    return best


def best_rate(sizes: Sequence[tuple[float, Callable[[], Callable[[], object]]]], device: str, budget: float) -> float:
    """Of (operations, what makes the call) the highest rate; larger sizes are left out once one takes too long."""
    best = 0.0
    for operations, make in sizes:
        seconds = best_seconds(make(), device, budget)
        best = max(best, operations / seconds)
        if seconds > budget:
            break
    return best


@torch.no_grad()
def measure_rates(dtype: str, device: str = "cpu", budget: float = 0.5) -> Rates:
    """Measure one number format of `DTYPES`, with about `budget` seconds for each size."""
    kind = device.split(":")[0]
    options: dict[str, Any] = {"device": device, "dtype": DTYPES[dtype]}
    precision(dtype, device)

    def product(size: int) -> Callable[[], object]:
        a, b = torch.randn(size, size, **options), torch.randn(size, size, **options)
        return lambda: a @ b

    def convolution(channels: int, side: int, batch: int) -> Callable[[], object]:
        x = torch.randn(batch, channels, side, side, **options).to(memory_format=torch.channels_last)
        weight = torch.randn(channels, channels, 3, 3, **options).to(memory_format=torch.channels_last)
        return lambda: F.conv2d(x, weight, padding=1)

    batch = 8 if kind == "cpu" else 64
    matrices = [(2.0 * n**3, partial(product, n)) for n in MATRICES[kind]]
    maps = [(18.0 * batch * c**2 * s**2, partial(convolution, c, s, batch)) for c, s in MAPS[kind]]
    source = torch.zeros(COPIED[kind], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = 2 * len(source) / best_seconds(lambda: target.copy_(source), device, 2 * budget)
    return Rates(dtype, best_rate(matrices, device, budget), best_rate(maps, device, budget), copy)


def bf16_instructions() -> str:
    """In words, whether this CPU computes in bfloat16 or only converts to it."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return "not known on this system"
    found = [flag for flag in BF16_FLAGS if flag in flags]
    return f"yes ({', '.join(found)})" if found else f"no (none of {', '.join(BF16_FLAGS)}): it is emulated in float32"


def machine(device: str) -> dict[str, str | int]:
    """What figures belong to: device, threads, torch."""
    on_gpu = device.startswith("cuda")
    name = torch.cuda.get_device_name(device) if on_gpu else f"CPU ({torch.backends.cpu.get_cpu_capability()})"
    return {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__, "system": platform.system()}


def default_dtypes(device: str) -> list[str]:
    return ["float32", "tf32", "bfloat16", "float16"] if device.startswith("cuda") else ["float32", "bfloat16"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, help="by default all that the device has")
    parser.add_argument("--budget", type=float, default=1.0, help="seconds for each size")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rates = [measure_rates(dtype, args.device, args.budget) for dtype in args.dtype or default_dtypes(args.device)]
    found = {"machine": machine(args.device), "bf16_instructions": bf16_instructions()}
    print(", ".join(f"{key} {value}" for key, value in machine(args.device).items()))
    if not args.device.startswith("cuda"):
        print(f"bfloat16 instructions of the CPU: {found['bf16_instructions']}")
    print("\n| number format | matrix product GFLOP/s | convolution GFLOP/s | copy GB/s |\n|---|---:|---:|---:|")
    for row in rates:
        print(f"| {row.dtype} | {row.matrix / 1e9:.1f} | {row.convolution / 1e9:.1f} | {row.copy / 1e9:.1f} |")
    if args.json:
        Path(args.json).parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(found | {"rows": [asdict(row) for row in rates]}, indent=1)
        Path(args.json).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
