"""The benchmarks one after the other, in settings that should take less than ten minutes on two cores: `make bench`.

    python benchmarks/run.py [--output output/bench] [--only cat_seg text]

Prints every table as Markdown, and writes OUTPUT/<benchmark>.json, which holds what the tables do and, of those with a
--json of their own, all that was measured. Left out are training.py and approximations.py,
which take minutes each. The standard library alone.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Those that write their own JSON, and those whose tables are read off what they print.
MEASURED = {
    "roofline": ["--budget", "0.5"],
    "cat_seg": ["--words", "20", "150", "--runs", "1"],
    "cliptrase": ["--runs", "2"],
    "text": ["--runs", "1", "--prompted", "30"],
}
PRINTED = {
    "evaluation": ["--runs", "2", "--threads", "2"],
    "loader": ["--crops", "24", "--runs", "2", "--workers", "0", "2"],
    "preparation": ["--pictures", "100", "--runs", "2"],
}


def tables(text: str) -> list[list[dict[str, str]]]:
    """The Markdown tables in a text: rows by the names of their columns."""
    found: list[list[dict[str, str]]] = []
    header: list[str] = []
    for line in [*text.splitlines(), ""]:
        if not line.startswith("|"):
            header = []
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not header:
            header = cells
            found.append([])
        elif set(line) - set("|-: "):
            found[-1].append(dict(zip(header, cells, strict=True)))
    return found


def run(name: str, output: Path) -> bool:
    """Print a benchmark's tables and write its JSON; whether it ended well."""
    path = output / f"{name}.json"
    options = MEASURED[name] + ["--json", str(path)] if name in MEASURED else PRINTED[name]
    start = time.perf_counter()
    done = subprocess.run([sys.executable, str(HERE / f"{name}.py"), *options], stdout=subprocess.PIPE, text=True)
    print(f"## {name}\n\n{done.stdout}\n{time.perf_counter() - start:.0f} s in all\n", flush=True)
    if name in PRINTED:
        path.write_text(json.dumps({"tables": tables(done.stdout)}, indent=1) + "\n", encoding="utf-8")
    return done.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("output/bench"))
    parser.add_argument("--only", nargs="+", choices=[*MEASURED, *PRINTED], default=[*MEASURED, *PRINTED])
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    failed = [name for name in args.only if not run(name, args.output)]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
