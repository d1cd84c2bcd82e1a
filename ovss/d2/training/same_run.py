"""Whether a config goes on with the run of a checkpoint: what must be the same, and what had better be. The config."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovss.d2.api import CfgNode
from ovss.d2.config import by_dotted_key

logger = logging.getLogger(__name__)
_SECTIONS = ("DATASETS.TRAIN", "INPUT.", "LOSS.", "MODEL.", "SOLVER.")
# Of the machine, of the end of the run or of tests: these may change at any time.
_FREE = ("MODEL.DEVICE", "MODEL.WEIGHTS", "MODEL.CLIP.WEIGHTS", "SOLVER.MAX_ITER", "SOLVER.CHECKPOINT_PERIOD")
# With another one the crops left would be those of neither run.
_FIXED = ("DATASETS.TRAIN", "SOLVER.IMS_PER_BATCH")


def run_facts(cfg: CfgNode, *, seed: int, records: int) -> dict[str, Any]:
    """What a checkpoint tells of its run, as plain values: the `seed` of its crops, drawn or given; how many `records`
    its data sets have; MAX_ITER; the settings of training."""
    settings = {
        key: value for key, value in by_dotted_key(cfg).items() if key.startswith(_SECTIONS) and not _is_free(key)
    }
    facts = {"seed": seed, "records": records, "max_iter": cfg.SOLVER.MAX_ITER, "settings": settings}
    return json.loads(json.dumps(facts))


def _is_free(key: str) -> bool:
    return key in _FREE or key.endswith("_TEST")


def check_same_run(path: Path, before: Mapping[str, Any] | None, now: Mapping[str, Any], seed: int) -> int:
    """The seed to go on with; the log says which settings are others than before.

    Args:
        path: the checkpoint, for messages.
        before: its `run_facts`; None for one that does not tell.
        now: those of the present config.
        seed: SEED of the config; a negative one takes that of the run.

    Raises:
        ValueError: other crops than those of the run.
    """
    if before is None:
        logger.warning(f"{path} does not tell the settings of its run: seed, data sets and batch size are not checked")
        return now["seed"]
    pairs = [(key, before["settings"].get(key), now["settings"].get(key)) for key in _FIXED]
    pairs += [("number of training pictures", before["records"], now["records"])]
    pairs += [("SEED", before["seed"], seed)] if seed >= 0 else []
    different = [f"{key} {now_value!r}, the run had {value!r}" for key, value, now_value in pairs if value != now_value]
    if different:
        raise ValueError(
            f"checkpoint {path} is of a run on other crops: {'; '.join(different)}. Set them as they were, "
            f"or start a new run in another OUTPUT_DIR with MODEL.WEIGHTS {path}, without --resume"
        )
    both = sorted(before["settings"].keys() & now["settings"].keys())  # each engine has keys of its own
    changed = [f"{key} {before['settings'][key]!r} -> {now['settings'][key]!r}" for key in both]
    changed = [line for line, key in zip(changed, both, strict=True) if before["settings"][key] != now["settings"][key]]
    if changed:
        logger.warning(f"settings changed since {path}, they hold from here on: {'; '.join(changed)}")
    if before["max_iter"] != now["max_iter"]:
        logger.info(
            f"SOLVER.MAX_ITER {now['max_iter']} instead of {before['max_iter']}: "
            "learning rates follow the schedule of the new length from here on"
        )
    return before["seed"]
