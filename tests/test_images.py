"""Pictures in and out: every mode and depth, metadata, and every kind of bad file."""

import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from deblurkit.errors import ExitCode, ImageError, UsageError
from deblurkit.images import (
    Metadata,
    OutputPaths,
    Picture,
    check_picture_size,
    find_images,
    output_paths,
    read_image,
    write_image,
)
from deblurkit.images.metadata import reset_orientation, upright

SAMPLE = Path(__file__).parent / "data" / "sample_blurry.png"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def noise(*shape: int, top: int = 255) -> np.ndarray:
    values = np.random.default_rng(sum(shape)).integers(0, top + 1, shape)
    return values.astype(np.uint8 if top == 255 else np.uint16)


def save(path: Path, array: np.ndarray, **options) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def stored(picture: Picture, top: int) -> np.ndarray:
    """Pixels as (H, W, C) whole numbers, alpha last."""
    planes = picture.pixels if picture.alpha is None else torch.cat([picture.pixels, picture.alpha], 1)
    scaled = planes[0].permute(1, 2, 0).double().numpy() * top
    assert np.abs(scaled - np.rint(scaled)).max() < 1e-2
    return np.rint(scaled).astype(int)


# --- 16-bit files, made by their definitions --------------------------------------------------------------------------


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_filter(rows: list[bytes], step: int, kinds: list[int]) -> bytes:
    """Filter byte by byte, as the specification words it (section 9.2)."""
    out = bytearray()
    for y, row in enumerate(rows):
        kind = kinds[y % len(kinds)]
        out.append(kind)
        for i, value in enumerate(row):
            a = row[i - step] if i >= step else 0
            b = rows[y - 1][i] if y else 0
            c = rows[y - 1][i - step] if y and i >= step else 0
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            out.append((value - (0, a, b, (a + b) // 2, paeth)[kind]) % 256)
    return bytes(out)


def png16(
    pixels: np.ndarray, interlaced: bool = False, extra: bytes = b"", kinds: tuple[int, ...] = (4, 0, 3, 1, 2)
) -> bytes:
    height, width, channels = pixels.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, interlaced)
    adam7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    raw = b""
    for x, y, dx, dy in adam7 if interlaced else ((0, 0, 1, 1),):
        part = pixels[y::dy, x::dx].astype(">u2")
        if part.size:
            raw += png_filter([row.tobytes() for row in part], 2 * channels, list(kinds))
    body = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(raw)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff16(pixels: np.ndarray, order: str, planar: bool, predictor: bool, orientation: int = 1) -> bytes:
    """A TIFF of strips of 5 rows, deflated if it has a predictor."""
    height, width, channels = pixels.shape
    planes = [pixels[..., c : c + 1] for c in range(channels)] if planar else [pixels]
    strips = []
    for plane in planes:
        for start in range(0, height, 5):
            strip = plane[start : start + 5].astype(np.int64)
            if predictor:
                strip = np.diff(strip, axis=1, prepend=0) % 65536
            data = strip.astype(f"{order}u2").tobytes()
            strips.append(zlib.compress(data) if predictor else data)
    body, offsets = b"", []
    for strip in strips:
        offsets.append(8 + len(body))
        body += strip + b"\0" * (len(strip) % 2)
    tags = {
        256: [width], 257: [height], 258: [16] * channels, 259: [8 if predictor else 1],
        262: [2 if channels > 2 else 1], 273: offsets, 274: [orientation], 277: [channels], 278: [5],
        279: [len(strip) for strip in strips], 284: [2 if planar else 1], 317: [2 if predictor else 1],
    }  # fmt: skip
    if channels in (2, 4):
        tags[338] = [2]
    start = 8 + len(body)
    directory, behind, heap = struct.pack(f"{order}H", len(tags)), start + 6 + 12 * len(tags), b""
    for tag, values in sorted(tags.items()):
        content = struct.pack(f"{order}{len(values)}I", *values)
        directory += struct.pack(f"{order}HHI", tag, 4, len(values))
        directory += content if len(values) == 1 else struct.pack(f"{order}I", behind + len(heap))
        heap += b"" if len(values) == 1 else content
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}I", start) + body + directory + bytes(4) + heap


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("interlaced", [False, True])
def test_reads_16_bit_png_with_all_filters_exactly(tmp_path, channels, interlaced):
    pixels = noise(13, 11, channels, top=65535)
    path = tmp_path / "a.png"
    path.write_bytes(png16(pixels, interlaced))
    picture = read_image(path)
    assert picture.depth == 16
    assert np.array_equal(stored(picture, 65535), pixels)


@pytest.mark.parametrize("kind", range(5))
def test_undoes_each_png_filter(tmp_path, kind):
    pixels = noise(9, 14, 3, top=65535)
    path = tmp_path / "a.png"
    path.write_bytes(png16(pixels, kinds=(kind,)))
    assert np.array_equal(stored(read_image(path), 65535), pixels)


def test_refuses_a_png_filter_that_does_not_exist(tmp_path):
    data = png16(noise(3, 3, 3, top=65535), kinds=(0,))
    start = data.index(b"IDAT")
    (length,) = struct.unpack(">I", data[start - 4 : start])
    raw = bytearray(zlib.decompress(data[start + 4 : start + 4 + length]))
    raw[0] = 9
    path = tmp_path / "a.png"
    path.write_bytes(data[: start - 4] + png_chunk(b"IDAT", zlib.compress(bytes(raw))) + png_chunk(b"IEND", b""))
    with pytest.raises(ImageError, match=r"a\.png"):
        read_image(path)


def test_a_transparent_colour_of_a_16_bit_png_becomes_alpha(tmp_path):
    pixels = noise(6, 5, 3, top=65535)
    pixels[2, 3] = (1, 2, 3)
    path = tmp_path / "a.png"
    path.write_bytes(png16(pixels, extra=png_chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))))
    picture = read_image(path)
    assert picture.mode == "RGBA"
    assert picture.alpha is not None
    assert picture.alpha[0, 0, 2, 3] == 0
    assert picture.alpha.sum() == 29


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("predictor", [False, True])
def test_reads_16_bit_tiff_colour_exactly(tmp_path, channels, order, planar, predictor):
    pixels = noise(12, 17, channels, top=65535)
    path = tmp_path / "a.tif"
    path.write_bytes(tiff16(pixels, order, planar, predictor))
    picture = read_image(path)
    assert (picture.depth, picture.format) == (16, "TIFF")
    assert np.array_equal(stored(picture, 65535), pixels)


