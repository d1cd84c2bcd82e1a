"""The table of published figures: complete, true to what the configs and the data sets are, and the page made of it."""

import re
from pathlib import Path

import pytest

from ovss import hub, published
from ovss.cli import main
from ovss.d2.api import MetadataCatalog
from ovss.model_names import CONFIGS
from ovss.published import entries, find

ROOT = Path(__file__).parent.parent
ENTRIES = entries()
WEIGHTS = (CONFIGS / "weights.yaml").read_text(encoding="utf-8")


def test_every_published_figure_is_there():
    figures = {system: 0 for system in ("cliptrase", "cat-seg")}
    for entry in ENTRIES.values():
        figures[next(system for system in figures if entry.id.startswith(system))] += len(entry.published)
    assert figures == {"cliptrase": 2 * 9 * 4, "cat-seg": 6 * 6}
    assert [id for id, entry in ENTRIES.items() if not entry.published] == [
        f"cliptrase-d2-{short}" for short in ("coco171", "voc20", "pc59", "pc459", "ade150", "ade847")
    ]


def test_some_by_hand():
    """From the authors' READMEs."""
    voc20 = find("cliptrase-336-voc20")
    assert voc20.published == {"pAcc": 89.51, "mAcc_all": 91.77, "fwIoU": 82.15, "mIoU_gt": 81.2}
    assert voc20.settings == ("MODEL.CLIPTRASE.CLASS_TOKEN_WEIGHTING", "True")
    assert find("cat-seg-vitl-pc459").published == {"mIoU_gt": 23.8}
    assert find("cat-seg-v1-vitg-swinb-ade847").published == {"mIoU_gt": 14.1}


def test_ids_and_figures_are_sound():
    for id, entry in ENTRIES.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", id)
        assert id == entry.id
        assert all(0 < value < 100 for value in entry.published.values())
        assert f"{entry.weights.name}:" in WEIGHTS
        assert entry.weights.setting == ("MODEL.CLIP.WEIGHTS" if id.startswith("cliptrase") else "MODEL.WEIGHTS")


@pytest.mark.parametrize("config", sorted({entry.config for entry in ENTRIES.values()}))
def test_entries_load(config):
    """Config, data set and settings, without weights or data; the words are the set's."""
    for entry in ENTRIES.values():
        if entry.config == config:
            cfg = hub.load(str(CONFIGS / config), ["DATASETS.TEST", f"('{entry.dataset}',)", *entry.settings])
            assert cfg.TEST.PROTOCOL.startswith("CAT-Seg" if entry.id.startswith("cat-seg") else "CLIPtrase")
            assert entry.benchmark is not None
            assert MetadataCatalog.get(entry.dataset).vocabulary.classes
            weighting = entry.dataset in ("VOC20", "voc_sem_seg_val")
            assert weighting == cfg.MODEL.CLIPTRASE.CLASS_TOKEN_WEIGHTING, "of the VOC sets without background alone"


def test_configs_point_to_their_entries():
    """Figures stand in one place; a config's header names the entries that are its."""
    for entry in ENTRIES.values():
        header = (CONFIGS / entry.config).read_text().split("_BASE_")[0]
        family = entry.id.rsplit("-", 1)[0]
        assert f"ovss reproduce {family}-" in header, entry.config


def test_an_unknown_id_names_the_nearest():
    with pytest.raises(ValueError, match=r"'cliptrase-336-voc'; did you mean 'cliptrase-336-voc2\d'"):
        find("cliptrase-336-voc")


def test_list_has_a_line_for_each(capsys):
    assert main(["reproduce", "--list"]) == 0
    head, *families = capsys.readouterr().out.strip().split("\n\n")
    assert head == "Each is run by: ovss reproduce ID [--weights FILE]"
    assert [line.split()[0] for family in families for line in family.splitlines()[4:]] == list(ENTRIES)
    listed = next(family for family in families if "cat-seg-vitb-ade847" in family).splitlines()
    assert listed[:4] == [
        "CAT-Seg, second version (CVPR 2024), ViT-B/16",
        "  config: cat_seg/vitb_384.yaml",
        "  weights: cat_seg_vitb, https://huggingface.co/spaces/hamacojr/CAT-Seg-weights/resolve/main/model_base.pth",
        "  source: README of https://github.com/cvlab-kaist/CAT-Seg at 6d3a188",
    ]
    cells = [
        "cat-seg-vitb-ade847",
        "ade20k_full_sem_seg_freq_val_all",
        "mIoU_gt 12.0",
        "ovss datasets prepare ade20k_full",
    ]
    assert re.split("  +", listed[4].strip()) == cells


def test_the_page_is_up_to_date(capsys):
    assert main(["reproduce", "--list", "--markdown"]) == 0
    advice = "run `ovss reproduce --list --markdown > docs/reproduce.md`"
    assert capsys.readouterr().out == (ROOT / "docs/reproduce.md").read_text(encoding="utf-8"), advice
    assert all(f"| `{id}` |" in published_page() for id in ENTRIES)


def published_page():
    return (ROOT / "docs/reproduce.md").read_text(encoding="utf-8")


def test_the_page_says_that_nothing_was_reproduced():
    assert "None of these figures was reproduced here" in published_page()
    assert published.NONE in published_page()
