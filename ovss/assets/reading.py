"""What the tiny CLIP sees and reads: drawn scenes with sentences. Imports `ovss.scenes`, torch, open_clip."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor
from torch.utils.data import Dataset

from ovss.scenes import CAPTIONS_STREAM, CLASSES, SENTENCES, Scene, draw_scene
from ovss.templates import prompt_set

_PROMPT_SETS = ("single", "vild", "imagenet", "imagenet_select")
PROMPTS = tuple(dict.fromkeys(prompt for name in _PROMPT_SETS for prompt in prompt_set(name)))


@dataclass(frozen=True)
class Stage:
    """A share of the steps, spent on scenes of `side` pixels with up to `max_objects`, in batches of `batch`.

    Small scenes with one object come first, at a fraction of the cost, and there a name is the sentence (`bare_names`):
    with long sentences from the start, shapes are told apart several times later. Then many objects make the model
    keep apart what is where.
    """

    share: float
    side: int
    max_objects: int
    batch: int
    bare_names: bool = False


STAGES = (
    Stage(0.30, side=48, max_objects=1, batch=72, bare_names=True),
    Stage(0.25, side=64, max_objects=2, batch=96),
    Stage(0.25, side=96, max_objects=4, batch=80),
    Stage(0.20, side=128, max_objects=5, batch=56),
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
    """Item `step` is that step's batch, images (B,3,S,S) uint8 and B sentences: a function of (seed, step)."""

    def __init__(self, *, steps: int, seed: int):
        self.steps, self.seed = steps, seed

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[Tensor, list[str]]:
        stage = stage_of(step, self.steps)
        rng = np.random.Generator(np.random.PCG64([CAPTIONS_STREAM, self.seed, step]))
        seeds = ((CAPTIONS_STREAM, self.seed, step, index) for index in range(stage.batch))
        scenes = [draw_scene(seed, side=stage.side, max_objects=stage.max_objects) for seed in seeds]
        say = bare_name if stage.bare_names else sentence_for
        return stack_images(scenes), [say(scene, rng) for scene in scenes]


def stack_images(scenes: list[Scene]) -> Tensor:
    """Images (B,3,S,S) uint8 of scenes of one size."""
    return torch.from_numpy(np.stack([scene.image for scene in scenes])).permute(0, 3, 1, 2)


def bare_name(scene: Scene, rng: Generator) -> str:
    """One of the names in sight, more often an object's than the ground's."""
    *objects, ground = scene.names
    return ground if rng.random() < 0.2 else objects[rng.integers(len(objects))]


def sentence_for(scene: Scene, rng: Generator) -> str:
    """The whole caption, or one of the prompts filled with some of what is in sight: prompts must make sense alone."""
    if rng.random() < 0.7:
        return scene.caption
    *objects, ground = (scene.names[i] for i in (*rng.permutation(len(scene.names) - 1), -1))
    some = objects[: rng.integers(1, len(objects) + 1)]
    about = rng.choice(3, p=(0.4, 0.4, 0.2))
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
