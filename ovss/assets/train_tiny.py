"""Trains the embedded tiny CLIP from scratch on sentences about drawn scenes, by contrast (`contrast.py`).

    python -m ovss.assets.train_tiny --output ovss/assets        # tiny_clip_log.json says how long that took

It sees no label map, only pictures and sentences. Writes the config, the weights and a log, `tiny_clip*`.
"""

import argparse
import json
import time
from operator import methodcaller
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from ovss.assets.contrast import reading_loss
from ovss.assets.measure_tiny import normalise, pair_accuracy, retrieval_accuracy
from ovss.assets.reading import STAGES, Reading, known_token_ids
from ovss.clip.keys import to_openai_keys
from ovss.clip.model import CLIP
from ovss.files import write_atomic
from ovss.scenes import SIDE

LEARNING_RATE = 1e-3
WARM_UP = 0.03
LOG_POINTS = 60
# The class token reads late in all steps but every fourth, which are as CLIP's.
EARLY_EVERY = 4


def tiny_config() -> dict:
    """The architecture, in open_clip's form."""
    known = known_token_ids()
    return {
        "embed_dim": 128,
        "quick_gelu": True,
        "vision_cfg": {"image_size": SIDE, "patch_size": 8, "width": 128, "layers": 4, "head_width": 32},
        "text_cfg": {"context_length": 32, "vocab_size": len(known), "width": 128, "heads": 4, "layers": 3},
        "known_token_ids": known,
    }


def whitening_filters(images: Tensor, count: int, patch: int, noise: float = 0.02) -> Tensor:
    """First patch filters (count,3,patch,patch): their answers on images (B,3,S,S) are uncorrelated and of like size.

    Edges then weigh as much as flat colour; from random filters, shapes are learned several times later. `noise` is a
    variance not worth amplifying.
    """
    patches = F.unfold(images, patch, stride=patch).transpose(1, 2).flatten(0, 1)
    variances, axes = torch.linalg.eigh(patches.T.cov())
    variances, axes = variances.flip(0)[:count], axes.flip(1)[:, :count]
    return (axes / (variances + noise).sqrt()).T.unflatten(1, (3, patch, patch)).contiguous()


@torch.no_grad()
def let_through(block: nn.Module, gain: float = 8.0) -> None:
    """Start a block as one whose tokens add `gain` times the mean of all (normalised) tokens, in place.

    In the last block the class token then says from the first step what the patches say; from random weights, what it
    reads of them is lost beside what it brings, and shapes are learned several times later.
    """
    torch.nn.init.eye_(block.get_parameter("attn.v_proj.weight"))
    torch.nn.init.eye_(block.get_parameter("attn.out_proj.weight")).mul_(gain)


def train(clip: CLIP, batches: DataLoader, device: torch.device) -> list[dict[str, float]]:
    """Train in place with AdamW and a one-cycle schedule; return the loss curve."""
    matrices = [p for p in clip.parameters() if p.ndim >= 2]
    others = [p for p in clip.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98))
    steps = len(batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps + 1, pct_start=WARM_UP)
    curve: list[dict[str, float]] = []
    recent: list[float] = []
    progress = tqdm(batches, disable=None)
    for step, (images, kinds) in enumerate(progress, 1):
        with torch.autocast(device.type, torch.bfloat16):
            late = step % EARLY_EVERY != 0
            loss = reading_loss(clip, normalise(clip, images.to(device)), kinds, late)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent.append(loss.item())
        if step % max(1, steps // LOG_POINTS) == 0 or step == steps:
            curve.append({"step": step, "side": images.shape[-1], "loss": round(sum(recent) / len(recent), 4)})
            recent.clear()
            progress.write(str(curve[-1]))
    return curve


def save_all(output: Path, config: dict, clip: CLIP, log: dict) -> None:
    """Write the three files, each whole or not at all; half precision is enough and half the size."""
    state = {key: value.detach().half().cpu().contiguous() for key, value in clip.state_dict().items()}
    output.mkdir(parents=True, exist_ok=True)
    contents = {
        "tiny_clip.safetensors": save(to_openai_keys(state)),
        "tiny_clip.json": f"{json.dumps(config)}\n".encode(),
        "tiny_clip_log.json": f"{json.dumps(log)}\n".encode(),
    }
    for name, content in contents.items():
        write_atomic(output / name, methodcaller("write", content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for the weights, the config and the log")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw; 0: drawn between the steps")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    device = torch.device(args.device)
    config = tiny_config()
    reading = Reading(steps=args.steps, seed=args.seed)
    clip = CLIP(config).to(device)
    images = normalise(clip, reading[0][0].to(device))
    clip.visual.conv1.weight.data = whitening_filters(images, len(clip.visual.conv1.weight), clip.visual.patch_size)
    let_through(clip.visual.resblocks[-1])
    start = time.time()
    curve = train(clip, DataLoader(reading, batch_size=None, num_workers=args.workers), device)
    seconds = time.time() - start
    clip.half().float().eval()  # measure what will be stored
    log = {
        "command": f"python -m ovss.assets.train_tiny --output ovss/assets --steps {args.steps} --seed {args.seed}",
        "device": f"{args.device}, {torch.get_num_threads()} threads",
        "seconds": round(seconds),
        "parameters": sum(p.numel() for p in clip.parameters()),
        "stages": [vars(stage) for stage in STAGES],
        "zero_shot": {"retrieval_of_256": retrieval_accuracy(clip), "pair_of_36": pair_accuracy(clip)},
        "loss": curve,
    }
    print(json.dumps(log["zero_shot"]))
    save_all(args.output, config, clip, log)


if __name__ == "__main__":
    main()
