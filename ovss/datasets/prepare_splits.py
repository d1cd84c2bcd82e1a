"""The work of `ovss datasets prepare`: split after split, and what is said of each. Imported only when it runs."""

import argparse
import sys

from ovss.datasets.parallel import cores
from ovss.datasets.plan import Plan
from ovss.datasets.preparations import PREPARATIONS
from ovss.datasets.prepare import Outcome, prepare


def prepare_splits(args: argparse.Namespace) -> int:
    """Prepare the splits of a set and return the exit code: 0, or 1 where some files failed (the others are done).

    A split that nobody asked for by name may lack its sources as long as another has them: that is a warning.

    Raises:
        ValueError: an unknown split, or sources that are missing.
        OSError: an output cannot be written.
    """
    preparation = PREPARATIONS[args.name]
    splits = args.split or preparation.default
    for split in splits:
        if split not in preparation.splits:
            raise ValueError(f"{args.name} has no split {split!r}; it has {', '.join(preparation.splits)}")
    plans: dict[str, Plan] = {}
    absent: dict[str, ValueError] = {}
    for split in splits:
        try:
            plans[split] = preparation.plan(args.root, split)
        except ValueError as error:
            absent[split] = error
    if absent and (args.split or not plans):
        raise next(iter(absent.values()))
    for split, reason in absent.items():
        others = " and ".join(plans)
        print(f"ovss: warning: {args.name}: {others} alone, {split} is left out: {reason}", file=sys.stderr)
    failed = False
    for split, plan in plans.items():
        title = f"{args.name} {split}"
        if args.dry_run:
            _describe(title, plan)
            continue
        outcome = prepare(plan, args.workers or cores(), args.overwrite)
        _summarize(title, plan, outcome)
        failed |= bool(outcome.failures)
    return 1 if failed else 0


def _describe(title: str, plan: Plan) -> None:
    print(f"{title}: {len(plan.items):,} of {plan.expected:,} pictures")
    for source in plan.sources:
        print(f"  reads  {source}")
    for folder, count, there in plan.outputs_there():
        print(f"  writes {folder}: {count:,} files, {there:,} there, {count - there:,} to go")
    for text in (*plan.notes, *plan.problems):
        print(f"  note   {text}")


def _summarize(title: str, plan: Plan, outcome: Outcome) -> None:
    left_out = f", {outcome.left_out:,} left out" if outcome.left_out else ""
    folders = " and ".join(str(folder) for folder in plan.folders)
    print(
        f"{title}: {outcome.written:,} written, {outcome.kept:,} kept{left_out}, "
        f"{len(outcome.failures):,} failed, in {folders}"
    )
    for note in outcome.notes:
        print(f"ovss: warning: {title}: {note}", file=sys.stderr)
    if outcome.failures:
        print(f"ovss: {title}: {len(outcome.failures):,} failed, the first: {outcome.failures[0]}", file=sys.stderr)
