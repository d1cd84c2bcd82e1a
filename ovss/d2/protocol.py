"""The test protocol of a config in words, from the values that act. No result is printed without it."""

from ovss.d2.api import CfgNode
from ovss.templates import prompt_set

# What the two definitions in every table are.
MIOU = "mIoU_gt is over classes in the ground truth, mIoU_union over those in the ground truth or an answer"


def describe(cfg: CfgNode) -> dict[str, str]:
    """What scores depend on beside model and data: "protocol" (TEST.PROTOCOL), "resolution", "prompts", "background",
    "computing", "mIoU", each one line.

    Raises:
        ValueError: an unknown prompt set.
    """
    prompts = len(prompt_set(cfg.MODEL.TEXT.PROMPTS))
    return {
        "protocol": cfg.TEST.PROTOCOL or "none named (TEST.PROTOCOL)",
        "resolution": _resolution(cfg),
        "prompts": f"{prompts} ({cfg.MODEL.TEXT.PROMPTS}), synonyms: {cfg.MODEL.TEXT.SYNONYMS}",
        "background": _background(cfg),
        "computing": _computing(cfg),
        "mIoU": f"{MIOU}; {cfg.TEST.EPSILON:g} added to denominators" if cfg.TEST.EPSILON else MIOU,
    }


def _resolution(cfg: CfgNode) -> str:
    given, test = cfg.INPUT, cfg.TEST
    steps = [f"short side {given.MIN_SIZE_TEST} px ({given.INTERPOLATION_TEST})"]
    if given.CENTER_CROP_TEST:
        steps.append("centre crop, scored on the crop")
    else:
        steps[0] += f", long side at most {given.MAX_SIZE_TEST}"
    if test.AUG.ENABLED:
        mirrored = " and mirrored" if test.AUG.FLIP else ""
        steps.append(f"then short sides {', '.join(map(str, test.AUG.MIN_SIZES))} px{mirrored}, averaged")
    if test.SLIDING_WINDOW:
        height, width = test.WINDOW_CANVAS
        steps.append(
            f"squashed to {height} x {width}, windows of {test.WINDOW_SIZE} px with overlap {test.WINDOW_OVERLAP:g} "
            f"{'and a view of the whole' if test.WINDOW_WHOLE else 'alone'}"
        )
    else:
        steps.append(f"fitted to the patch grid by {given.SIZE_FIT}")
    if not given.CENTER_CROP_TEST:
        steps.append("scored at the picture's own size")
    return "; ".join(steps)


def _computing(cfg: CfgNode) -> str:
    kept = cfg.TEST.KEPT_CLASSES
    if kept < 0:
        return cfg.TEST.PRECISION
    return f"{cfg.TEST.PRECISION}; " + (f"a view keeps {kept} classes" if kept else "a view keeps all classes")


def _background(cfg: CfgNode) -> str:
    rules = ["background words count as one class"]
    if cfg.TEST.VOID_AS_BACKGROUND:
        rules.append("where there are any, pixels without a label count as it too")
    else:
        rules.append("pixels without a label are not scored")
    if cfg.TEST.SKIP_BACKGROUND_ALONE:
        rules.append("pictures of background alone are left out")
    return "; ".join(rules)
