"""Words to embeddings: encoded, and found again on disk: time, share of the roofline, memory.

    python benchmarks/text.py [--words 847] [--prompted 150] [--part 10] [--official FOLDER]

847 words of ADE20K-847 with CAT-Seg's one prompt, 150 of ADE20K-150 with CLIPtrase's 80. The weights are made
(`benchmarks/made.py`). "found on disk" is a vocabulary that was encoded before; the text tower's fingerprint, by which
it is found, is taken once in a program. With --official the authors' code (`benchmarks/official.py`) runs in turn; of
their 150 words, which it encodes one by one, --part are measured and the figures multiplied. Columns:
`benchmarks/measure.py`.
"""

import argparse
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

# Run as a file, this folder comes first on the path, and its files would hide packages of the same name.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch

from benchmarks import official_cat_seg, official_cliptrase
from benchmarks.made import ROOT, made_clip
from benchmarks.measure import add_options, exit_code, measure
from benchmarks.roofline import DTYPES
from benchmarks.workers import Row, Work
from ovss.vocabulary import Vocabulary

# Class file, prompts and treatment of synonyms of each system.
SETS = {"single": ("ade20k_847", "first"), "imagenet": ("ade20k_150", "joined")}


def phrases(prompts: str, count: int | None) -> list[tuple[str, ...]]:
    """The first rows of text of a system's vocabulary."""
    name, synonyms = SETS[prompts]
    return Vocabulary.from_file(ROOT / f"ovss/datasets/classes/{name}.json").phrases(synonyms)[0][:count]


def make_encoding(prompts: str, count: int, args: argparse.Namespace) -> Work:
    from ovss.allocator import keep_freed_memory
    from ovss.clip.embeddings import embed_rows
    from ovss.templates import prompt_set

    keep_freed_memory()
    clip, rows = made_clip(args.arch, args.device), phrases(prompts, count)
    call = torch.no_grad()(lambda: embed_rows(clip, rows, prompt_set(prompts), average=prompts != "single"))
    return Work(call, (clip.text,))


def make_cached(count: int, fresh: bool, args: argparse.Namespace) -> Work:
    """A vocabulary of one prompt found on disk, by an embedder that is `fresh` each time or has been used before."""
    from ovss.clip.embeddings import TextEmbedder
    from ovss.templates import prompt_set

    place = tempfile.TemporaryDirectory()
    os.environ["OVSS_CACHE"] = place.name
    clip, rows, prompts = made_clip(args.arch, args.device), phrases("single", count), prompt_set("single")
    used = TextEmbedder(clip)
    used(rows, prompts, False)

    def find(_: object = place) -> torch.Tensor:  # which is removed with the process
        return (TextEmbedder(clip) if fresh else used)(rows, prompts, False)

    return Work(find)


def rows(args: argparse.Namespace) -> list[Row]:
    found = []
    for dtype in args.dtype:
        end = f", {dtype}" if dtype != "float32" else ""
        for prompts, number, count in (("single", 1, args.words), ("imagenet", 80, args.prompted)):
            name = f"{count} words, {number} prompt{'s' if number > 1 else ''}{end}"
            found.append(Row(name, partial(make_encoding, prompts, count, args), dtype=dtype))
    found.append(Row(f"{args.words} words found on disk", partial(make_cached, args.words, False, args)))
    name = f"{args.words} words found on disk, fingerprint included"
    found.append(Row(name, partial(make_cached, args.words, True, args)))
    if args.official:
        single, several = ([row[0] for row in phrases(prompts, None)] for prompts in SETS)
        for way, one_by_one in (("at once", False), ("one by one", True)):
            theirs = partial(
                official_cat_seg.text, args.official, args.device, single[: args.words], one_by_one=one_by_one
            )
            found.append(Row(f"the authors' CAT-Seg, {args.words} words, 1 prompt, {way}", theirs))
        part = partial(official_cliptrase.text, args.official, args.device, several[: args.part])
        name = f"the authors' CLIPtrase, {args.prompted} words, 80 prompts ({args.part} measured)"
        found.append(Row(name, part, scale=args.prompted / args.part))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, runs=3)
    parser.add_argument("--words", type=int, default=847, help="with one prompt")
    parser.add_argument("--prompted", type=int, default=150, help="words with 80 prompts")
    parser.add_argument("--part", type=int, default=10, help="of them, that the authors' code encodes")
    parser.add_argument("--arch", default="ViT-B/16")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["float32"])
    parser.add_argument("--official", metavar="FOLDER", help="where the authors' repositories lie")
    args = parser.parse_args()
    sys.exit(exit_code(measure(rows(args), args)))


if __name__ == "__main__":
    main()
