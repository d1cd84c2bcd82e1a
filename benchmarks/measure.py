"""How benchmarks of models measure and print: rows in turn, and one unit between them in the same run.

1 u is one plain forward of CLIP's ViT-B/16 image tower on one view of 384 px, in float32. It runs before and after
every row, and a row's ratio is taken run by run, to the mean of its two neighbours: what makes a machine's speed drift
changes both. A row's roofline is the least time that its operations and bytes (`counting`) take at the best rates that
this machine was seen to reach (`roofline`), its share is that time over the measured one.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.roofline import Rates, machine
from benchmarks.workers import Row, Work, Worker, fresh_rates

UNIT = "CLIP image tower, 1 view (1 u)"
HEADER = ("work", "median ms", "min to max", "u", "GFLOP", "GFLOP/s", "share of roofline", "peak MiB")
ROWS_AT_ONCE = 6  # whose processes exist together, for their memory


@dataclass
class Measured:
    """What a row came to. Times in seconds and ratios to 1 u run by run; memory in MiB."""

    work: str
    dtype: str
    seconds: list[float] = field(default_factory=list)
    units: list[float] = field(default_factory=list)
    flops: float | None = None
    least_bytes: float | None = None
    roofline_seconds: float | None = None
    memory_before: float | None = None
    memory_peak: float | None = None
    error: str = ""

    def cells(self) -> list[str]:
        """The row of the table, in the order of `HEADER`."""
        if self.error or not self.seconds:
            return [self.work, f"failed: {self.error}", *["-"] * (len(HEADER) - 2)]
        middle = statistics.median(self.seconds)
        spread = f"{as_ms(min(self.seconds))} to {as_ms(max(self.seconds))}"
        counted = ["-"] * 3
        if self.flops is not None and self.roofline_seconds is not None:
            share = f"{100 * self.roofline_seconds / middle:.0f} %"
            counted = [f"{self.flops / 1e9:.1f}", f"{self.flops / middle / 1e9:.1f}", share]
        ratio = f"{statistics.median(self.units):.2f}"
        return [self.work, as_ms(middle), spread, ratio, *counted, f"{self.memory_peak:.0f}"]


def as_ms(seconds: float) -> str:
    return f"{1000 * seconds:.{0 if seconds >= 1 else 1 if seconds >= 0.01 else 3}f}"


def add_options(parser: argparse.ArgumentParser, runs: int) -> None:
    """The options that the benchmarks of models share."""
    parser.add_argument("--runs", type=int, default=runs)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
    parser.add_argument("--json", metavar="FILE", help="where to write all that was measured")
    parser.add_argument("--budget", type=float, default=0.3, help="seconds for each rate of the roofline")
    parser.add_argument("--unit", default="ViT-B/16", metavar="ARCH", help="whose tower is 1 u; smaller for tests")


def make_unit(arch: str, device: str) -> Work:
    from ovss.allocator import keep_freed_memory
    from ovss.clip.model import CLIP, architecture_config

    keep_freed_memory()
    visual = CLIP(architecture_config(arch)).visual.to(device).eval()
    images = torch.rand(1, 3, 384, 384, device=device)
    return Work(torch.no_grad()(lambda: visual(images)), (visual, images))


def prepare(row: Row, args: argparse.Namespace) -> tuple[Worker, Measured]:
    """Start a row's process, and let it warm up and count."""
    worker, found = Worker(row, args.device, args.threads), Measured(row.name, row.dtype)
    try:
        found.memory_before, found.memory_peak = worker.ask("weigh")
        found.flops, found.least_bytes = worker.ask("count")
    except RuntimeError as error:
        found.error = str(error)
    return worker, found


def time_in_turn(
    unit: Worker, first: Measured, workers: Sequence[Worker], found: Sequence[Measured], runs: int
) -> None:
    """Add times to the rows that were found, and to the unit's, which runs around each."""
    for run in range(runs):
        before = unit.ask("time")
        first.seconds.append(before)
        for worker, row in zip(workers, found, strict=True):
            if row.error:
                continue
            try:
                row.seconds.append(worker.ask("time"))
            except RuntimeError as error:
                row.error = str(error)
                continue
            after = unit.ask("time")
            row.units.append(2 * row.seconds[-1] / (before + after))
            first.seconds.append(after)
            before = after
            print(f"run {run + 1}: {row.work}: {as_ms(row.seconds[-1])} ms", file=sys.stderr, flush=True)


def measure(rows: Sequence[Row], args: argparse.Namespace) -> list[Measured]:
    """Measure rows under the options of `add_options`, print the table, and write the JSON; the first row is the unit.

    A row that fails costs no other row: the table says why, and `exit_code` that it did.
    """
    torch.set_num_threads(args.threads)
    unit_row = Row(UNIT, partial(make_unit, args.unit, args.device))
    dtypes = dict.fromkeys(row.dtype for row in (unit_row, *rows))
    rates = best_rates(dtypes, args)
    unit, first = prepare(unit_row, args)
    first.units.append(1.0)
    found = [first]
    for start in range(0, len(rows), ROWS_AT_ONCE):
        prepared = [prepare(row, args) for row in rows[start : start + ROWS_AT_ONCE]]
        workers, added = [worker for worker, _ in prepared], [row for _, row in prepared]
        time_in_turn(unit, first, workers, added, args.runs)
        for worker in workers:
            worker.end()
        found += added
    unit.end()
    later = best_rates(dtypes, args)
    rates = {dtype: rate.better(later[dtype]) for dtype, rate in rates.items()}
    for row in found:
        if row.flops is not None and row.least_bytes is not None:
            row.roofline_seconds = rates[row.dtype].seconds(row.flops, row.least_bytes)
    show(found, rates, args)
    return found


def best_rates(dtypes: Iterable[str], args: argparse.Namespace) -> dict[str, Rates]:
    """The machine's rates, which are measured before and after the rows: the better ones count."""
    return {dtype: fresh_rates(dtype, args.device, args.threads, args.budget) for dtype in dtypes}


def exit_code(found: Sequence[Measured]) -> int:
    """1 where a row failed."""
    return int(any(row.error for row in found))


def show(found: Sequence[Measured], rates: dict[str, Rates], args: argparse.Namespace) -> None:
    facts: dict[str, Any] = machine(args.device)
    print(", ".join(f"{key} {value}" for key, value in facts.items()) + f"; {args.runs} runs in turn")
    for dtype, rate in rates.items():
        print(f"{dtype}: {rate.peak / 1e9:.0f} GFLOP/s and {rate.copy / 1e9:.1f} GB/s at best")
    print(f"\n| {' | '.join(HEADER)} |\n|---|{'---:|' * (len(HEADER) - 1)}")
    for row in found:
        print(f"| {' | '.join(row.cells())} |")
    if args.json:
        path = Path(args.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        best = [asdict(rate) for rate in rates.values()]
        rows = [asdict(row) | dict(zip(HEADER, row.cells(), strict=True)) for row in found]
        path.write_text(json.dumps({"machine": facts, "rates": best, "rows": rows}, indent=1) + "\n", encoding="utf-8")
