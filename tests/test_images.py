"""Every kind of picture file becomes the right RGB; every broken one becomes one clear message."""

import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ovss import images
from ovss.images import ImageError, find_images, image_size, read_image, read_label_image

RGB = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [200, 150, 100], [255, 255, 255]]], np.uint8)


def save(path: Path, pixels: np.ndarray, **options) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int) -> bytes:
    """An 8-bit RGB PNG that claims this size and has no pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"")


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "ppm"])
def test_lossless_rgb_is_read_exactly(tmp_path, suffix):
    read = read_image(save(tmp_path / f"a.{suffix}", RGB))
    assert read.dtype == np.uint8
    assert read.flags.writeable
    np.testing.assert_array_equal(read, RGB)


def test_jpeg_and_webp_keep_flat_colour(tmp_path):
    flat = np.full((16, 24, 3), (180, 90, 40), np.uint8)
    for suffix in ("jpg", "webp"):
        read = read_image(save(tmp_path / f"a.{suffix}", flat, quality=95))
        assert read.shape == (16, 24, 3)
        assert np.abs(read.astype(int) - flat).max() <= 4


def test_exif_orientation_is_applied(tmp_path):
    """Orientation 6: the stored picture must be turned 90 degrees clockwise to be upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    read = read_image(save(tmp_path / "a.png", RGB, exif=exif))
    np.testing.assert_array_equal(read, np.rot90(RGB, k=-1))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_does_not_lose_the_picture(tmp_path):
    path = save(tmp_path / "a.jpg", RGB, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7f garbage")
    assert read_image(path).shape == RGB.shape


def test_grey_is_repeated(tmp_path):
    grey = np.array([[0, 100, 255]], np.uint8)
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", grey)), np.repeat(grey[..., None], 3, axis=2))
    Image.fromarray(grey > 50).save(tmp_path / "one_bit.png")
    np.testing.assert_array_equal(read_image(tmp_path / "one_bit.png")[0, :, 1], [0, 255, 255])


def test_palette_and_its_transparency(tmp_path):
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    picture.putpalette([255, 0, 0, 0, 255, 0, 9, 9, 9])
    picture.save(tmp_path / "opaque.png")
    np.testing.assert_array_equal(read_image(tmp_path / "opaque.png"), [[[255, 0, 0], [0, 255, 0], [9, 9, 9]]])
    picture.save(tmp_path / "clear.png", transparency=2)
    np.testing.assert_array_equal(read_image(tmp_path / "clear.png"), [[[255, 0, 0], [0, 255, 0], [255, 255, 255]]])


def test_alpha_is_composited_on_white(tmp_path):
    rgba = np.array([[[100, 0, 0, 255], [100, 0, 0, 0], [0, 0, 0, 51]]], np.uint8)
    read = read_image(save(tmp_path / "a.png", rgba))
    np.testing.assert_array_equal(read, [[[100, 0, 0], [255, 255, 255], [204, 204, 204]]])  # 0.8 * 255 = 204
    grey_alpha = np.array([[[7, 255], [7, 0]]], np.uint8)
    np.testing.assert_array_equal(read_image(save(tmp_path / "la.png", grey_alpha))[0, :, 0], [7, 255])


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path, suffix):
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), np.array([[0, 255, 256, 32768, 65535]], np.uint16))
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}")[0, :, 2], [0, 0, 1, 128, 255])


def test_sixteen_bit_grey_turns_and_clears(tmp_path):
    """EXIF orientation 3 (half a turn), then also a transparent value (0), both on 16-bit grey."""
    exif = Image.Exif()
    exif[0x0112] = 3
    picture = Image.fromarray(np.array([[0, 512, 65535]], np.uint16))
    picture.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0, :, 0], [255, 2, 0])
    before, after = (tmp_path / "a.png").read_bytes().split(b"IDAT")
    (tmp_path / "b.png").write_bytes(before[:-4] + chunk(b"tRNS", b"\0\0") + before[-4:] + b"IDAT" + after)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png")[0, :, 0], [255, 2, 255])


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_colour(tmp_path, suffix):
    bgr = np.array([[[0, 32768, 65535], [256, 512, 1024]]], np.uint16)
    cv2.imwrite(str(tmp_path / f"rgb.{suffix}"), bgr)
    np.testing.assert_array_equal(read_image(tmp_path / f"rgb.{suffix}"), [[[255, 128, 0], [4, 2, 1]]])
    alpha = np.array([[[65535], [0]]], np.uint16)
    cv2.imwrite(str(tmp_path / f"rgba.{suffix}"), np.concatenate([bgr, alpha], axis=2))
    np.testing.assert_array_equal(read_image(tmp_path / f"rgba.{suffix}"), [[[255, 128, 0], [255, 255, 255]]])


def test_cmyk(tmp_path):
    Image.new("CMYK", (4, 2), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.full((2, 4, 3), (255, 0, 0)))


def test_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "blue", "lime")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif"), np.full((4, 6, 3), (255, 0, 0)))