def test_applies_the_orientation_of_a_16_bit_tiff_once(tmp_path):
    pixels = noise(12, 17, 3, top=65535)
    path = tmp_path / "a.tif"
    path.write_bytes(tiff16(pixels, "<", False, False, orientation=6))
    assert np.array_equal(stored(read_image(path), 65535), np.rot90(pixels, -1))


def test_refuses_tiff_channels_that_pillow_would_reduce(tmp_path):
    data = tiff16(noise(8, 8, 4, top=65535), "<", False, False)
    at = data.index(struct.pack("<HHII", 262, 4, 1, 2))
    path = tmp_path / "a.tif"
    path.write_bytes(data[:at] + struct.pack("<HHII", 262, 4, 1, 5) + data[at + 12 :])  # CMYK
    with pytest.raises(ImageError, match="4 channels of 16 bits"):
        read_image(path)


# --- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("top", [255, 65535])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_lossless_formats_give_back_every_value(tmp_path, suffix, top, channels):
    pixels = noise(300, 19, channels, top=top)  # more rows than the PNG writer takes at a time
    source = tmp_path / "a.png"
    if top == 255:
        save(source, pixels[..., 0] if channels == 1 else pixels)
    else:
        source.write_bytes(png16(pixels))
    first = read_image(source)
    assert write_image(tmp_path / f"b{suffix}", first.pixels, first, False) == ()
    second = read_image(tmp_path / f"b{suffix}")
    assert (second.mode, second.depth) == (first.mode, first.depth)
    assert np.array_equal(stored(second, top), pixels)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pillow_and_we_agree_on_the_16_bit_png_that_we_write(tmp_path, channels):
    pixels = noise(20, 30, channels, top=65535)
    source = tmp_path / "a.png"
    source.write_bytes(png16(pixels))
    picture = read_image(source)
    write_image(tmp_path / "b.png", picture.pixels, picture, False)
    with Image.open(tmp_path / "b.png") as image:
        image.load()
        seen = np.asarray(image).reshape(20, 30, channels)
    assert np.array_equal(seen, pixels if channels == 1 else pixels >> 8)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("deep", [False, True])
