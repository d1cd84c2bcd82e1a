"""The work of `ovss reproduce`: run published evaluations and put published and measured side by side.

Imported only when it runs; the table is `ovss.published`, the evaluation that of train_net.py.
"""

import argparse
import json
import math
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from ovss import published
from ovss.comparison import Comparison
from ovss.model_names import CONFIGS
from ovss.published import Entry
from ovss.weights import store, table


def reproduce(args: argparse.Namespace) -> int:
    """List the table, or evaluate entries of it; the exit code is 1 where one of several failed (the others are done).

    Raises:
        ValueError: unknown id, missing weights or data, or a mistake that ends the only evaluation.
        ConnectionError: published weights that are not here and cannot be downloaded.
        OSError: the output folder cannot be written.
    """
    if args.list == bool(args.ids) or args.markdown > args.list:
        raise ValueError("name entries, or ask for --list (with or without --markdown)")
    if args.list:
        print(_page() if args.markdown else published.plain_list())
        return 0
    return run([published.find(id) for id in dict.fromkeys(args.ids)], args)


def _page() -> str:
    from ovss import hub
    from ovss.d2.protocol import describe

    configs = {entry.config for entry in published.entries().values()}
    return published.markdown_page({config: describe(hub.load(str(CONFIGS / config))) for config in configs})


def run(entries: Sequence[Entry], args: argparse.Namespace) -> int:
    """Check what all entries need, then evaluate one after the other; see `reproduce`."""
    from ovss.d2.processes.devices import USER_ERRORS, plain_message
    from ovss.d2.processes.stop import Stopped
    from ovss.d2.run import own_log

    check_launch()
    check_weights(entries, args.weights)
    pictures = {entry.id: count_pictures(entry, options(entry, args, "")) for entry in entries}
    weights = {entry.id: str(weights_of(entry, args.weights)) for entry in entries}
    opts = {entry.id: options(entry, args, weights[entry.id]) for entry in entries}
    failed: list[str] = []
    for entry in entries:
        print(f"{entry.id}: {command(entry, args.num_gpus, opts[entry.id])}", flush=True)
        try:
            with own_log():
                evaluate_entry(entry, args.num_gpus, opts[entry.id])
        except (*USER_ERRORS, SystemExit) as error:
            if len(entries) == 1 or isinstance(error, Stopped):
                raise
            reason = "see above" if isinstance(error, SystemExit) else plain_message(error)  # a process has said why
            print(f"ovss: {entry.id} failed: {reason}", file=sys.stderr)
            failed.append(entry.id)
            continue
        comparison = compare(entry, weights[entry.id], opts[entry.id], pictures[entry.id], args)
        path = comparison.write(Path(args.output) / entry.id)
        print(f"\n{comparison.table()}\n\nwritten to {path} and .json", flush=True)
    if failed:
        print(f"ovss: {len(failed)} of {len(entries)} evaluations failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def options(entry: Entry, args: argparse.Namespace, weights: str) -> list[str]:
    """KEY VALUE words of an entry: its data set and settings, the weights, what the user changes, where results go."""
    opts = ["DATASETS.TEST", f'("{entry.dataset}",)', *entry.settings]
    opts += [entry.weights.setting, weights] if weights else []
    return [*opts, *args.opts, "OUTPUT_DIR", str(Path(args.output) / entry.id)]


def check_launch() -> None:
    """Raise ValueError under a torchrun of several processes: they end with the first evaluation, before the table."""
    from ovss.d2.api import default_argument_parser
    from ovss.d2.processes.placement import from_torchrun

    place = from_torchrun(os.environ, default_argument_parser().parse_args([]))
    if place and place.world_size > 1:
        raise ValueError("ovss reproduce starts its processes itself: give --num-gpus N, without torchrun")


def check_weights(entries: Sequence[Entry], given: str | None) -> None:
    """Raise ValueError for one file given for entries of different weights, or for one that is not there."""
    if given is None:
        return
    different = {entry.weights.name: entry.id for entry in entries}
    if len(different) > 1:
        named = ", ".join(f"{id} {name}" for name, id in different.items())
        raise ValueError(f"--weights {given}: these entries have different weights, run them apart: {named}")
    weights = entries[0].weights
    if not Path(given).expanduser().exists() and given not in table.entries():
        raise ValueError(f"--weights {given}: no such file or folder; {weights.name} is from {weights.origin}")


def weights_of(entry: Entry, given: str | None) -> Path:
    """The file that the user gave, or the published one, which is downloaded where it is not here.

    Raises:
        ValueError, ConnectionError, OSError: see `ovss.weights.store.fetch`.
    """
    return store.fetch(entry.weights.name) if given is None else store.resolve(given)


def count_pictures(entry: Entry, opts: Sequence[str]) -> int:
    """The pictures of an entry's data set on this machine.

    Raises:
        ValueError: a mistake in the settings, or data that are not there or not prepared.
    """
    from ovss import hub
    from ovss.d2.api import DatasetCatalog

    cfg = hub.load(str(CONFIGS / entry.config), opts)
    if tuple(cfg.DATASETS.TEST) != (entry.dataset,):
        raise ValueError(f"--opts DATASETS.TEST {cfg.DATASETS.TEST}: {entry.id} is about {entry.dataset!r} alone")
    return len(DatasetCatalog.get(entry.dataset))


def _arguments(config: str, num_gpus: int, opts: Sequence[str]) -> list[str]:
    """The command line of train_net.py."""
    return ["--eval-only", "--config-file", config, "--num-gpus", str(num_gpus), *opts]


def command(entry: Entry, num_gpus: int, opts: Sequence[str]) -> str:
    """The same evaluation by train_net.py, for a shell."""
    return shlex.join(["python", "train_net.py", *_arguments(f"configs/{entry.config}", num_gpus, opts)])


def evaluate_entry(entry: Entry, num_gpus: int, opts: Sequence[str]) -> None:
    """Evaluate in as many processes as train_net.py would; results are in OUTPUT_DIR."""
    from ovss import hub
    from ovss.d2.api import default_argument_parser
    from ovss.d2.processes.launch import launch_main

    args = default_argument_parser().parse_args(_arguments(str(CONFIGS / entry.config), num_gpus, opts))
    launch_main(_process, args, hub.load(args.config_file, args.opts).MODEL.DEVICE)


def _process(args: argparse.Namespace, device: str) -> None:
    """What each process runs."""
    from ovss import hub
    from ovss.d2.run import run_evaluation

    run_evaluation(hub.load(args.config_file, [*args.opts, "MODEL.DEVICE", device]), args)


def compare(entry: Entry, weights: str, opts: Sequence[str], pictures: int, args: argparse.Namespace) -> Comparison:
    """What an evaluation has written, beside what was published."""
    from ovss import hub
    from ovss.d2.evaluator import results_folder
    from ovss.d2.protocol import describe

    cfg = hub.load(str(CONFIGS / entry.config), opts)
    results = results_folder(cfg) / f"{entry.dataset}.json"
    told = {
        "weights": weights,
        "changed settings": shlex.join(args.opts) or "none",
        "command": command(entry, args.num_gpus, opts),
        **describe(cfg),
    }
    scores = json.loads(results.read_text(encoding="utf-8"))["scores"]
    measured = {name: math.nan if value is None else value for name, value in scores.items()}
    return Comparison(entry=entry, measured=measured, pictures=pictures, told=told)
