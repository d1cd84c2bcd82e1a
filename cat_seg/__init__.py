"""CAT-Seg (CVPR 2024), trained. Importing the package registers its Detectron2 architecture."""

from cat_seg.config import add_cat_seg_config
from cat_seg.d2 import CATSeg

__all__ = ["CATSeg", "add_cat_seg_config"]
