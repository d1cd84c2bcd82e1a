"""From `--num-gpus` and MODEL.DEVICE to processes and a device; which errors are a user's. Standard library."""

import re

# Mistakes of a user (files, words, settings), as against mistakes of this code.
USER_ERRORS = (ValueError, OSError)


def resolve_devices(num_gpus: int, device: str, cuda_count: int, option: str = "--num-gpus") -> tuple[int, str]:
    """Return (processes on this machine, device) for `--num-gpus`, MODEL.DEVICE and the number of GPUs of the machine.

    `--num-gpus 0`, or 1 where there is no GPU, means the CPU; on the device "cpu" it counts processes instead. `option`
    is the name under which the number was given.

    Raises:
        ValueError: more GPUs than there are, or an unknown device.
    """
    if num_gpus < 0:
        raise ValueError(f"{option} {num_gpus}: give 0 for the CPU or a number of GPUs")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise ValueError(f"MODEL.DEVICE {device!r} is unknown; known: cpu, cuda, cuda:<number>")
    if device == "cpu":
        return max(num_gpus, 1), "cpu"
    if num_gpus == 0 or (cuda_count == 0 and num_gpus == 1):
        return 1, "cpu"
    if num_gpus > cuda_count:
        raise ValueError(
            f"{option} {num_gpus}, but this machine has {cuda_count}: ask for at most that many, "
            "or add MODEL.DEVICE cpu to run that many processes on the CPU"
        )
    if device == "cuda":
        return num_gpus, device
    if num_gpus > 1:
        raise ValueError(f"{option} {num_gpus}, but MODEL.DEVICE {device} is a single GPU: set MODEL.DEVICE cuda")
    if int(device.removeprefix("cuda:")) >= cuda_count:
        raise ValueError(f"MODEL.DEVICE {device}, but this machine has {cuda_count} GPUs, numbered from 0")
    return 1, device


def plain_message(error: BaseException) -> str:
    """What an error says, without the traceback that a loading process wraps around it."""
    text = str(error)
    if "in DataLoader worker process" not in text:
        return text
    return text.strip().splitlines()[-1].split(": ", 1)[-1]
