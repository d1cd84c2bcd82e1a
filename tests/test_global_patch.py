"""The global-patch picture: maps against hand-written ones, the overlap, and the demo as a user meets it."""

import importlib.util
import io
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from cliptrase.correlation import recalibrate, self_correlation
from cliptrase.global_patch import (
    GlobalPatchMaps,
    global_patch_maps,
    keep_attention_and_correlation,
    patch_at,
    spread_points,
    top_overlap,
)
from cliptrase.model import CLIPtrase
from ovss.clip.model import ASSETS
from ovss.images import ImageError

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "demo/global_patch.py"
QUERIES = [(0, 0), (1, 4), (2, 2)]


@pytest.fixture(scope="module")
def model(small_clip) -> CLIPtrase:
    return CLIPtrase(clip=small_clip)


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    """3 x 5 patches of the small CLIP, which sees 8 px a patch."""
    return torch.rand(1, 3, 24, 40, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def demo() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("global_patch_demo", SCRIPT)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def block_input(model: CLIPtrase, image: torch.Tensor) -> torch.Tensor:
    """What enters the second to last block: the output of the one before it."""
    return model.clip.visual((image - model.pixel_mean) / model.pixel_std, positions="offset", layers=[-3]).layers[-3]


@torch.no_grad()
def test_before_is_the_attention_that_one_writes_by_hand(model, image):
    block = model.clip.visual.resblocks[-2]
    tokens = F.layer_norm(block_input(model, image), (64,), block.ln_1.weight, block.ln_1.bias)[0]
    heads = []
    for head in range(4):
        part = slice(16 * head, 16 * (head + 1))
        query, key = (
            tokens @ projection.weight[part].T + projection.bias[part]
            for projection in (block.attn.q_proj, block.attn.k_proj)
        )
        weights = (query @ key.T / 4).double().exp()
        heads.append(weights / weights.sum(-1, keepdim=True))
    expected = torch.stack(heads).mean(0).float()
    maps = global_patch_maps(model, image, QUERIES)
    for query_map, row in zip(maps.before, (1 + 0, 1 + 5 + 4, 1 + 10 + 2), strict=True):
        torch.testing.assert_close(query_map.flatten(), expected[row, 1:])
        assert query_map.sum() == pytest.approx(1 - expected[row, 0].item(), abs=1e-5), "the class token takes the rest"
    torch.testing.assert_close(maps.class_attention.flatten(), expected[0, 1:])
    assert maps.overlap_before == pytest.approx(top_overlap(expected[1:, 1:]))


@torch.no_grad()
def test_after_is_the_correlation_that_the_regions_come_from(model, image):
    query, key, value = model.clip.visual.resblocks[-2].query_key_value(block_input(model, image))
    expected = recalibrate(self_correlation(query, key, value))
    maps = global_patch_maps(model, image, QUERIES)
    torch.testing.assert_close(maps.after.flatten(1), expected[0, [0, 9, 12]])
    torch.testing.assert_close(maps.after.flatten(1), model.encode(image)[1][0, [0, 9, 12]])
    assert maps.after.shape == (3, 3, 5)
    assert maps.overlap_after == pytest.approx(top_overlap(expected[0]))


@torch.no_grad()
def test_looking_changes_nothing(model, image):
    plain = model.clip.visual(image)
    watched = model.clip.visual(image, rules={-2: keep_attention_and_correlation})
    torch.testing.assert_close(watched.patches, plain.patches)


def test_the_models_input_scale_sets_the_grid(small_clip):
    halved = CLIPtrase(clip=small_clip, input_scale=0.5)
    assert global_patch_maps(halved, torch.rand(1, 3, 64, 48), [(3, 2)]).before.shape == (1, 4, 3)


@pytest.mark.parametrize(
    ("shape", "queries", "message"),
    [
        ((2, 3, 24, 40), [(0, 0)], r"not \(2, 3, 24, 40\): give one picture"),
        ((3, 24, 40), [(0, 0)], r"not \(3, 24, 40\): give one picture"),
        ((1, 3, 24, 40), [(0, 0), (3, 0)], r"query patch \(3, 0\) is outside the grid of 3 x 5"),
        ((1, 3, 24, 40), [(0, -1)], r"query patch \(0, -1\) is outside"),
        ((1, 3, 8, 8), [(0, 0)], "there are 1: take a picture of several patches"),
    ],
)
def test_mistakes_have_clear_errors(model, shape, queries, message):
    with pytest.raises(ValueError, match=message):
        global_patch_maps(model, torch.rand(shape), queries)


def peaks(*places: tuple[int, int]) -> torch.Tensor:
    """Maps of 40 places (5 % are 2), each with two peaks of different height."""
    maps = torch.zeros(len(places), 40)
    for row, (first, second) in zip(maps, places, strict=True):
        row[first], row[second] = 1, 2
    return maps


def test_overlap_by_hand():
    assert top_overlap(peaks((3, 4), (3, 4), (4, 3))) == 1
    assert top_overlap(peaks((0, 1), (2, 3), (4, 5))) == 0
    assert top_overlap(peaks((0, 1), (1, 2), (0, 1))) == pytest.approx((1 / 3 + 1 + 1 / 3) / 3)
    assert top_overlap(torch.zeros(3, 40)) == 0, "places without any value are no peaks"
    independent = torch.rand(300, 400, generator=torch.Generator().manual_seed(0))
    assert top_overlap(independent) == pytest.approx(0.026, abs=2e-3)
    with pytest.raises(ValueError, match="there are 1"):
        top_overlap(torch.zeros(1, 40))


def test_recalibration_takes_the_global_patches_away():
    """40 patches in 4 groups; 2 of them have keys along the direction that all queries and the class token share."""
    groups = F.one_hot(torch.arange(40) // 10, 5).float()
    common = torch.eye(5)[4]
    tokens = torch.cat([common[None], groups])
    query, key, value = tokens + common, tokens.clone(), tokens.clone()
    key[[1 + 7, 1 + 23]] += 10 * common
    block = types.SimpleNamespace(
        query_key_value=lambda x: [part[None, None] for part in (query, key, value)],
        output=lambda x, attended: attended,
    )
    _, (attention, correlation) = keep_attention_and_correlation(block, tokens[None])
    assert top_overlap(attention[0, 1:, 1:]) == 1, "every patch looks at patches 7 and 23"
    after = recalibrate(correlation)[0]
    assert top_overlap(after) < 0.3, "only patches of one group look at the same: 9 of the 39 others"
    same_group = groups @ groups.T > 0
    assert after[~same_group].max() < after[same_group].min()


def test_default_points_by_hand():
    assert spread_points(4, 8) == [(1, 2), (1, 6), (2, 4), (3, 2), (3, 6)]
    assert spread_points(1, 1) == [(0, 0)]


def test_patch_at_by_hand():
    assert patch_at((0, 0), (100, 200), (10, 20)) == (0, 0)
    assert patch_at((10, 9), (100, 200), (10, 20)) == (1, 0)
    assert patch_at((99, 199), (100, 200), (10, 20)) == (9, 19)
    assert patch_at((1, 0), (2, 1), (3, 4)) == (2, 2), "centres at 3/4 and 1/2 of the picture"


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (900, 3), (640, 480)])
def test_sheets_of_any_shape_have_a_place_for_everything(demo, size):
    image = np.zeros((size[1], size[0], 3), np.uint8)
    maps = GlobalPatchMaps(torch.rand(2, 3, 4), torch.rand(2, 3, 4), torch.rand(3, 4), 0.61, 0.12)
    sheet = demo.draw_sheet(image, [(0, 0), (size[0] - 1, size[1] - 1)], maps)
    assert 2 * demo.TILE < sheet.height < 3 * demo.TILE
    assert sheet.width > 3 * demo.TILE // 4
    footer = np.asarray(sheet.crop((0, sheet.height - 60, sheet.width, sheet.height)).convert("L"))
    assert (footer < 128).any(axis=0).nonzero()[0].max() < sheet.width - 5, "the text is not cut"


