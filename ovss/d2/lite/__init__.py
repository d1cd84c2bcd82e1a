"""A small pure-Python subset of Detectron2's API on fvcore, iopath and torch, for machines without Detectron2.

Only the seam (`ovss.d2.api` and `ovss.d2.amend`) imports from here, and only what serves the names that it lists is
here. Nothing here imports any other room of the project.
"""
