"""Deterministic weights, a function of a tensor's name and shape alone: whoever follows this rule gets the same model.

The expected tensors of tests/golden were computed by the authors' code on these weights. Rule, for OpenAI's keys
(CLIPtrase) and the released CAT-Seg's:
n = standard normal float32 of PCG64(crc32(key)); `logit_scale` is log(100); embeddings and Swin's tables of biases
0.02 n (the visual position embedding 0.3 n); running variances 1 + 0.1 |n|; 1-D weights 1 + 0.1 n; other 1-D tensors
0.02 n; the rest n / sqrt(fan in), 0.3 times that for the visual `attn.out_proj`.
"""

import math
import zlib

import numpy as np

# x @ P parameters and transposed convolutions: the fan in is the first dimension.
FIRST_DIM_KEYS = ("visual.proj", "text_projection", "upsample1.weight", "upsample2.weight", ".up.weight")


def make_tensor(key: str, shape: list[int]) -> np.ndarray:
    last = key.rsplit(".", 1)[-1]
    if last == "logit_scale":
        return np.full(shape, math.log(100.0), np.float32)
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    noise = np.asarray(generator.standard_normal(tuple(shape), dtype=np.float32), np.float32)
    if last.endswith(("positional_embedding", "class_embedding")):
        return noise * np.float32(0.3 if key == "visual.positional_embedding" else 0.02)
    if last == "relative_position_bias_table":
        return noise * np.float32(0.02)
    if last == "running_var":
        return np.float32(1) + np.float32(0.1) * np.abs(noise)
    if len(shape) == 1:
        return np.float32(1) + np.float32(0.1) * noise if last == "weight" else noise * np.float32(0.02)
    fan_in = shape[0] if key.endswith(FIRST_DIM_KEYS) else math.prod(shape[1:])
    gain = 0.3 if key.startswith("visual.") and key.endswith("attn.out_proj.weight") else 1.0
    return noise * np.float32(gain / math.sqrt(fan_in))
