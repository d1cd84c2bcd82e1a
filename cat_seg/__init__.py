"""CAT-Seg (CVPR 2024), trained. Importing the package registers its Detectron2 architecture."""

from cat_seg.d2 import CATSeg, add_cat_seg_config

__all__ = ["CATSeg", "add_cat_seg_config"]
