"""Fixtures that several test files share. Tests never touch the user's cache or the network."""

import json
import logging
import os
from pathlib import Path

# One thread each, for the programs that tests start too: the suite runs in as many processes as there are cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest
import torch
from hypothesis import settings

settings.register_profile("project", deadline=None, derandomize=True)  # the same examples everywhere, however slow
settings.load_profile("project")

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture(autouse=True)
def private_cache(tmp_path_factory, monkeypatch):
    """One cache for the whole run, outside the user's."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("OVSS_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def shared():
    """The folder of full-size expected tensors and real samples, beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not here: full-size expected tensors and samples live outside the repository")
    return SHARED


@pytest.fixture(scope="session")
def small_config():
    """An open_clip model config small enough for exact comparisons in a second."""
    return {
        "embed_dim": 24,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "layers": 4, "width": 64, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }


@pytest.fixture(scope="session")
def small_clip(small_config):
    """A small CLIP with seeded random weights."""
    from ovss.clip.model import CLIP

    torch.manual_seed(0)
    return CLIP(small_config).eval()


@pytest.fixture(scope="session")
def varied_clip(small_config):
    """A random CLIP whose patches differ enough for several regions."""
    from ovss.clip.model import CLIP

    torch.manual_seed(3)
    clip = CLIP(small_config).eval()
    with torch.no_grad():
        clip.visual.positional_embedding.mul_(3)
    return clip


@pytest.fixture(scope="session")
def rule_weights(tmp_path_factory):
    """ViT-B/16 in OpenAI's keys with the weights that the expected tensors were made with, as a file."""
    from golden_weights import make_tensor

    keys = json.loads((ROOT / "tests/golden/openai_vitb16_keys.json").read_text())
    path = tmp_path_factory.mktemp("weights") / "vitb16_rule.pt"
    torch.save({key: torch.from_numpy(np.array(make_tensor(key, shape))) for key, shape in keys}, path)
    return path


@pytest.fixture(scope="session")
def rule_clip(rule_weights):
    from ovss.clip.weights import load_clip

    return load_clip("ViT-B/16", rule_weights)


@pytest.fixture
def restored_loggers():
    """Undo what `setup_logger` does to the global loggers, and close the files."""
    loggers = [logging.getLogger(name) for name in ("fvcore", "ovss", "detectron2")]
    before = [(logger.level, logger.propagate, [*logger.handlers]) for logger in loggers]
    yield
    for logger, (level, propagate, handlers) in zip(loggers, before, strict=True):
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler) and handler not in handlers:
                handler.close()
        logger.handlers[:] = handlers
        logger.level, logger.propagate = level, propagate
