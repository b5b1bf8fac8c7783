"""Pairs are found in every layout, and what does not fit is named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deblurkit.errors import ImageError, UsageError
from deblurkit.images import read_image
from deblurkit.kernel_space.headers import check_pairs, check_pictures
from deblurkit.kernel_space.pairs import Window, find_pairs, find_sharp, read_pair


def picture(path: Path, size=(24, 20), channels=3, value=100) -> Path:
    """Write a picture of that height and width."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((*size, channels), value, np.uint8)
    pixels[size[0] // 2 :, 0] = 7
    Image.fromarray(pixels if channels == 3 else pixels[..., 0]).save(path)
    return path


def names(pairs):
    return [pair.name for pair in pairs]


def test_gopro_layout_with_the_gamma_folder_passed_over(tmp_path):
    for part, sequence, frame in (
        ("train", "s10", "2"),
        ("train", "s2", "10"),
        ("train", "s2", "9"),
        ("test", "s1", "1"),
    ):
        for kind in ("sharp", "blur", "blur_gamma"):
            picture(tmp_path / part / sequence / kind / f"{frame}.png")
    found = find_pairs([tmp_path])
    assert names(found) == ["test/s1/1", "train/s2/9", "train/s2/10", "train/s10/2"]
    assert {pair.blurry.parent.name for pair in found} == {"blur"}
    assert names(find_pairs([tmp_path / "train"])) == ["s2/9", "s2/10", "s10/2"]


def test_reds_layout(tmp_path):
    for kind in ("train_sharp", "train_blur", "train_blur_comp", "train_sharp_bicubic"):
        picture(tmp_path / "train" / kind / "000" / "00000000.png")
    (pair,) = find_pairs([tmp_path])
    assert pair.name == "train/000/00000000"
    assert (pair.sharp.parts[-3], pair.blurry.parts[-3]) == ("train_sharp", "train_blur")


@pytest.mark.parametrize(
    ("sharp", "blurry"), [("GT", "LQ"), ("target", "input"), ("sharp", "motion"), ("in", "blurred")]
)
def test_trees_of_any_names_and_suffixes(tmp_path, sharp, blurry):
    picture(tmp_path / sharp / "a" / "1.png")
    picture(tmp_path / blurry / "a" / "1.bmp")
    (pair,) = find_pairs([tmp_path])
    assert (pair.sharp, pair.blurry) == (tmp_path / sharp / "a" / "1.png", tmp_path / blurry / "a" / "1.bmp")


def test_files_side_by_side(tmp_path):
    for name in ("x_sharp", "x_blur", "y_gt", "y"):
        picture(tmp_path / f"{name}.png")
    found = find_pairs([tmp_path])
    assert names(found) == ["x", "y"]
    assert [pair.sharp.stem for pair in found] == ["x_sharp", "y_gt"]


def test_list_files_of_both_kinds(tmp_path):
    for name in ("a b.png", "c.png"):
        picture(tmp_path / name)
    (tmp_path / "one.csv").write_text("sharp,blurry\n# remark\n\na b.png, c.png\n")
    (tmp_path / "two.txt").write_text("c.png c.png\n")
    found = find_pairs([tmp_path / "one.csv", tmp_path / "two.txt", tmp_path / "two.txt"])
    assert names(found) == ["a b", "c", "c"]
    assert found[0].sharp == tmp_path / "a b.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png", "line 1 names 1 files"),
        ("a.png a.png a.png", "line 1 names 3 files"),
        ("a.png\tmissing.png", "missing.png: does not exist; correct line 1"),
        ("# nothing", "names no pair"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path, text, message):
    picture(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(UsageError, match=message):
        find_pairs([tmp_path / "list.txt"])


def test_unpaired_files_are_named_and_counted(tmp_path):
    for index in range(6):
        picture(tmp_path / "sharp" / f"{index}.png")
    picture(tmp_path / "blur" / "0.png")
    picture(tmp_path / "blur" / "9.png")
    with pytest.raises(
        UsageError, match=r"sharp/1\.png, .*2\.png, .*3\.png and 3 others: 6 of 8 pictures have no partner"
    ):
        find_pairs([tmp_path])


def test_empty_folders_and_folders_without_pairs(tmp_path):
    with pytest.raises(UsageError, match="holds no pictures"):
        find_pairs([tmp_path])
    with pytest.raises(UsageError, match="does not exist"):
        find_pairs([tmp_path / "nowhere"])
    with pytest.raises(UsageError, match="No pairs"):
        find_pairs([])
    picture(tmp_path / "a" / "1.png")
    with pytest.raises(UsageError, match="holds no pairs"):
        find_pairs([tmp_path])
    picture(tmp_path / "b" / "1.png")
    with pytest.raises(UsageError, match="the names of a/ and b/ do not say which is sharp; rename them"):
        find_pairs([tmp_path])
    (tmp_path / "c" / "blur").mkdir(parents=True)
    picture(tmp_path / "c" / "sharp" / "1.png")
    with pytest.raises(UsageError, match="blur: holds no pictures"):
        find_pairs([tmp_path / "c"])
    with pytest.raises(UsageError, match="neither a folder nor a list"):
        find_pairs([tmp_path / "a" / "1.png"])


def test_two_files_of_one_name_are_refused(tmp_path):
    for name in ("sharp/1.png", "sharp/1.bmp", "blur/1.png"):
        picture(tmp_path / name)
    with pytest.raises(UsageError, match="have one name"):
        find_pairs([tmp_path])


def test_headers_are_checked_before_any_pixel(tmp_path):
    for index in range(3):
        picture(tmp_path / "sharp" / f"{index}.png")
        picture(tmp_path / "blur" / f"{index}.png")
    pairs = find_pairs([tmp_path])
    facts = check_pairs(pairs)
    assert facts.channels == 3
    assert facts.sizes == ((24, 20),) * 3
    picture(tmp_path / "blur" / "1.png", size=(24, 22))
    with pytest.raises(UsageError, match=r"sharp/1\.png and .*blur/1\.png: .*differ in size \(20 x 24 and 22 x 24"):
        check_pairs(pairs)
    picture(tmp_path / "blur" / "1.png", channels=1)
    with pytest.raises(UsageError, match=r"blur/1\.png: 1 of 6 pictures is grey among coloured"):
        check_pairs(pairs)
    assert check_pairs(pairs, grey=True).channels == 1
    (tmp_path / "blur" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    with pytest.raises(ImageError, match=r"blur/1\.png: .*leave it out"):
        check_pairs(pairs)


@pytest.mark.parametrize(("colour", "channels"), [((90, 90, 90), 1), ((90, 90, 91), 3)])
def test_a_palette_is_as_grey_as_the_picture_that_is_read(tmp_path, colour, channels):
    path = tmp_path / "a.png"
    Image.new("RGB", (20, 24), colour).quantize().save(path)
    with Image.open(path) as image:
        assert image.mode == "P"
    facts = check_pictures([path])
    assert (facts.channels, facts.sizes) == (channels, ((24, 20),))
    assert read_image(path).pixels.shape == (1, channels, 24, 20)


def test_one_picture_in_colour_among_grey_ones_is_the_one_that_is_named(tmp_path):
    paths = [picture(tmp_path / f"{index}.png", channels=3 if index == 2 else 1) for index in range(5)]
    with pytest.raises(UsageError, match=r"2\.png: 1 of 5 pictures is coloured among grey"):
        check_pictures(paths)


def test_orientation_counts_in_the_size(tmp_path):
    image = Image.new("RGB", (30, 20))
    exif = image.getexif()
    exif[0x112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert check_pictures([tmp_path / "a.jpg"]).sizes == ((30, 20),)


def test_a_pair_is_read_whole_or_in_part(tmp_path):
    picture(tmp_path / "sharp" / "1.png", value=51)
    picture(tmp_path / "blur" / "1.png", value=102)
    (pair,) = find_pairs([tmp_path])
    sharp, blurry = read_pair(pair)
    assert sharp.shape == blurry.shape == (1, 3, 24, 20)
    assert sharp[0, 0, 0, 0] == pytest.approx(0.2)
    assert blurry[0, 0, 0, 0] == pytest.approx(0.4)
    part, _ = read_pair(pair, Window(10, 0, 5, 6))
    assert torch.equal(part, sharp[..., 10:15, :6])
    picture(tmp_path / "blur" / "1.png", size=(24, 21))
    with pytest.raises(UsageError, match="differ in size"):
        read_pair(pair)


def test_sharp_pictures_are_found_downwards(tmp_path):
    for name in ("b/10.png", "b/9.png", "a.jpg", ".hidden.png"):
        picture(tmp_path / name)
    assert [path.name for path in find_sharp([tmp_path])] == ["a.jpg", "9.png", "10.png"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no pictures"):
        find_sharp([tmp_path / "empty"])
