"""A small pure-Python subset of Detectron2's API on fvcore, iopath and torch, for machines without Detectron2.

Only `ovss.d2.api` imports from here, and only what serves the names that it lists is here. Nothing here imports any
other room of the project.
"""