def test_tiff_keeps_its_compression(tmp_path, compression, deep):
    pixels = noise(10, 10, 3, top=65535) if deep else noise(10, 10, 3)
    if deep:
        (tmp_path / "a.png").write_bytes(png16(pixels))
        picture = read_image(tmp_path / "a.png")
        picture = replace(picture, metadata=Metadata(compression=compression))
    else:
        picture = read_image(
            save(tmp_path / "a.tif", pixels, compression=None if compression == "raw" else compression)
        )
    write_image(tmp_path / "b.tif", picture.pixels, picture, False)
    again = read_image(tmp_path / "b.tif")
    assert again.metadata.compression == compression
    assert np.array_equal(stored(again, 65535 if deep else 255), pixels)


def test_floating_point_tiff_stays_floating_point(tmp_path):
    values = np.random.default_rng(0).random((10, 12)).astype(np.float32)
    picture = read_image(save(tmp_path / "a.tif", values))
    assert picture.depth == 32
    write_image(tmp_path / "b.tif", picture.pixels, picture, False)
    with Image.open(tmp_path / "b.tif") as image:
        assert np.array_equal(np.asarray(image), values)
    (note,) = write_image(tmp_path / "b.png", picture.pixels, picture, False)
    assert "16 bits" in note


@pytest.mark.parametrize("value", [1.5, -0.1, np.nan])
def test_refuses_floating_point_values_out_of_range(tmp_path, value):
    path = save(tmp_path / "a.tif", np.full((9, 9), value, np.float32))
    with pytest.raises(ImageError, match=r"outside \[0, 1\]"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_are_near(tmp_path, suffix):
    picture = read_image(SAMPLE)
    write_image(tmp_path / f"a{suffix}", picture.pixels, picture, False)
    again = read_image(tmp_path / f"a{suffix}")
    assert again.size == picture.size
    assert (again.pixels - picture.pixels).square().mean().sqrt() < 0.012  # below the sample's noise, 0.01


def test_jpeg_has_full_colour_resolution_and_is_not_progressive(tmp_path):
    picture = read_image(SAMPLE)
    write_image(tmp_path / "a.jpg", picture.pixels, picture, False)
    with Image.open(tmp_path / "a.jpg") as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3
        assert "progressive" not in image.info


def test_lossless_webp_stays_lossless(tmp_path):
    pixels = noise(40, 30, 3)
    picture = read_image(save(tmp_path / "a.webp", pixels, lossless=True))
    write_image(tmp_path / "b.webp", picture.pixels, picture, False)
    assert np.array_equal(stored(read_image(tmp_path / "b.webp"), 255), pixels)


def test_rounds_clamps_and_survives_nan(tmp_path):
    like = read_image(save(tmp_path / "a.png", noise(1, 6)))
    values = torch.tensor([0.4 / 255, 0.6 / 255, -3.0, 7.0, float("nan"), float("inf")])
    write_image(tmp_path / "b.png", values.reshape(1, 1, 1, 6), like, False)
    with Image.open(tmp_path / "b.png") as image:
        assert np.asarray(image).tolist() == [[0, 1, 0, 255, 0, 255]]


def test_alpha_goes_onto_white_in_jpeg_with_a_note(tmp_path):
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:, 8:, 3] = 255
    picture = read_image(save(tmp_path / "a.png", pixels))
    (note,) = write_image(tmp_path / "b.jpg", picture.pixels, picture, False)
    assert "white" in note
    result = stored(read_image(tmp_path / "b.jpg"), 255)
    assert result[:, 2].min() > 250
    assert result[:, 13].max() < 5


def test_sixteen_bits_into_jpeg_is_said(tmp_path):
    picture = read_image(save(tmp_path / "a.png", noise(16, 16, top=65535)))
    (note,) = write_image(tmp_path / "b.jpg", picture.pixels, picture, False)
    assert "8 bits" in note


# --- modes ------------------------------------------------------------------------------------------------------------


