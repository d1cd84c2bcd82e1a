"""What Detectron2's trainer lacks: data-parallel training on the CPU, and checkpoints that are never half written.

Used by the seam alone, where Detectron2 is the engine. Imports lite's own of both, not Detectron2.
"""

from typing import Any

from ovss.d2.lite.checkpoint import WholeFiles
from ovss.d2.lite.parallel import create_ddp_model


def amend(defaults: Any) -> None:
    """Replace two names in the module `detectron2.engine.defaults`, from where its trainer takes them."""
    defaults.create_ddp_model = create_ddp_model  # Detectron2's gives every model a GPU, which torch refuses on the CPU
    defaults.DetectionCheckpointer = type("DetectionCheckpointer", (WholeFiles, defaults.DetectionCheckpointer), {})
