"""What the tiny CLIP sees and reads: drawn scenes with sentences. Imports `ovss.scenes`, torch, open_clip."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor
from torch.utils.data import Dataset

from ovss.scenes import ALL, CAPTIONS_STREAM, CLASSES, GROUNDS, SENTENCES, Scene, draw_scene
from ovss.templates import prompt_set

_PROMPT_SETS = ("single", "vild", "imagenet", "imagenet_select")
PROMPTS = tuple(dict.fromkeys(prompt for name in _PROMPT_SETS for prompt in prompt_set(name)))


@dataclass(frozen=True)
class Stage:
    """A share of the steps, spent on scenes of `side` pixels with up to `max_objects`, `batch` times the batch at once.

    Small scenes with one object come first, at a fraction of the cost, and at the very first its name is the sentence
    (`bare_names`): shapes are then told apart after 200 steps; with long sentences from the start, not after 600.
    """

    share: float
    side: int
    max_objects: int
    batch: float = 1.0
    bare_names: bool = False


STAGES = (
    Stage(0.25, side=48, max_objects=1, bare_names=True),
    Stage(0.30, side=48, max_objects=1),
    Stage(0.25, side=64, max_objects=2),
    Stage(0.20, side=128, max_objects=3, batch=2 / 3),
)


def stage_of(step: int, steps: int) -> Stage:
    """The stage that step 0 <= `step` < `steps` belongs to."""
    end = 0.0
    for stage in STAGES:
        end += stage.share
        if step < end * steps:
            return stage
    return STAGES[-1]


class Reading(Dataset):
    """Item `step` is all of that step's batch, images (B,3,S,S) uint8 and B sentences: a function of (seed, step)."""

    def __init__(self, *, steps: int, batch: int, seed: int):
        self.steps, self.batch, self.seed = steps, batch, seed

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[Tensor, list[str]]:
        stage = stage_of(step, self.steps)
        count = max(1, round(self.batch * stage.batch))
        rng = np.random.Generator(np.random.PCG64([CAPTIONS_STREAM, self.seed, step, count]))
        # Batches of look-alikes: three of four on one ground, and, where a scene has one object, each pair once before
        # any comes again. Colour and ground are learned within seconds; this leaves the shape to tell captions apart.
        grounds = GROUNDS if step % 4 == 0 else (GROUNDS[rng.integers(len(GROUNDS))],)
        turn = rng.permutation(len(ALL))
        scenes = []
        for i in range(count):
            pairs = (ALL[turn[i % len(ALL)]],) if stage.max_objects == 1 else ALL
            seed = (CAPTIONS_STREAM, self.seed, step, i)
            scene = draw_scene(seed, pairs, grounds=grounds, side=stage.side, max_objects=stage.max_objects)
            scenes.append(scene)
        if stage.bare_names:
            return stack_images(scenes), [scene.names[0] for scene in scenes]
        return stack_images(scenes), [sentence_for(scene, rng) for scene in scenes]


def stack_images(scenes: list[Scene]) -> Tensor:
    """Images (B,3,S,S) uint8 of scenes of one size."""
    return torch.from_numpy(np.stack([scene.image for scene in scenes])).permute(0, 3, 1, 2)


def sentence_for(scene: Scene, rng: Generator) -> str:
    """The whole caption, or one of the prompts filled with some of what is in sight: prompts must make sense alone."""
    if rng.random() < 0.5:
        return scene.caption
    *objects, ground = (scene.names[i] for i in (*rng.permutation(len(scene.names) - 1), -1))
    some = objects[: rng.integers(1, len(objects) + 1)]
    about = rng.choice(3, p=(0.5, 0.4, 0.1))
    words = (some, [*some, ground], [ground])[about]
    return PROMPTS[rng.integers(len(PROMPTS))].format(" and ".join(words))


def known_token_ids() -> list[int]:
    """Ascending ids, in open_clip's table, of every token that may occur in a sentence; 0 is the padding."""
    tokenizer = SimpleTokenizer()
    words = ("a", "the", "and", ",", *CLASSES, *PROMPTS, *SENTENCES)
    texts = [text.replace("{}", " ").replace("{objects}", " ").replace("{ground}", " ") for text in words]
    # A sentence glues its full stop to what comes before, never to another mark.
    ids = {token for text in (*texts, "star.", "wall.", "star,") for token in tokenizer.encode(text)}
    return sorted(ids | {0, tokenizer.sot_token_id, tokenizer.eot_token_id})
