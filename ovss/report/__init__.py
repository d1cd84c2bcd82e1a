"""The report of an evaluation: one HTML page that stands alone.

Imports numpy, Pillow and, in `plots.py` alone, matplotlib; never torch, never ovss.d2.
"""
