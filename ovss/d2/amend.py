"""What Detectron2's trainer lacks: data-parallel training on the CPU, and checkpoints that are never half written.

Used by the seam alone, where Detectron2 is the engine. Imports lite's checkpointer, not Detectron2.
"""

from typing import Any

from ovss.d2.lite.checkpoint import WholeFiles


def amend(defaults: Any) -> None:
    """Replace two names in the module `detectron2.engine.defaults`, from where its trainer takes them."""
    create_ddp_model, checkpointer = defaults.create_ddp_model, defaults.DetectionCheckpointer

    def create_on_any_device(model: Any, **settings: Any) -> Any:
        if next(model.parameters()).device.type == "cpu":
            settings.setdefault("device_ids", None)  # the default is the GPU of this process, which torch refuses
        return create_ddp_model(model, **settings)

    defaults.create_ddp_model = create_on_any_device
    defaults.DetectionCheckpointer = type("DetectionCheckpointer", (WholeFiles, checkpointer), {})
