"""`ovss train` and `ovss eval`: train_net.py from anywhere, with its own options. Standard library only."""

from collections.abc import Sequence

PROGRAMS = {
    "train": "train a model: --config-file cat_seg/vitb_384 --num-gpus 4, as train_net.py",
    "eval": "evaluate a model on the benchmarks or your own data: train_net.py --eval-only",
}


def run(words: Sequence[str]) -> int:
    """Run `train` or `eval`, the first of the words, with the others as train_net.py's; may end the process."""
    from ovss.train_net import run

    name, *others = words
    run(["--eval-only", *others] if name == "eval" else others, f"ovss {name}")
    return 0
