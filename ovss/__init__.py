"""Open-vocabulary semantic segmentation: label every pixel of any picture with any words.

    model = ovss.load("cat_seg/vitb_384")
    model.segment("photo.jpg", "cat, sofa, wall").save("out")

Importing the package is quick: nothing heavy (torch, open_clip, cv2) is loaded before it is needed.
"""

from typing import TYPE_CHECKING, Any

from ovss.model_names import list_models

if TYPE_CHECKING:
    from ovss.models import load
    from ovss.predictor import Predictor
    from ovss.segmentation import Segmentation
    from ovss.vocabulary import Vocabulary

__version__ = "0.1.0"
__all__ = ["Predictor", "Segmentation", "Vocabulary", "list_models", "load"]

_HOMES = {"load": "models", "Predictor": "predictor", "Segmentation": "segmentation", "Vocabulary": "vocabulary"}


def __getattr__(name: str) -> Any:
    """The public names that need torch or numpy, imported when they are asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ovss' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"ovss.{_HOMES[name]}"), name)
