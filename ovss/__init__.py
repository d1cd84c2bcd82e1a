"""Open-vocabulary semantic segmentation: label every pixel of any picture with any words.

Importing the package is quick: nothing heavy (torch, open_clip, cv2) is loaded before it is needed.
"""

__version__ = "0.1.0"