def test_grey_stays_grey_and_one_bit_becomes_grey(tmp_path):
    assert read_image(save(tmp_path / "a.jpg", noise(20, 20))).mode == "L"
    picture = read_image(save(tmp_path / "a.png", noise(20, 20) > 100))
    assert (picture.mode, picture.depth) == ("L", 8)
    assert set(picture.pixels.unique().tolist()) == {0.0, 1.0}


def test_palettes_become_rgb_rgba_or_grey(tmp_path):
    image = Image.fromarray(noise(20, 20, 3)).quantize(16)
    image.save(tmp_path / "colour.png")
    image.save(tmp_path / "key.png", transparency=3)
    image.save(tmp_path / "many.png", transparency=bytes(range(0, 160, 10)))
    Image.fromarray(noise(20, 20)).convert("P").save(tmp_path / "grey.png")
    assert read_image(tmp_path / "colour.png").mode == "RGB"
    assert np.array_equal(stored(read_image(tmp_path / "colour.png"), 255), np.asarray(image.convert("RGB")))
    key = read_image(tmp_path / "key.png")
    assert key.alpha is not None
    assert np.array_equal(key.alpha[0, 0].numpy() == 0, np.asarray(image) == 3)
    many = read_image(tmp_path / "many.png")
    assert many.alpha is not None
    assert np.array_equal(stored(many, 255)[..., 3], np.asarray(image) * 10)
    assert read_image(tmp_path / "grey.png").mode == "L"


def test_cmyk_becomes_rgb_with_a_note(tmp_path):
    Image.new("RGB", (20, 20), (250, 120, 10)).convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    picture = read_image(tmp_path / "a.jpg")
    assert picture.mode == "RGB"
    assert "CMYK" in picture.notes[0]
    assert np.abs(stored(picture, 255) - [250, 120, 10]).max() <= 3


def test_further_frames_are_left_out_with_a_note(tmp_path):
    frames = [Image.fromarray(noise(20, 20, 3, top=255) // n) for n in (1, 2, 3)]
    for suffix in (".png", ".tif", ".webp"):
        frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], lossless=True)
        picture = read_image(tmp_path / f"a{suffix}")
        assert "3 frames" in picture.notes[0]
        assert np.array_equal(stored(picture, 255), np.asarray(frames[0]))


def test_white_is_zero_in_16_bit_grey_tiff(tmp_path):
    pixels = noise(9, 9, top=65535)
    picture = read_image(save(tmp_path / "a.tif", 65535 - pixels, tiffinfo={262: 0}))
    assert np.array_equal(stored(picture, 65535)[..., 0], pixels)


