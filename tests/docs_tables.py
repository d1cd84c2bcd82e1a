"""What the tests of the docs run in place of what a page says, and what they do not run: each row with its reason.

A command or snippet that no row names runs as it stands. Every row must be used by some page (test_docs_commands.py).
Patterns are regular expressions, tried in order, each on what the ones before have made of the command. In a
replacement {tests}, {venv} and {weights} are paths, and {new} is a word that no other command has.
"""

from typing import NamedTuple

from small_training import SMALL, as_opts

FOLDER = {
    "DATASETS.FOLDER.IMAGES": "my/images",
    "DATASETS.FOLDER.LABELS": "my/labels",
    "DATASETS.FOLDER.CLASSES": "my/classes.json",
}


def settings(*parts: dict[str, object]) -> str:
    """KEY VALUE words for a shell."""
    return " ".join(
        word if word.replace(".", "").replace("_", "").isalnum() else f'"{word}"' for word in as_opts(*parts)
    )


TWO_STEPS = settings(FOLDER, {"DATASETS.TRAIN": ("folder",), "DATASETS.TEST": (), "SOLVER.MAX_ITER": 2})
SMALL_RUN = settings(SMALL, FOLDER, {"SOLVER.MAX_ITER": 2})
SCENE_WORDS = "red star, water, sand"
TRAINS = r"(?=.*(?:train_net\.py|ovss train))(?!.*--eval-only)"


class StandIn(NamedTuple):
    pattern: str
    replacement: str
    why: str


STAND_INS = [
    # What a reader fills in.
    StandIn(
        r"^ovss segment \.\.\. ",
        "ovss segment --model cliptrase/vitb16_336 --input demo/images/chelsea.jpg --vocabulary cat,wall --output o ",
        "the dots are the reader's",
    ),
    StandIn(r"--resume \.\.\.", "--resume", "the dots are the reader's"),
    StandIn(
        r"(?:/path/|(?<=weights ))(ViT-B-16\.pt|model_base\.pth)",
        r"{weights}/\g<1>",
        "made weights, of the published names and sizes",
    ),
    # Many GPUs.
    StandIn(
        rf"^{TRAINS}.*--config-file FILE.*",
        rf"\g<0> SOLVER.IMS_PER_BATCH 4 {TWO_STEPS} OUTPUT_DIR output/{{new}}",
        "two short steps",
    ),
    StandIn(r"(?<=--config-file )FILE\b", "configs/quickstart/cat_seg.yaml", "a config"),
    StandIn(
        r"^(?=.*(?:train_net\.py|ovss (?:train|eval)))(.*(?:--num-gpus|--nproc-per-node) )[48]\b(.*)",
        r"\g<1>2\g<2> MODEL.DEVICE cpu",
        "two processes on a CPU",
    ),
    StandIn(
        r"^(ovss reproduce .*--num-gpus )4\b(.*)",
        r"\g<1>2\g<2> --opts MODEL.DEVICE cpu MODEL.TEXT.PROMPTS single",
        "two processes on a CPU, and one prompt in place of 80",
    ),
    # Real data and long trainings.
    StandIn(rf"^{TRAINS}.*vitb_384.*", rf"\g<0> {SMALL_RUN}", "a small CAT-Seg and two steps on six small pictures"),
    StandIn(r"^ovss train .*vitb_384.*", r"\g<0> OUTPUT_DIR output/{new}", "its own folder is trained in already"),
    StandIn(r"^.*--eval-only.*vitb16_336.*", r"\g<0> MODEL.TEXT.PROMPTS single", "one prompt in place of 80"),
    StandIn(
        r"ovss datasets download",
        "{venv}/bin/python {tests}/official_server.py",
        "archives of one picture from a server here",
    ),
    StandIn(
        r"&& (ovss datasets check \w+)$",
        r"&& (\g<1> || test $? = 1)",
        "one picture of 2,000 is not the whole set, which is exit code 1",
    ),
    StandIn(
        r"^.*--eval-only .*(?:model_final\.safetensors|--num-gpus 2 MODEL\.DEVICE cpu)$",
        rf"\g<0> {settings(FOLDER, {'DATASETS.TEST': ('folder',)})}",
        "six pictures in place of 200",
    ),
    StandIn(
        r'^ovss export --model cat_seg/vitb_384 --vocabulary "[^"]+"',
        f'ovss export --model quickstart/maskclip --vocabulary "{SCENE_WORDS}"',
        "an embedded model that is quickly exported; test_export_full.py exports this one",
    ),
    # A trained model that a page has not trained: the embedded CAT-Seg, which knows drawn scenes alone.
    StandIn(
        r'(--model model_final\.safetensors .*--vocabulary ")[^"]+',
        rf"\g<1>{SCENE_WORDS}",
        "words that the embedded model knows",
    ),
    # Made weights are not the published ones, which is what this command finds out.
    StandIn(
        r"^ovss weights verify$", r"(\g<0> || test $? = 1)", "made weights are not the published ones: exit code 1"
    ),
    # What this machine may lack.
    StandIn(r"--device cuda --dtype bfloat16", "--device cpu", "a CPU, which has no units for it"),
    # Programs that go on until they are stopped.
    StandIn(r"^tensorboard ", "tensorboard --inspect ", "what the page would show, as text"),
    StandIn(
        r"^ovss app",
        "{venv}/bin/python {tests}/until_served.py ovss app --port 0",
        "asked for its page, then stopped",
    ),
    StandIn(r"^make demo$", "make --assume-old={venv}/.ready VENV={venv} demo", "the environment is there"),
]


class NotRun(NamedTuple):
    pattern: str
    why: str


# They are still read: see `check_unrun` in docs_run.py.
NOT_RUN = [
    NotRun(r"^pip install ", "fetches packages from a network"),
    NotRun(r"^make test$", "this is it"),
    NotRun(r"--num-machines 2|--nnodes 2", "two machines; test_launch.py runs two on one"),
    NotRun(r"\bsbatch ", "a SLURM cluster"),
]

# Commands that take more than a few seconds, and those that need what these have made.
SLOW = [
    r"^make .*demo$",
    r"train_net\.py|ovss (train|eval|segment|bench|export|app|reproduce \w)",
    r"demo/images|demo/\w+\.py|output/quickstart",
    r"vitb16_336|vitb_384|cat_seg_vitb",
    r"model_final|output/my/|living_room\.onnx|rooms\.pt2",
    r"^tensorboard ",
]
