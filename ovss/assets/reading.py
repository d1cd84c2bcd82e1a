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

    Small scenes with one object and single words come first, at a fraction of the cost: with long sentences from the
    start, shapes are told apart several times later. Then `captions` and many objects make the model keep apart what
    is where.
    """

    share: float
    side: int
    max_objects: int
    batch: int
    captions: bool = True


STAGES = (
    Stage(0.45, side=48, max_objects=1, batch=72, captions=False),
    Stage(0.30, side=64, max_objects=2, batch=80),
    Stage(0.15, side=96, max_objects=4, batch=64),
    Stage(0.10, side=128, max_objects=5, batch=48),
)


def stage_of(step: int, steps: int) -> Stage:
    """The stage that step 0 <= `step` < `steps` belongs to."""
    end = 0.0
    for stage in STAGES:
        end += stage.share
        if step < end * steps:
            return stage
    return STAGES[-1]


@dataclass(frozen=True)
class Sentences:
    """M different sentences, and `true_of` (B,M) bool: which of a batch's B pictures each of them is true of."""

    texts: list[str]
    true_of: Tensor


class Reading(Dataset):
    """Item `step` is that step's batch: images (B,3,S,S) uint8, and lists of sentences that compete with each other.

    It is a function of (seed, step).
    """

    def __init__(self, *, steps: int, seed: int):
        self.steps, self.seed = steps, seed

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[Tensor, list[Sentences]]:
        stage = stage_of(step, self.steps)
        rng = np.random.Generator(np.random.PCG64([CAPTIONS_STREAM, self.seed, step]))
        seeds = ((CAPTIONS_STREAM, self.seed, step, index) for index in range(stage.batch))
        scenes = [draw_scene(seed, side=stage.side, max_objects=stage.max_objects) for seed in seeds]
        kinds = [words_for(scenes, rng)]
        if stage.captions:
            kinds.append(sentences_of([{scene.caption} for scene in scenes]))
        return stack_images(scenes), kinds


def stack_images(scenes: list[Scene]) -> Tensor:
    """Images (B,3,S,S) uint8 of scenes of one size."""
    return torch.from_numpy(np.stack([scene.image for scene in scenes])).permute(0, 3, 1, 2)


def sentences_of(said: list[set[str]]) -> Sentences:
    """The different ones of the sentences `said` about each picture, in alphabetical order."""
    texts = sorted(set().union(*said))
    return Sentences(texts, torch.tensor([[text in own for text in texts] for own in said]))


def words_for(scenes: list[Scene], rng: Generator) -> Sentences:
    """Each word for something in sight, bare or in a prompt: "red star", the kind "star" alone, "brick wall".

    Kinds are named alone because colours, learned at once, drown them in "red star".
    """
    words = sentences_of([{*scene.names, *(name.split()[1] for name in scene.names[:-1])} for scene in scenes])
    bare = rng.random(len(words.texts)) < 0.6
    prompts = (PROMPTS[i] for i in rng.integers(len(PROMPTS), size=len(words.texts)))
    texts = [
        word if alone else prompt.format(word) for word, alone, prompt in zip(words.texts, bare, prompts, strict=True)
    ]
    return Sentences(texts, words.true_of)


def known_token_ids() -> list[int]:
    """Ascending ids, in open_clip's table, of every token that may occur in a sentence; 0 is the padding."""
    tokenizer = SimpleTokenizer()
    words = ("a", "the", "and", ",", *CLASSES, *PROMPTS, *SENTENCES)
    texts = [text.replace("{}", " ").replace("{objects}", " ").replace("{ground}", " ") for text in words]
    # A sentence glues its full stop to what comes before, never to another mark.
    ids = {token for text in (*texts, "star.", "wall.", "star,") for token in tokenizer.encode(text)}
    return sorted(ids | {0, tokenizer.sot_token_id, tokenizer.eot_token_id})
