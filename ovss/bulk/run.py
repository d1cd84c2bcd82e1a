"""The work of `ovss segment`: pictures and words in, overlays, label maps and areas out. Imported only when it runs."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from ovss.cli import config_opts
from ovss.images import ImageError, find_images, read_image
from ovss.vocabulary import Vocabulary


def segment(args: argparse.Namespace) -> int:
    """Segment every input and return the exit code: 0, or 1 where a picture could not be read (the others are done).

    Raises:
        ValueError: bad inputs, words, config or weights; the first two are found before the model is built.
        OSError: the output folder cannot be written.
    """
    vocabulary = Vocabulary.parse(args.vocabulary) if args.vocabulary is not None else None
    paths = find_images(args.input)

    from ovss.hub import build_predictor  # torch and the model: only once everything else is known to be right
    from ovss.predictor import NO_WORDS

    predictor = build_predictor(args.model or args.config_file, config_opts(args), vocabulary, args.device)
    if vocabulary is None and predictor.vocabulary is None:
        raise ValueError(NO_WORDS)
    output = Path(args.output)
    output.mkdir(parents=True, exist_ok=True)
    broken = 0
    progress = tqdm(list(zip(paths, unique_stems(paths), strict=True)), unit="picture", disable=None)
    for path, stem in progress:
        try:
            image = read_image(path)
            found = predictor(image)
        except ImageError as error:  # of this picture alone; a mistake in words or config ends the run
            broken += 1
            progress.write(f"ovss: skipped: {path}: {str(error).removeprefix(f'{path}: ')}", file=sys.stderr)
            continue
        found.save(output, stem, image, file=str(path))
    print(f"{len(paths) - broken} of {len(paths)} pictures segmented, written to {output}/")
    if broken:
        print(f"ovss: {broken} of {len(paths)} pictures could not be segmented", file=sys.stderr)
    return 1 if broken else 0


def unique_stems(paths: Iterable[Path]) -> list[str]:
    """One name for each file: its stem, or stem_2, stem_3, ... where an earlier file has it, in upper or lower case."""
    taken: set[str] = set()
    stems = []
    for path in paths:
        stem, number = path.stem, 1
        while stem.lower() in taken:
            number += 1
            stem = f"{path.stem}_{number}"
        taken.add(stem.lower())
        stems.append(stem)
    return stems
