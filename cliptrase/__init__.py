"""CLIPtrase (ECCV 2024): training-free open-vocabulary segmentation. Importing it registers the Detectron2 architecture."""

from cliptrase.d2 import CLIPtrase, add_cliptrase_config

__all__ = ["CLIPtrase", "add_cliptrase_config"]