@pytest.fixture
def hub(monkeypatch, model):
    """Replace the building of models by a small random CLIP; "other.yaml" builds something else."""

    def transform(picture):
        if min(picture.shape[:2]) == 1:
            raise ImageError("too thin to be resized")
        return picture

    def build_predictor(config_file, opts, vocabulary, device):
        inner = model if config_file == "good.yaml" else torch.nn.Identity()
        segmentor = types.SimpleNamespace(model=inner)
        return types.SimpleNamespace(segmentor=segmentor, transform=transform)

    monkeypatch.setattr("ovss.hub.build_predictor", build_predictor)


@pytest.fixture
def photo(tmp_path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    path = tmp_path / "in/photo.png"
    path.parent.mkdir()
    Image.fromarray(pixels).save(path)
    return path


def arguments(*inputs: object, output: Path, config: str = "good.yaml", more=()) -> list[str]:
    return ["--config-file", config, "--input", *map(str, inputs), "--output", str(output), *more]


def test_a_broken_picture_is_skipped_and_the_others_are_drawn(demo, hub, photo, tmp_path, capsys):
    (photo.parent / "broken.png").write_text("no picture")
    (photo.parent / "film.mp4").write_text("no picture either")
    Image.new("RGB", (1, 9)).save(photo.parent / "thin.png")
    assert demo.main(arguments(photo.parent, output=tmp_path / "new/out")) == 1
    assert os.listdir(tmp_path / "new/out") == ["photo_global_patch.jpg"]
    output = capsys.readouterr()
    assert output.out == f"{tmp_path}/new/out/photo_global_patch.jpg\n"
    broken, thin = output.err.splitlines()
    assert broken.startswith(f"ovss: skipped: {photo.parent}/broken.png: not a readable picture")
    assert thin == f"ovss: skipped: {photo.parent}/thin.png: too thin to be resized"


def test_a_list_on_standard_input(demo, hub, photo, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{photo}\n".encode())))
    assert demo.main(arguments("-", output=tmp_path / "out")) == 0
    assert capsys.readouterr().out == f"{tmp_path}/out/photo_global_patch.jpg\n"
    film = tmp_path / "film.mp4"
    film.touch()
    assert demo.main(arguments(film, output=tmp_path / "out")) == 2
    assert capsys.readouterr().err == f"ovss: error: --input {film}: films alone, expected pictures\n"


def test_one_column_for_each_point(demo, hub, photo, tmp_path):
    widths = []
    for points in ("0,0", "0,0 49,29", "0,0 49,29 20,10"):
        assert demo.main(arguments(photo, output=tmp_path, more=["--points", points])) == 0
        widths.append(Image.open(tmp_path / "photo_global_patch.jpg").width)
    assert widths[2] - widths[1] == pytest.approx(320 * 50 / 30 + 8, abs=1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"more": ["--points", "3,4 50,0"]}, "point 50,0 is outside {photo}, which is 50 x 30 pixels"),
        ({"config": "other.yaml"}, "the config builds a SimpleNamespace, but this picture is of CLIPtrase"),
    ],
)
def test_mistakes_end_in_one_line_and_leave_nothing(demo, hub, photo, tmp_path, capsys, changed, message):
    assert demo.main(arguments(photo, output=tmp_path / "out", **changed)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ovss: error: {message.format(photo=photo)}")
    assert not (tmp_path / "out").exists()


def run_script(*given: str) -> subprocess.CompletedProcess:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), *given]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)


