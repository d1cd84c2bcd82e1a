"""The models by name, `cat_seg/vitb_384`: the configs that are in the package. Standard library only."""

import difflib
from pathlib import Path

CONFIGS = Path(__file__).parent / "configs"
# Folders of configs/ whose files are models; others are parts of them, or cross a model with another's protocol.
FAMILIES = ("cat_seg", "cliptrase", "quickstart")
CHECKPOINTS = (".pth", ".pt", ".bin")


def list_models() -> list[str]:
    """Names of all models that `ovss.load` and `--config-file` take; `quickstart/...` are embedded and work offline."""
    return sorted(f"{family}/{path.stem}" for family in FAMILIES for path in (CONFIGS / family).glob("*.yaml"))


def is_name(text: str) -> bool:
    """Whether this is a model's name and no file of the user's."""
    return not Path(text).exists() and text in list_models()


def config_path(text: str) -> str:
    """The config file of a name; anything else as it is, a path.

    Raises:
        ValueError: neither a name nor anything that looks like a path, or a file that holds weights alone.
    """
    if is_name(text):
        return str(CONFIGS / f"{text}.yaml")
    path = Path(text)
    if path.suffix in CHECKPOINTS:
        raise ValueError(f"{text} holds weights alone: give a model's name or a config, and {text} as its weights")
    if text and not path.suffix and not path.exists():
        near = difflib.get_close_matches(text, list_models(), n=1)
        raise ValueError(
            f"no model is called {text!r}{f', did you mean {near[0]!r}?' if near else ''}; known: "
            f"{', '.join(list_models())}; or give a .yaml config or a .safetensors model"
        )
    return text
