"""CLIPtrase (ECCV 2024), training-free. Importing the package registers its Detectron2 architecture."""

from cliptrase.d2 import CLIPtrase, add_cliptrase_config

__all__ = ["CLIPtrase", "add_cliptrase_config"]