def test_content_counts_more_than_the_suffix(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(noise(20, 20, 3)).save(path, "PNG")
    assert read_image(path).format == "PNG"


# --- orientation and metadata -----------------------------------------------------------------------------------------


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x112] = orientation
    block[0x110] = "Camera"
    block.get_ifd(0x8769)[0x829A] = 0.01
    return block.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_what_pillow_does(orientation):
    pixels = noise(5, 7)
    image = Image.fromarray(pixels)
    image.getexif()[0x112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(upright(torch.from_numpy(pixels), orientation).numpy(), expected)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_metadata_survive_and_orientation_is_reset(tmp_path, suffix):
    options = {"lossless": True} if suffix == ".webp" else {"quality": 100}
    profile = {"icc_profile": SRGB, "dpi": (300, 300)}
    source = save(tmp_path / f"a{suffix}", noise(20, 30, 3), exif=exif(6), **profile, **options)
    picture = read_image(source)
    assert picture.size == (30, 20)
    write_image(tmp_path / f"b{suffix}", picture.pixels, picture, False)
    with Image.open(tmp_path / f"b{suffix}") as image:
        assert image.size == (20, 30)
        block = image.getexif()
        assert block.get(0x112, 1) == 1
        assert block[0x110] == "Camera"
        assert float(block.get_ifd(0x8769)[0x829A]) == pytest.approx(0.01)
        assert image.info["icc_profile"] == SRGB
        if suffix != ".webp":
            assert float(image.info["dpi"][0]) == pytest.approx(300, abs=0.1)


def test_16_bit_colour_files_carry_metadata_too(tmp_path):
    extra = png_chunk(b"gAMA", struct.pack(">I", 100000)) + png_chunk(b"tEXt", b"Title\0A cup")
    (tmp_path / "a.png").write_bytes(png16(noise(8, 8, 3, top=65535), extra=extra))
    picture = read_image(tmp_path / "a.png")
    picture = replace(picture, metadata=replace(picture.metadata, icc=SRGB, exif=exif(1), dpi=(72.0, 72.0)))
    for suffix in (".png", ".tif"):
        write_image(tmp_path / f"b{suffix}", picture.pixels, picture, False)
        metadata = read_image(tmp_path / f"b{suffix}").metadata
        assert metadata.icc == SRGB
        assert metadata.dpi == pytest.approx((72, 72), abs=0.1)
        assert b"Camera" in metadata.exif
    again = read_image(tmp_path / "b.png").metadata
    assert again.text == {"Title": "A cup"}
    assert again.chunks == ((b"gAMA", struct.pack(">I", 100000)),)


def test_png_text_and_xmp_survive_a_change_of_format(tmp_path):
    info = PngInfo()
    info.add_text("Comment", "größer")
    info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    picture = read_image(save(tmp_path / "a.png", noise(9, 9, 3), pnginfo=info))
    assert picture.metadata.text == {"Comment": "größer"}
    for suffix in (".png", ".jpg", ".tif", ".webp"):
        write_image(tmp_path / f"b{suffix}", picture.pixels, picture, False)
        assert read_image(tmp_path / f"b{suffix}").metadata.xmp == b'<x tiff:Orientation="1"/>'


def test_a_profile_for_other_colours_is_not_written(tmp_path):
    picture = read_image(save(tmp_path / "a.png", noise(20, 20), icc_profile=SRGB))
    write_image(tmp_path / "b.png", picture.pixels, picture, False)
    assert read_image(tmp_path / "b.png").metadata.icc == b""


def test_reset_orientation_touches_nothing_else():
    before, after = exif(8), reset_orientation(exif(8))
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
    assert reset_orientation(exif(1)) == exif(1)
    for damaged in (b"", b"Exif\0\0", b"II*\0\xff\xff\0\0", before[:20]):
        assert reset_orientation(damaged) == damaged


# --- bad files --------------------------------------------------------------------------------------------------------


def one_sentence(error: BaseException, path: Path) -> bool:
    text = str(error)
    return text.startswith(f"{path}: ") and text.endswith(".") and "\n" not in text and "Error" not in text


@pytest.mark.parametrize(
    "content",
    [b"", b"%PDF-1.7", b"Dear diary", b"<html>", b"BM is a car company", b"RIFF\x10\0\0\0WAVEfmt ", bytes(200)],
    ids=["empty", "pdf", "text", "html", "BM", "sound", "zeros"],
)
def test_what_is_no_picture_is_a_wrong_use(tmp_path, content):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_image(path)
    assert caught.value.exit_code == ExitCode.USAGE
    assert one_sentence(caught.value, path)


def test_missing_files_and_folders_are_a_wrong_use(tmp_path):
    for path in (tmp_path / "missing.png", tmp_path):
        with pytest.raises(UsageError) as caught:
            read_image(path)
        assert one_sentence(caught.value, path)


def test_gif_is_a_picture_that_is_not_supported(tmp_path):
    path = save(tmp_path / "a.png", noise(9, 9), format="GIF")
    with pytest.raises(ImageError, match="a GIF"):
        read_image(path)


def deep_png() -> bytes:
    return png16(noise(20, 20, 3, top=65535))


def encoded(suffix: str) -> bytes:
    if suffix == "deep":
        return deep_png()
    if suffix == "deep tif":
        return tiff16(noise(20, 20, 3, top=65535), "<", False, True)
    buffer = io.BytesIO()
    Image.fromarray(noise(60, 60, 3)).save(buffer, suffix)
    return buffer.getvalue()


@pytest.mark.parametrize("part", [0.01, 0.03, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "deep", "deep tif"])
def test_truncated_pictures_are_a_failed_run(tmp_path, kind, part):
    data = encoded(kind)
    path = tmp_path / "a.png"
    path.write_bytes(data[: max(10, int(len(data) * part))])
    with pytest.raises((ImageError, UsageError)) as caught:
        read_image(path)
    if kind not in ("BMP", "WEBP"):  # two and four letters are not enough to know
        assert type(caught.value) is ImageError
    assert one_sentence(caught.value, path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "deep", "deep tif"])
