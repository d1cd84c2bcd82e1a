"""The work of `ovss export`. Imported only when it runs."""

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ovss.commands.arguments import predictor_of
from ovss.commands.export import SUFFIXES
from ovss.export.check import LEAST_EQUAL, Agreement, compare, example
from ovss.export.fixed import Fixed, fix
from ovss.export.metadata import describe, to_text
from ovss.export.onnx import RUNNER, WRITERS, require, run_onnx, save_onnx
from ovss.export.program import run_program, save_program, trace
from ovss.export.released import export_released
from ovss.predictor import Predictor
from ovss.vocabulary import Vocabulary


def export(args: argparse.Namespace) -> int:
    """Write a model as one file and return the exit code, 0.

    Raises:
        ValueError: arguments, config, words or weights that do not fit, a missing package, or a file that does not
            answer as the model does.
        OSError: the file cannot be written.
    """
    output = Path(args.output)
    kind = chosen_format(args.format, output)
    if kind == "released":
        refuse_unused(args)
        export_released(args.model or args.config_file, args.weights, args.opts, output)
        return 0
    if kind == "onnx":
        require((*WRITERS, RUNNER) if args.check else WRITERS)
    fixed = fix(built(args), tuple(args.size) if args.size else None)
    metadata = describe(fixed, args.model or args.config_file)
    with staged(output) as path:
        write(fixed, kind, path, to_text(metadata))
        if args.check:
            print(f"checked on a drawn scene: {checked(fixed, kind, path)}")
        size = sum(file.stat().st_size for file in path.parent.iterdir())
    height, width = fixed.module.size
    print(f"{output}: {size / 1e6:.1f} MB, {len(metadata['classes'])} classes, pictures of {height} x {width} px")
    if fixed.segmentor.sliding_window is not None:
        print("the model is tested with a sliding window; the file has none and sees each picture as a whole")
    return 0


def built(args: argparse.Namespace) -> Predictor:
    """The model and its words."""
    vocabulary = None if args.vocabulary is None else Vocabulary.parse(args.vocabulary)
    args.opts = [*args.opts, "MODEL.COMPILE", "False"]  # a trace is taken of what is not compiled
    return predictor_of(args, vocabulary)


def chosen_format(asked: str | None, output: Path) -> str:
    """What is written: as asked, or as the suffix of the file says.

    Raises:
        ValueError: a suffix that says nothing, or another one than that of the format.
    """
    if asked is None:
        known = {suffix: kind for kind, suffix in SUFFIXES.items()}
        if output.suffix not in known:
            raise ValueError(f"--output {output}: the name must end in {', '.join(known)}: it chooses the format")
        return known[output.suffix]
    if output.suffix != SUFFIXES[asked]:
        raise ValueError(f"--output {output}: with --format {asked} the name must end in {SUFFIXES[asked]}")
    return asked


def refuse_unused(args: argparse.Namespace) -> None:
    """Raise ValueError for options that mean nothing to a checkpoint."""
    given = {option: getattr(args, option) is not None for option in ("vocabulary", "size", "device", "dtype")}
    for option, is_given in {**given, "no-check": not args.check}.items():
        if is_given:
            raise ValueError(
                f"--{option}: a released checkpoint is the weights as they are, for any words; leave it out"
            )


def write(fixed: Fixed, kind: str, path: Path, metadata: str) -> None:
    """Write a fixed model in a format of `SUFFIXES`."""
    (save_onnx if kind == "onnx" else save_program)(trace(fixed.module), path, metadata)


def checked(fixed: Fixed, kind: str, path: Path) -> Agreement:
    """How a written file agrees with the model. Raises ValueError where it does not enough."""
    images = example(fixed.module.size)
    found = compare(fixed.expected(images), (run_onnx if kind == "onnx" else run_program)(path, images))
    if found.equal < LEAST_EQUAL:
        raise ValueError(
            f"{path.name} was not written: it does not answer as the model does, {found}; {LEAST_EQUAL:.1%} must be. "
            "--no-check writes it"
        )
    return found


@contextmanager
def staged(output: Path) -> Iterator[Path]:
    """A path of that name in a folder of its own: what is written there comes beside `output` when all went well."""
    output.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        yield folder / output.name
        files = sorted(folder.iterdir(), key=lambda file: file.name == output.name)  # itself last: it names the others
        for file in files:
            os.replace(file, output.parent / file.name)
    finally:
        shutil.rmtree(folder)