def bad_files(folder: Path) -> dict[str, str]:
    """File name -> what its message must say."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for suffix in ("png", "jpg", "tif", "gif", "webp"):
        whole = save(folder / f"whole.{suffix}", noise).read_bytes()
        (folder / f"cut.{suffix}").write_bytes(whole[: len(whole) * 2 // 3])
    (folder / "empty.png").touch()
    (folder / "words.jpg").write_text("this is no picture")
    (folder / "script.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (folder / "bomb.png").write_bytes(png_header(50_000, 40_000))
    (folder / "folder.png").mkdir()
    cv2.imwrite(str(folder / "float.tif"), np.ones((4, 4), np.float32))
    cv2.imwrite(str(folder / "int32.tif"), np.ones((4, 4), np.int32))
    return {
        **dict.fromkeys(("cut.png", "cut.jpg", "cut.tif", "cut.gif", "cut.webp"), ""),
        **dict.fromkeys(("empty.png", "words.jpg", "script.eps"), "not a readable picture"),
        "bomb.png": f"2000000000 pixels.* {images.MAX_PIXELS}",
        "folder.png": "no such file",
        "absent.png": "no such file",
        "float.tif": "float or 32-bit values",
        "int32.tif": "float or 32-bit values",
    }


def test_bad_files_are_one_error_that_names_the_file_and_the_reason(tmp_path):
    for name, message in bad_files(tmp_path).items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some decoders warn before they fail
            with pytest.raises(ImageError, match=rf"{name}: .*{message}") as caught:
                read_image(tmp_path / name)
        assert str(caught.value).removeprefix(f"{tmp_path / name}: ").strip(), f"{name}: no reason given"


def test_pixel_limit(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", RGB)
    monkeypatch.setattr(images, "MAX_PIXELS", 6)
    assert read_image(path).shape == (2, 3, 3)
    monkeypatch.setattr(images, "MAX_PIXELS", 5)
    with pytest.raises(ImageError, match="3 x 2 = 6 pixels, more than the limit of 5"):
        read_image(path)


def test_a_large_picture_within_the_limit_gives_no_warning(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", RGB)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)  # Pillow warns above this, and refuses above twice this
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path).shape == (2, 3, 3)


def test_find_images_expands_files_folders_and_globs(tmp_path):
    for name in ("b.png", "a.JPG", ".hidden.png", "notes.txt", "c.png"):
        (tmp_path / name).touch()
    (tmp_path / "sub.png").mkdir()
    (tmp_path / "we[i]rd.png").touch()

    def names(inputs):
        return [path.name for path in find_images(inputs)]

    assert names([tmp_path]) == ["a.JPG", "b.png", "c.png", "we[i]rd.png"]
    assert names([f"{tmp_path}/*"]) == ["a.JPG", "b.png", "c.png", "we[i]rd.png"]
    assert names([f"{tmp_path}/[cb].png"]) == ["b.png", "c.png"]
    assert names([tmp_path / "notes.txt"]) == ["notes.txt"], "a file given by name is tried whatever its suffix"
    assert names([tmp_path / "we[i]rd.png"]) == ["we[i]rd.png"]
    assert names([tmp_path / "c.png", tmp_path]) == ["c.png", "a.JPG", "b.png", "we[i]rd.png"], "each once, in order"


@pytest.mark.parametrize(
    ("entry", "message"),
    [("a.png", "no such file or folder"), ("*.gif", "no such file or folder"), ("empty", "no picture in this folder")],
)
def test_inputs_that_are_not_there(tmp_path, entry, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError) as caught:
        find_images([tmp_path / entry])
    assert str(caught.value) == f"{tmp_path / entry}: {message}"


def test_shipped_photos_are_small_and_attributed():
    folder = Path(__file__).resolve().parents[1] / "demo/images"
    attribution = (folder / "ATTRIBUTION.md").read_text(encoding="utf-8")
    photos = find_images([folder])
    assert len(photos) == 4
    for photo in photos:
        assert max(read_image(photo).shape) <= 640
        assert f"| `{photo.name}` |" in attribution


@pytest.mark.parametrize("orientation", range(10))
def test_the_size_is_that_of_the_picture_as_it_is_shown(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.jpg", RGB, exif=exif)
    assert image_size(path) == read_image(path).shape[:2] == ((3, 2) if 5 <= orientation <= 8 else (2, 3))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_the_size_is_that_of_a_whole_file(tmp_path, mode, options):
    path, noise = tmp_path / "a.jpg", np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(path, **options)
    assert image_size(path) == (50, 70)
    content = path.read_bytes()
    path.write_bytes(content + bytes(100))
    assert image_size(path) == (50, 70)
    for length in (1000, len(content) // 2, len(content) - 2):  # the last two bytes are the end's mark
        path.write_bytes(content[:length])
        with pytest.raises(ImageError, match=r"a\.jpg: .*truncated"):
            image_size(path)


def test_the_size_of_something_else(tmp_path):
    path = save(tmp_path / "whole.png", RGB)
    assert image_size(path) == (2, 3)
    path.write_bytes(path.read_bytes()[:-30])  # into the pixels
    with pytest.raises(ImageError, match=r"whole\.png: "):
        image_size(path)
    for content in (b"no picture", png_header(100_000, 100_000)):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(ImageError, match=r"a\.png: "):
            image_size(tmp_path / "a.png")


@pytest.mark.parametrize(("dtype", "suffix"), [(np.uint8, "png"), (np.uint16, "png"), (np.uint16, "tif")])
def test_values_of_a_label_image_come_as_stored(tmp_path, dtype, suffix):
    values = np.array([[0, 1, np.iinfo(dtype).max]], dtype)
    read = read_label_image(save(tmp_path / f"a.{suffix}", values))
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, values)


def test_broken_metadata_is_no_matter(tmp_path, recwarn):
    """COCO has some such; Pillow warns of each, and would again in every run."""
    path = save(tmp_path / "a.jpg", RGB, exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x05\x00")
    assert read_image(path).shape[:2] == image_size(path) == (2, 3)
    assert not recwarn.list