def test_random_damage_never_escapes_as_a_traceback(tmp_path, kind):
    rng = np.random.default_rng(5)
    clean = encoded(kind)
    refused = 0
    for trial in range(40):
        data = np.frombuffer(clean, np.uint8).copy()
        places = rng.integers(0, min(len(data), 400 if trial % 2 else len(data)), 6)
        data[places] = rng.integers(0, 256, 6)
        path = tmp_path / "a.png"
        path.write_bytes(data.tobytes())
        try:
            read_image(path)
        except (ImageError, UsageError):
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("kind", [2, 6])
def test_decompression_bombs_are_refused_by_their_header(tmp_path, kind):
    header = struct.pack(">IIBBBBB", 60000, 60000, 16 if kind == 6 else 8, kind, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(10_000_000)))
    path = tmp_path / "a.png"
    path.write_bytes(bomb + png_chunk(b"IEND", b""))
    with pytest.raises(ImageError, match="60000 × 60000 pixels, more than the 200 million"):
        read_image(path)
    assert Image.MAX_IMAGE_PIXELS is not None  # the setting of other programs is as it was


def test_a_16_bit_png_with_more_data_than_pixels_is_not_unpacked_further(tmp_path):
    pixels = noise(4, 4, 3, top=65535)
    data = png16(pixels, kinds=(0,))
    start = data.index(b"IDAT")
    (length,) = struct.unpack(">I", data[start - 4 : start])
    raw = zlib.decompress(data[start + 4 : start + 4 + length]) + bytes(50_000_000)
    path = tmp_path / "a.png"
    path.write_bytes(data[: start - 4] + png_chunk(b"IDAT", zlib.compress(raw)) + png_chunk(b"IEND", b""))
    assert np.array_equal(stored(read_image(path), 65535), pixels)


def test_the_limit_of_pixels_is_a_parameter(tmp_path):
    path = save(tmp_path / "a.png", noise(20, 20))
    assert read_image(path, max_pixels=400).size == (20, 20)
    with pytest.raises(ImageError, match="20 × 20"):
        read_image(path, max_pixels=399)


def test_pictures_that_are_too_small_are_named(tmp_path):
    for size in ((1, 1), (3, 8), (15, 200)):
        path = save(tmp_path / "a.png", np.zeros(size, np.uint8))
        with pytest.raises(ImageError, match=f"is {size[1]} × {size[0]} pixels.*16 × 16"):
            check_picture_size(read_image(path))
    check_picture_size(read_image(save(tmp_path / "b.png", np.zeros((16, 16), np.uint8))))


def test_a_camera_raw_file_is_not_taken_for_its_preview(tmp_path):
    path = save(tmp_path / "a.tif", noise(20, 20, 3), tiffinfo={50706: b"\1\4\0\0"})
    with pytest.raises(ImageError, match="raw"):
        read_image(path)


# --- writing ----------------------------------------------------------------------------------------------------------


def test_existing_results_are_kept_unless_asked(tmp_path):
    picture = read_image(SAMPLE)
    target = tmp_path / "a.png"
    target.write_bytes(b"old")
    with pytest.raises(UsageError, match="--overwrite"):
        write_image(target, picture.pixels, picture, False)
    assert target.read_bytes() == b"old"
    write_image(target, picture.pixels, picture, True)
    assert read_image(target).size == picture.size
    assert os.listdir(tmp_path) == ["a.png"]


def test_unknown_suffixes_are_refused(tmp_path):
    picture = read_image(SAMPLE)
    with pytest.raises(UsageError, match=r"\.png, \.tif"):
        write_image(tmp_path / "a.gif", picture.pixels, picture, False)


def test_pixels_that_do_not_fit_are_refused(tmp_path):
    picture = read_image(SAMPLE)
    with pytest.raises(ValueError, match="do not fit"):
        write_image(tmp_path / "a.png", picture.pixels[:, :1], picture, False)


# --- names ------------------------------------------------------------------------------------------------------------