@pytest.mark.parametrize(
    ("points", "name", "message"),
    [
        ("1;2", "in/photo.png", "argument --points: expected 1 to 8 points such as '120,80 300,200', not '1;2'"),
        ("", "in/photo.png", "argument --points: expected 1 to 8 points"),
        ("1,2 " * 9, "in/photo.png", "argument --points: expected 1 to 8 points"),
        ("1,2", "absent.png", "{folder}/absent.png: no such file or folder"),
    ],
)
def test_the_script_answers_bad_usage_with_one_line(photo, tmp_path, points, name, message):
    done = run_script(*arguments(tmp_path / name, output=tmp_path / "out", more=["--points", points]))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"ovss: error: {message.format(folder=tmp_path)}")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not (ASSETS / "tiny_clip.safetensors").exists(), reason="no embedded tiny CLIP in ovss/assets")
def test_the_script_draws_a_photo_with_the_embedded_clip(photo, tmp_path):
    tiny = ["--device", "cpu", "--opts", "MODEL.CLIP.NAME", "tiny", "INPUT.MIN_SIZE_TEST", "128"]
    config = str(ROOT / "configs/cliptrase/vitb16_336.yaml")
    done = run_script(*arguments(photo, output=tmp_path / "out", config=config, more=["--points", "5,5 40,20", *tiny]))
    assert done.returncode == 0, done.stderr
    target = tmp_path / "out/photo_global_patch.jpg"
    assert done.stdout == f"{target}\n"
    assert Image.open(target).format == "JPEG"
