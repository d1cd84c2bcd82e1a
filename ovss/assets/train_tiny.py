"""Trains the embedded tiny CLIP from scratch on captions of drawn scenes, by InfoNCE (Radford et al. 2021, figure 3).

    python -m ovss.assets.train_tiny --output ovss/assets

It sees no label map, only pictures and sentences. Writes the config, the weights and a log, `tiny_clip*`.
The defaults take about half an hour on one core of a CPU.
"""

import argparse
import json
import os
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from torch.func import functional_call
from torch.utils.data import DataLoader

from ovss.assets.measure_tiny import dense_accuracy, normalise, pair_accuracy, retrieval_accuracy
from ovss.assets.reading import STAGES, Reading, known_token_ids
from ovss.clip.keys import to_openai_keys
from ovss.clip.model import CLIP
from ovss.scenes import SIDE

LEARNING_RATE = 1e-3
WARM_UP = 0.02
LOG_POINTS = 40


def tiny_config() -> dict:
    """The architecture, in open_clip's form."""
    known = known_token_ids()
    return {
        "embed_dim": 128,
        "quick_gelu": True,
        "vision_cfg": {"image_size": SIDE, "patch_size": 8, "width": 128, "layers": 6, "head_width": 32},
        "text_cfg": {"context_length": 32, "vocab_size": len(known), "width": 128, "heads": 4, "layers": 3},
        "known_token_ids": known,
    }


def whitening_filters(images: Tensor, count: int, patch: int, noise: float = 0.02) -> Tensor:
    """First patch filters (count,3,patch,patch): their answers on images (B,3,S,S) are uncorrelated and of like size.

    Edges then weigh as much as flat colour; from random filters, shapes are learned several times later. `noise` is a
    variance that is not worth amplifying.
    """
    patches = F.unfold(images, patch, stride=patch).transpose(1, 2).flatten(0, 1)
    variances, axes = torch.linalg.eigh(patches.T.cov())
    variances, axes = variances.flip(0)[:count], axes.flip(1)[:, :count]
    return (axes / (variances + noise).sqrt()).T.unflatten(1, (3, patch, patch)).contiguous()


def encode_at_a_place(clip: CLIP, images: Tensor) -> Tensor:
    """Embed images (B,3,S,S) of any S up to SIDE as if they were a window, at a random place, of a full picture.

    Small scenes so learn the positions of large ones, at their true spacing.
    """
    tower = clip.visual
    table = tower.positional_embedding
    full, side = SIDE // tower.patch_size, images.shape[-1] // tower.patch_size
    top, left = torch.randint(full - side + 1, (2,)).tolist()
    window = table[1:].unflatten(0, (full, full))[top : top + side, left : left + side].flatten(0, 1)
    positions = {"positional_embedding": torch.cat([table[:1], window])}
    return functional_call(tower, positions, (images,)).class_token


def contrastive_loss(clip: CLIP, images: Tensor, sentences: list[str]) -> Tensor:
    """Symmetric InfoNCE of B pictures and their B sentences."""
    pictures = F.normalize(encode_at_a_place(clip, images).float(), dim=-1)
    words = F.normalize(clip.encode_text(sentences).float(), dim=-1)
    logits = clip.logit_scale.exp().clamp(max=100) * pictures @ words.T
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def train(clip: CLIP, batches: DataLoader, device: torch.device) -> list[dict[str, float]]:
    """Train in place with AdamW and a one-cycle schedule; return the loss curve."""
    matrices = [p for p in clip.parameters() if p.ndim >= 2]
    others = [p for p in clip.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98))
    steps = len(batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=steps + 1, pct_start=WARM_UP, anneal_strategy="linear"
    )
    curve, recent, start = [], [], time.time()
    for step, (images, sentences) in enumerate(batches, 1):
        with torch.autocast(device.type, torch.bfloat16):
            loss = contrastive_loss(clip, normalise(images.to(device)), sentences)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent.append(loss.item())
        if step % max(1, steps // LOG_POINTS) == 0 or step == steps:
            point = {"step": step, "side": images.shape[-1], "loss": round(sum(recent) / len(recent), 4)}
            curve.append(point)
            recent.clear()
            print(point, f"{time.time() - start:.0f} s", flush=True)
    return curve


def save(output: Path, config: dict, clip: CLIP, log: dict) -> None:
    """Write the three files, each whole or not at all; half precision is enough and half the size."""
    state = {key: value.detach().half().cpu().contiguous() for key, value in clip.state_dict().items()}
    output.mkdir(parents=True, exist_ok=True)

    def replace(name: str, write) -> None:
        temporary = output / f".{name}.{os.getpid()}"
        write(temporary)
        os.replace(temporary, output / name)

    replace("tiny_clip.safetensors", lambda path: save_file(to_openai_keys(state), path))
    for name, content in (("tiny_clip.json", config), ("tiny_clip_log.json", log)):
        replace(name, lambda path, content=content: path.write_text(json.dumps(content) + "\n", encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for the weights, the config and the log")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=36, help="pictures a step; some stages take a share of it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw; 0: drawn between the steps")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    device = torch.device(args.device)
    config = tiny_config()
    reading = Reading(steps=args.steps, batch=args.batch, seed=args.seed)
    clip = CLIP(config).to(device)
    images = normalise(reading[0][0].to(device))
    clip.visual.conv1.weight.data = whitening_filters(images, len(clip.visual.conv1.weight), clip.visual.patch_size)
    start = time.time()
    curve = train(clip, DataLoader(reading, batch_size=None, num_workers=args.workers), device)
    seconds = time.time() - start
    clip.half().float().eval()  # measure what will be stored
    results = {
        "retrieval_of_256": retrieval_accuracy(clip),
        "pair_of_36": pair_accuracy(clip),
        "dense": dense_accuracy(clip),
    }
    print(json.dumps(results, indent=1))
    log = {
        "command": "python -m ovss.assets.train_tiny --output ovss/assets",
        "arguments": {"steps": args.steps, "batch": args.batch, "seed": args.seed},
        "device": f"{args.device}, {torch.get_num_threads()} threads",
        "seconds": round(seconds),
        "parameters": sum(p.numel() for p in clip.parameters()),
        "stages": [vars(stage) for stage in STAGES],
        "zero_shot": results,
        "loss": curve,
    }
    save(args.output, config, clip, log)


if __name__ == "__main__":
    main()
