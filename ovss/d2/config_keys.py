"""The project's config keys. A system's own live in its room."""

from ovss.d2.api import CfgNode


def add_ovss_config(cfg: CfgNode) -> None:
    """Add the keys that both systems share to Detectron2's."""
    # What reports call this config: by default the path of its file below configs/.
    cfg.CONFIG_NAME = ""
    # Words for pictures that bring none (demo): a class file, or words separated by commas. Data sets bring their own.
    cfg.MODEL.VOCABULARY = ""
    cfg.MODEL.CLIP = CfgNode()
    # Architecture, a name of ovss/clip/model.py: ViT-B/16, ViT-L/14@336, ViT-H-14, ..., or the embedded "tiny".
    cfg.MODEL.CLIP.NAME = "ViT-B/16"
    # File or folder of weights, or a name of `ovss weights list`; empty: the published ones, downloaded once.
    cfg.MODEL.CLIP.WEIGHTS = ""
    # MiB that a pass may keep of what it could also make again, for all words together; beyond that it takes longer
    # instead. 0: a quarter of the free memory, at most 1024.
    cfg.MODEL.MEMORY_BUDGET = 0
    cfg.MODEL.TEXT = CfgNode()
    # Prompt set of ovss/templates.py: single, imagenet (80), imagenet_select (8), vild (14).
    cfg.MODEL.TEXT.PROMPTS = "imagenet"
    # Synonyms of a class: first, average, joined ("car, auto" as one phrase), each (one row of text per synonym).
    cfg.MODEL.TEXT.SYNONYMS = "joined"
    # Interpolation of the test resize: bilinear (Detectron2) or bicubic (CLIP's own).
    cfg.INPUT.INTERPOLATION_TEST = "bilinear"
    # Crop the centre square of the resized picture and score there (protocol of CLIPtrase's paper). Evaluation only.
    cfg.INPUT.CENTER_CROP_TEST = False
    # How a picture meets the patch grid: "pad" (as published; the border stays in the answer) or "resize".
    cfg.INPUT.SIZE_FIT = "pad"
    # Training: change colours as SSD does. Crops are padded on the right and below to this square, in pixels; 0: not.
    cfg.INPUT.COLOR_AUG_SSD = False
    cfg.INPUT.SIZE_DIVISIBILITY = 0
    # Crops with more than this share of one class are drawn again, up to ten times; 1: never.
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 1.0
    # Training pictures whose files cannot be used are replaced and reported, up to this many in a run; 0: stop at the
    # first.
    cfg.DATALOADER.MAX_UNREADABLE = 10
    # Seconds that a step may wait for its pictures before the run ends, where processes load them; 0: for ever.
    cfg.DATALOADER.TIMEOUT = 600
    # Value of pixels without a label in the loss; those of a data set are turned into it.
    cfg.LOSS = CfgNode()
    cfg.LOSS.IGNORE_LABEL = 255
    # Training: iterations between lines in the log, in metrics.json and in TensorBoard, which look back as far.
    cfg.LOG_PERIOD = 20
    # Also send config, scalars, pictures and scores to Weights & Biases (pip install 'ovss[wandb]'); its environment
    # variables say as whom and how, such as WANDB_ENTITY and WANDB_MODE=offline. An empty name: one of its own.
    cfg.WANDB = CfgNode()
    cfg.WANDB.ENABLED = False
    cfg.WANDB.PROJECT = "ovss"
    cfg.WANDB.NAME = ""
    # ADAMW or SGD. SOLVER.CLIP_GRADIENTS.CLIP_TYPE may also be full_model: the norm of all gradients together.
    cfg.SOLVER.OPTIMIZER = "ADAMW"
    # Weight decay of embeddings; SOLVER.WEIGHT_DECAY_NORM is that of norms.
    cfg.SOLVER.WEIGHT_DECAY_EMBED = 0.0
    # Learning rates of CLIP and of an appearance backbone, as fractions of SOLVER.BASE_LR.
    cfg.SOLVER.CLIP_MULTIPLIER = 0.01
    cfg.SOLVER.BACKBONE_MULTIPLIER = 0.0
    # Micro-batches that each process cuts its share of a batch into: memory of one, gradients of all.
    cfg.SOLVER.ACCUMULATE = 1
    # What SOLVER.AMP.ENABLED computes in: bfloat16, which has float32's range, or float16, which Detectron2 takes and
    # GPUs before Ampere need; it is finer, and losses are scaled for it. The published models were trained without.
    cfg.SOLVER.AMP.DTYPE = "bfloat16"
    # Name of the test protocol whose values these are (configs/protocols), shown with every result.
    cfg.TEST.PROTOCOL = ""
    # Test on overlapping windows averaged with a view of the whole picture (CAT-Seg's protocol), or on the whole alone.
    cfg.TEST.SLIDING_WINDOW = False
    # The picture is squashed to this (height, width) in pixels, and cut into windows of this side and overlap (share).
    cfg.TEST.WINDOW_CANVAS = [640, 640]
    cfg.TEST.WINDOW_SIZE = 384
    cfg.TEST.WINDOW_OVERLAP = 0.333
    # Average them with a view of the whole picture (published). False: windows alone, an approximation.
    cfg.TEST.WINDOW_WHOLE = True
    # CAT-Seg: classes that a view keeps, those most similar to it. Fewer are an approximation that saves time, 0 is
    # all; -1: as many as in training (published: 256, first version all).
    cfg.TEST.KEPT_CLASSES = -1
    # What matrix products and convolutions are computed in at test: float32 (published), bfloat16 or float16, which
    # GPUs and some CPUs (AVX-512 BF16, AMX) do faster, and others slower. Cosines, sums over classes and probabilities
    # are float32 always.
    cfg.TEST.PRECISION = "float32"
    # Pixels without a label count as background (protocol of CLIPtrase's paper), in sets that have a background class
    # and whose own label map leaves the question open.
    cfg.TEST.VOID_AS_BACKGROUND = False
    # Leave out pictures of which nothing but background is scored (the same protocol's script passes over them).
    cfg.TEST.SKIP_BACKGROUND_ALONE = False
    # Added to the denominators of class accuracy and IoU: 0.01 in CLIPtrase's own script, 0 in Detectron2.
    cfg.TEST.EPSILON = 0.0
    # Keep the predictions: a label image of each picture (pixel value = class), written as it comes; and one JSON file
    # of run-length encoded segments, Detectron2's and COCO's format.
    cfg.TEST.SAVE_LABELS = False
    cfg.TEST.SAVE_PREDICTIONS = False
    # Write a page of the results beside them: scores, classes, the best and the worst pictures. Needs no network.
    cfg.TEST.REPORT = True
    # One's own data as DATASETS.TEST "('folder',)": pictures, label images of the same stems, a class file.
    cfg.DATASETS.FOLDER = CfgNode()
    cfg.DATASETS.FOLDER.IMAGES = ""
    cfg.DATASETS.FOLDER.LABELS = ""
    cfg.DATASETS.FOLDER.CLASSES = ""
    # Value of pixels without a label.
    cfg.DATASETS.FOLDER.IGNORE_LABEL = 255
