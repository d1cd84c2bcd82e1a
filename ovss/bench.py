"""The work of `ovss bench`: time and memory of a model on this machine, as a user meets them: picture in, labels out.

The project's own benchmarks, which count operations and compare with others, are in benchmarks/ of the repository.
"""

import argparse
import json
import resource
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from ovss.commands.arguments import predictor_of
from ovss.images import read_image
from ovss.vocabulary import Vocabulary


def bench(args: argparse.Namespace) -> int:
    """Measure, print, and return the exit code, 0.

    Raises:
        ValueError: a mistake in the arguments; see `ovss.models.load`.
    """
    if args.runs < 1 or args.batch_size < 1 or min(args.size) < 1:
        raise ValueError(f"--runs {args.runs}, --batch-size {args.batch_size}, --size {args.size}: give 1 or more")
    vocabulary = Vocabulary.parse(args.vocabulary) if args.vocabulary is not None else None
    if args.input:
        image = read_image(Path(args.input))
    else:
        image = np.random.default_rng(0).integers(0, 256, (*args.size, 3), dtype=np.uint8)
    predictor = predictor_of(args, vocabulary)
    words = predictor.words()
    device = predictor.device
    start = time.perf_counter()
    predictor.segment([image] * args.batch_size, batch_size=args.batch_size)
    first = time.perf_counter() - start
    seconds = []
    for _ in range(args.runs):
        start = time.perf_counter()
        predictor.segment([image] * args.batch_size, batch_size=args.batch_size)  # answers are on the CPU: all is done
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    told = {
        "model": args.model or args.config_file,
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"cpu, {torch.get_num_threads()} threads",
        "picture": f"{image.shape[0]} x {image.shape[1]}",
        "words": len(words.classes),
        "batch size": args.batch_size,
        "first ms (with text embeddings)": round(1000 * first, 1),
        "median ms": round(1000 * median, 1),
        "min ms": round(1000 * min(seconds), 1),
        "max ms": round(1000 * max(seconds), 1),
        "pictures per second": round(args.batch_size / median, 2),
        "peak MiB": round(_peak(device)),
    }
    if args.json:
        print(json.dumps(told, indent=2))
    else:
        print("\n".join(f"{name:<32} {value}" for name, value in told.items()))
    return 0


def _peak(device: torch.device) -> float:
    """The most memory so far: what torch held of a GPU's, else what the process had."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