def touch(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(exist_ok=True, parents=True)
    for name in names:
        (folder / name).touch()
    return [folder / name for name in names]


def test_folders_are_read_in_natural_order_without_our_own_results(tmp_path):
    touch(
        tmp_path, "10.png", "2.PNG", "a.txt", ".hidden.png", "2.deblurred.png", "2.kernel.png", "2.deblurred.kernel.png"
    )
    touch(tmp_path / "sub.png", "1.png")
    assert [path.name for path in find_images([tmp_path])] == ["2.PNG", "10.png"]


def test_patterns_are_expanded_and_duplicates_count_once(tmp_path):
    touch(tmp_path, "a1.png", "a2.jpg", "b.png", "a1.deblurred.png")
    assert [p.name for p in find_images([tmp_path / "a*", tmp_path / "b.png", tmp_path / "a1.png"])] == [
        "a1.png",
        "a2.jpg",
        "b.png",
    ]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path):
    (path,) = touch(tmp_path, "a[1].png")
    assert find_images([path]) == [path]


def test_results_among_files_are_left_out_only_beside_their_original(tmp_path):
    original, result, kernel = touch(tmp_path, "a.jpg", "a.deblurred.jpg", "a.deblurred.kernel.png")
    assert find_images([result, kernel, original]) == [original]
    assert find_images([result]) == [result]


@pytest.mark.parametrize("name", ["missing.png", "empty", "none*.png", "text.txt", "long" * 100])
def test_names_that_lead_to_no_picture_are_a_wrong_use(tmp_path, name):
    touch(tmp_path, "text.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError) as caught:
        find_images([tmp_path / name])
    assert one_sentence(caught.value, tmp_path / name)


def test_no_name_at_all_is_a_wrong_use():
    with pytest.raises(UsageError, match="No picture"):
        find_images([])


def test_results_stand_beside_their_inputs():
    (paths,) = output_paths([Path("in/a.b.JPG")], None)
    folder = Path("in")
    assert paths == OutputPaths(
        folder / "a.b.deblurred.JPG", folder / "a.b.deblurred.kernel.npy", folder / "a.b.deblurred.kernel.png"
    )


def test_out_is_a_file_for_one_input_and_a_folder_otherwise(tmp_path):
    one, two = Path("in/a.png"), Path("in/b.jpg")
    assert output_paths([one], tmp_path / "x.tif")[0].kernel == tmp_path / "x.kernel.npy"
    assert output_paths([one], tmp_path / "v1.2")[0].image == tmp_path / "v1.2" / "a.png"
    assert [paths.image.name for paths in output_paths([one, two], tmp_path / "new")] == ["a.png", "b.jpg"]
    assert output_paths([one, two], tmp_path / "x.png")[1].image == tmp_path / "x.png" / "b.jpg"
    (tmp_path / "dir.png").mkdir()
    assert output_paths([one], tmp_path / "dir.png")[0].image == tmp_path / "dir.png" / "a.png"


def test_out_that_cannot_be_meant_is_refused(tmp_path):
    one = Path("in/a.png")
    touch(tmp_path, "notes")
    for inputs, out, words in (
        ([one], tmp_path / "x.gif", "cannot write .gif"),
        ([one], tmp_path / "notes", "is a file"),
    ):
        with pytest.raises(UsageError, match=words):
            output_paths(inputs, out)


def test_kernels_of_one_stem_get_different_names(tmp_path):
    paths = output_paths([Path("in/a.png"), Path("in/a.jpg"), Path("in/b.png")], tmp_path)
    assert [path.kernel.name for path in paths] == ["a.png.kernel.npy", "a.jpg.kernel.npy", "b.kernel.npy"]


def test_one_result_for_two_inputs_is_refused(tmp_path):
    with pytest.raises(UsageError, match="one after the other"):
        output_paths([Path("x/a.png"), Path("y/a.png")], tmp_path)


def test_an_input_is_never_a_result(tmp_path):
    (path,) = touch(tmp_path, "a.png")
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    for out in (tmp_path, path, link, link / "a.png"):
        with pytest.raises(UsageError, match="is an input"):
            output_paths([path], out)


def test_threads_that_read_at_once_leave_pillow_as_it_was(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (400, 300)).save(path)
    limit = Image.MAX_IMAGE_PIXELS
    with ThreadPoolExecutor(8) as pool:
        for picture in pool.map(read_image, [path] * 60):
            assert picture.pixels.shape == (1, 3, 300, 400)
    assert limit == Image.MAX_IMAGE_PIXELS
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)
