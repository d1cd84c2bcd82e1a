"""Prompt sets: sentences with one `{}` for the word, facts of the published systems. Imports nothing heavy.

`single`           CAT-Seg (CVPR 2024), its one prompt.
`imagenet`         the 80 prompts of CLIP (Radford et al. 2021), in OpenAI's order; CLIPtrase's paper version.
`imagenet_select`  the 8 prompts offered by CAT-Seg.
`vild`             the 14 prompts of ViLD, used by CLIPtrase's Detectron2 version.
"""

from collections.abc import Sequence

_SINGLE = ("A photo of a {} in the scene",)

_IMAGENET_SELECT = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
    "A photo of a {} in the scene",
)

_VILD = (
    "a photo of a {}.",
    "This is a photo of a {}",
    "There is a {} in the scene",
    "There is the {} in the scene",
    "a photo of a {} in the scene",
    *(f"a photo of a {size} {{}}." for size in ("small", "medium", "large")),
    *(f"This is a photo of a {size} {{}}." for size in ("small", "medium", "large")),
    *(f"There is a {size} {{}} in the scene." for size in ("small", "medium", "large")),
)


def _imagenet() -> tuple[str, ...]:
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    return tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)


_SETS = {
    "single": lambda: _SINGLE,
    "imagenet": _imagenet,
    "imagenet_select": lambda: _IMAGENET_SELECT,
    "vild": lambda: _VILD,
}


def prompt_set(name: str | Sequence[str]) -> tuple[str, ...]:
    """Return the prompts of a named set, or check and return the prompts given themselves.

    Raises:
        ValueError: unknown name, no prompt, or a prompt without exactly one `{}`.
    """
    if isinstance(name, str):
        if name not in _SETS:
            raise ValueError(f"unknown prompt set {name!r}; known: {', '.join(_SETS)}")
        return _SETS[name]()
    prompts = tuple(name)
    if not prompts:
        raise ValueError("an empty list of prompts: give at least one, such as 'a photo of a {}.'")
    for prompt in prompts:
        if prompt.count("{}") != 1:
            raise ValueError(
                f"prompt {prompt!r} has {prompt.count('{}')} places for the word, expected exactly one '{{}}'"
            )
    return prompts
