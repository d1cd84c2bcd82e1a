"""What Detectron2's trainer lacks: data-parallel training on the CPU.

Used by the seam alone, where Detectron2 is the engine. Imports lite's own, not Detectron2.
"""

from typing import Any

from ovss.d2.lite.parallel import create_ddp_model


def amend(defaults: Any) -> None:
    """Replace a name in the module `detectron2.engine.defaults`, from where its trainer takes it."""
    defaults.create_ddp_model = create_ddp_model  # Detectron2's gives every model a GPU, which torch refuses on the CPU
