"""Faces cut out the FFHQ way: the square against a hand computation, what is sampled, and every refusal."""

import importlib
import io
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from deblurkit.errors import RunError, UsageError
from deblurkit.image_priors import landmarks
from deblurkit.image_priors.landmarks import Square, aligned, cut_out, eyes_and_mouth, face_square, read_landmarks

# eyes 40 apart, mouth 36 below them: 4 * 40 = 160 > 3.6 * 36, so the square has side 160 about (100, 90 + 3.6)
FIVE = np.array([[80.0, 90.0], [120.0, 90.0], [100.0, 108.0], [86.0, 126.0], [114.0, 126.0]])
CORNER = np.array([20.0, 13.6])


def turned(points, degrees, about):
    """Points turned clockwise as seen on a screen."""
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return (points - about) @ turn.T + about


def rendered(height, width, degrees=0.0, about=(0.0, 0.0), scale=1.0):
    """A smooth picture (1, 3, H, W), turned and scaled about a point exactly."""
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).reshape(-1, 2).astype(float)
    x, y = (turned(grid, -degrees, np.array(about)) / scale).T
    values = np.stack([np.sin(x / 9) * np.cos(y / 7), np.sin((x + y) / 8), np.cos(x / 11)])
    made = torch.from_numpy(0.5 + 0.4 * values).float().reshape(1, 3, height, width)
    return made, torch.ones(1, 1, height, width)


def saved(folder: Path, points, kind="npy") -> Path:
    file = folder / f"face.{kind}"
    if kind == "npy":
        np.save(file, points)
    elif kind == "json":
        file.write_text(json.dumps(points.tolist()))
    else:
        rows = "\n".join(f"{x:.6f} {y:.6f}" for x, y in points + 1)
        file.write_text(f"version: 1\nn_points: {len(points)}\n{{\n{rows}\n}}\n")
    return file


def face68(five=FIVE):
    """68 points whose eyes and mouth corners are those of five; all others would spoil the square."""
    points = np.full((68, 2), 1000.0)
    ring = 4 * np.array([[math.cos(a), math.sin(a)] for a in np.arange(6) * math.pi / 3])
    points[36:42], points[42:48] = five[0] + ring, five[1] + ring
    points[48], points[54] = five[3], five[4]
    return points


def test_the_square_of_an_upright_face_by_hand():
    square = face_square(FIVE[:2], FIVE[3:])
    assert square.side == pytest.approx(160)
    np.testing.assert_allclose(square.corner, CORNER)
    np.testing.assert_allclose(square.across, [160, 0], atol=1e-9)
    np.testing.assert_allclose(square.down, [0, 160], atol=1e-9)


def test_a_long_face_is_measured_from_eyes_to_mouth():
    square = face_square(FIVE[:2], FIVE[3:] + np.array([0, 24]))
    assert square.side == pytest.approx(3.6 * 60)
    np.testing.assert_allclose(square.corner, [100 - 108, 90 + 6 - 108])


def test_the_direction_is_the_sum_of_both():
    """A mouth moved sideways: the eyes say (40, 0), the line to the mouth (20, 30) says (30, -20)."""
    square = face_square(FIVE[:2], np.array([[110.0, 120.0], [130.0, 120.0]]))
    np.testing.assert_allclose(square.across / square.side, np.array([70, -20]) / math.hypot(70, 20))
    np.testing.assert_allclose(square.down / square.side, np.array([20, 70]) / math.hypot(70, 20))
    assert square.side == pytest.approx(160)


@pytest.mark.parametrize("degrees", [30, 90, 180, -135])
def test_the_square_turns_with_the_face(degrees):
    about = np.array([50.0, 60.0])
    points = turned(FIVE, degrees, about)
    upright, square = face_square(FIVE[:2], FIVE[3:]), face_square(points[:2], points[3:])
    np.testing.assert_allclose(square.corner, turned(upright.corner, degrees, about))
    np.testing.assert_allclose(square.across, turned(upright.across, degrees, 0), atol=1e-9)
    np.testing.assert_allclose(square.down, turned(upright.down, degrees, 0), atol=1e-9)


def test_which_eye_comes_first_does_not_matter():
    one, other = face_square(FIVE[:2], FIVE[3:]), face_square(FIVE[1::-1], FIVE[:2:-1])
    np.testing.assert_allclose(one.corner, other.corner)
    np.testing.assert_allclose(one.across, other.across)


def test_eyes_and_mouth_among_68():
    points = np.arange(136, dtype=float).reshape(68, 2)
    eyes, mouth = eyes_and_mouth(points)
    np.testing.assert_allclose(eyes, [[77, 78], [89, 90]])  # means of 2i and 2i + 1 over 36..41 and 42..47
    np.testing.assert_allclose(mouth, [[96, 97], [108, 109]])


def test_the_whole_picture_is_itself():
    y, valid = rendered(48, 48)
    whole = Square(np.array([-0.5, -0.5]), np.array([48.0, 0.0]), np.array([0.0, 48.0]))
    got, believed = cut_out(y, valid, whole, 48)
    torch.testing.assert_close(got, y, atol=2e-5, rtol=0)
    assert believed.all()


@pytest.mark.parametrize("side", [16, 20, 37, 48, 100])
def test_all_of_the_whole_picture_is_valid_at_every_size(side):
    y, valid = rendered(48, 48)
    whole = Square(np.array([-0.5, -0.5]), np.array([48.0, 0.0]), np.array([0.0, 48.0]))
    got, believed = cut_out(y, valid, whole, side)
    assert got.shape == (1, 3, side, side)
    assert believed.all()


def test_a_square_of_whole_pixels_is_a_crop():
    y, valid = rendered(40, 60)
    valid[..., 12, 25] = 0
    got, believed = cut_out(y, valid, Square(np.array([19.5, 4.5]), np.array([32.0, 0]), np.array([0, 32.0])), 32)
    torch.testing.assert_close(got, y[..., 5:37, 20:52], atol=2e-5, rtol=0)
    assert torch.equal(believed, valid[..., 5:37, 20:52])


def test_a_quarter_turn_is_rot90():
    y, valid = rendered(32, 32)
    got, _ = cut_out(y, valid, Square(np.array([31.5, -0.5]), np.array([0, 32.0]), np.array([-32.0, 0])), 32)
    torch.testing.assert_close(got, torch.rot90(y, 1, (-2, -1)), atol=2e-5, rtol=0)


@pytest.mark.parametrize("kind", ["npy", "json", "pts"])
def test_a_turned_face_comes_out_upright(tmp_path, kind):
    about = (100.0, 93.6)
    upright = aligned(*rendered(200, 200), 64, saved(tmp_path, FIVE, kind))[0]
    y, valid = rendered(200, 200, 30, about)
    turned_file = saved(tmp_path, turned(FIVE, 30, np.array(about)), kind)
    got, believed = aligned(y, valid, 64, turned_file)
    inner = slice(12, 52)
    torch.testing.assert_close(got[..., inner, inner], upright[..., inner, inner], atol=6e-3, rtol=0)
    assert believed[..., inner, inner].all()
    other, _ = aligned(*rendered(200, 200), 64, turned_file)  # the same landmarks in a picture that was not turned
    assert (other - upright)[..., inner, inner].abs().max() > 0.2


def test_68_and_5_landmarks_agree(tmp_path):
    y, valid = rendered(200, 200)
    five = aligned(y, valid, 64, saved(tmp_path, FIVE))[0]
    torch.testing.assert_close(aligned(y, valid, 64, saved(tmp_path, face68()))[0], five, atol=1e-5, rtol=0)


def test_a_picture_of_twice_the_size_gives_the_same_face(tmp_path):
    one = aligned(*rendered(200, 200), 64, saved(tmp_path, FIVE))[0]
    two = aligned(*rendered(400, 400, scale=2), 64, saved(tmp_path, 2 * FIVE))[0]
    ten = aligned(*rendered(1600, 1600, scale=8), 64, saved(tmp_path, 8 * FIVE))[0]
    torch.testing.assert_close(two, one, atol=0.02, rtol=0)
    torch.testing.assert_close(ten, one, atol=0.03, rtol=0)


@pytest.mark.parametrize("side", [16, 24, 64])
def test_shrinking_does_not_alias(tmp_path, side):
    board = (torch.arange(200)[:, None] + torch.arange(200)).remainder(2).float()[None, None]
    got, _ = aligned(board, torch.ones_like(board), side, saved(tmp_path, turned(FIVE, 20, FIVE.mean(0))))
    assert (got[..., 2:-2, 2:-2] - 0.5).abs().max() < 0.05


def test_what_lies_outside_is_mirrored_and_not_valid(tmp_path):
    y, valid = rendered(150, 150)
    # pixel (0, 0) of the result is pixel (15, 21) of the picture, whose last row is 134 there, and the last column 128
    got, believed = aligned(y, valid, 160, saved(tmp_path, FIVE + np.array([0.5, 0.9])))
    torch.testing.assert_close(got[..., :135, :129], y[..., 15:, 21:], atol=2e-5, rtol=0)
    torch.testing.assert_close(got[..., 129:], got[..., 97:128].flip(-1), atol=2e-5, rtol=0)
    torch.testing.assert_close(got[..., 135:, :], got[..., 109:134, :].flip(-2), atol=2e-5, rtol=0)
    assert believed[..., :135, :129].all()
    assert believed.sum() == 135 * 129


def test_a_hole_stays_a_hole_and_nothing_valid_depends_on_it(tmp_path):
    y, valid = rendered(200, 200)
    valid[..., 60:66, 90:95] = 0
    file = saved(tmp_path, turned(FIVE, 20, FIVE.mean(0)))
    for side in (32, 64, 200):
        got, believed = aligned(y, valid, side, file)
        other, _ = aligned(torch.where(valid > 0, y, 1 - y), valid, side, file)
        assert (got - other).abs().max() > 0.1
        assert ((got - other).abs() * believed).max() < 0.02
        hole = believed[..., side // 8 : -side // 8, side // 8 : -side // 8] == 0  # the corners lie outside the picture
        assert 0 < hole.sum() < (10 * side / 160 + 4) ** 2  # not more than the filters reach


def test_pts_counts_from_one(tmp_path):
    np.testing.assert_allclose(read_landmarks(saved(tmp_path, FIVE, "pts")), FIVE, atol=1e-6)


@pytest.mark.parametrize("text", [
    "", "version: 1\nn_points: 5\n{\n1 2\n}\n", "version: 1\nn_points: 5\n{\n" + "1 2\n" * 5, "{1 2}", "<html>",
    "version: 1\nn_points: 5\n{\n" + "1 x\n" * 5 + "}", "version: 1\nn_points: 999999\n{\n}",
])  # fmt: skip
def test_a_damaged_pts_file_is_refused(tmp_path, text):
    file = tmp_path / "face.pts"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"face\.pts: is damaged, or no \.pts file"):
        read_landmarks(file)


@pytest.mark.parametrize(("text", "reason"), [
    ("", "no JSON list"), ("{}", "no JSON list"), ("[[1, 2], [3]]", "no JSON list"), ("[" * 100_000, "no JSON list"),
    ("\x80", "no JSON list"), ("[]", "68 landmarks"), ('[["1", "2"]]', "68 landmarks"), ("[1, 2]", "68 landmarks"),
    (json.dumps([[1, 2]] * 6), "6 points"), (json.dumps([[1, 2, 3]] * 5), "68 landmarks"),
    (json.dumps([[True, False]] * 5), "68 landmarks"), (json.dumps([[None, 1]] * 5), "68 landmarks"),
    (json.dumps([[1, math.nan]] * 5), "not finite"), ("[" + ",".join(["[1e999, 2]"] * 5) + "]", "not finite"),
    (json.dumps([[10**30, 2]] * 5), "68 landmarks"),
])  # fmt: skip
def test_bad_json_is_refused(tmp_path, text, reason):
    file = tmp_path / "face.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=reason) as error:
        read_landmarks(file)
    assert "face.json: " in str(error.value)
    assert "\n" not in str(error.value)


class Trap:
    def __reduce__(self):
        return os.mkdir, ("trapped",)


def npy(value, **options):
    buffer = io.BytesIO()
    np.save(buffer, value, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("data", "reason"), [
    (b"", "damaged"), (b"PK\3\4", "damaged"), (npy(FIVE)[:-8], "damaged"), (npy(FIVE)[:20], "damaged"),
    (npy(np.array([Trap()], dtype=object), allow_pickle=True), "damaged, or no array of numbers"),
    (npy(FIVE[:4]), "4 points"), (npy(FIVE[None]), "68 landmarks"), (npy(FIVE.T), "68 landmarks"),
    (npy(np.array(3.0)), "68 landmarks"), (npy(FIVE.astype(complex)), "68 landmarks"),
    (npy(np.where(FIVE > 120, np.inf, FIVE)), "not finite"),
])  # fmt: skip
def test_a_bad_array_is_refused_and_nothing_in_it_runs(tmp_path, monkeypatch, data, reason):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "face.npy"
    file.write_bytes(data)
    with pytest.raises(UsageError, match=reason):
        read_landmarks(file)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("name", ["face.txt", "face", "face.png", "face.dat.bz2"])
def test_other_kinds_of_files_are_refused(tmp_path, name):
    with pytest.raises(UsageError, match=r"landmarks come as \.pts, \.json or \.npy"):
        aligned(*rendered(64, 64), 32, tmp_path / name)


@pytest.mark.parametrize("name", ["face.pts", "face.json", "face.npy", "face.dat"])
def test_missing_files_and_folders_are_refused(tmp_path, name):
    with pytest.raises(UsageError, match="cannot be read"):
        aligned(*rendered(64, 64), 32, tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        aligned(*rendered(64, 64), 32, tmp_path / name)


def test_a_huge_file_is_not_read(tmp_path):
    file = tmp_path / "face.json"
    with open(file, "wb") as made:
        made.truncate(1 << 33)
    with pytest.raises(UsageError, match="larger than any"):
        read_landmarks(file)


def test_landmarks_of_another_picture_are_refused(tmp_path):
    y, valid = rendered(100, 100)
    with pytest.raises(UsageError, match=r"landmark at \(80, 135\) lies far outside the picture of 100x100"):
        aligned(y, valid, 64, saved(tmp_path, FIVE + np.array([0, 45])))
    with pytest.raises(UsageError, match="far outside"):
        aligned(y, valid, 64, saved(tmp_path, FIVE - np.array([106, 0])))
    aligned(y, valid, 64, saved(tmp_path, FIVE - np.array([0, 5])))  # a mouth cut off by the border is none


@pytest.mark.parametrize("points", [FIVE / 200, np.full((5, 2), 50.0), FIVE / 20 + 50])
def test_a_face_of_no_size_is_refused(tmp_path, points):
    with pytest.raises(RunError, match="pixels, and 16 are needed"):
        aligned(*rendered(200, 200), 64, saved(tmp_path, points))


def test_without_dlib_the_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    file = tmp_path / "shape_predictor.dat"
    file.write_bytes(b"whatever")

    def missing(name):
        raise ModuleNotFoundError(f"No module named '{name}'")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UsageError, match=r'pip install "deblurkit\[faces\]"') as error:
        aligned(*rendered(64, 64), 32, file)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_compressed_model_is_refused(tmp_path):
    file = tmp_path / "shape_predictor.dat"
    file.write_bytes(b"BZh91AY&SY")
    with pytest.raises(UsageError, match="unpack it by bunzip2"):
        aligned(*rendered(64, 64), 32, file)


class Seen:
    """What dlib's detector would say: the given boxes at the given look, and none before."""

    def __init__(self, boxes, look):
        self.boxes, self.look, self.calls = boxes, look, []

    def run(self, picture, enlarged, least):
        self.calls.append((enlarged, least))
        assert picture.dtype == np.uint8
        assert picture.flags.c_contiguous
        assert picture.shape[2] == 3
        self.shape = picture.shape
        return (self.boxes if len(self.calls) == self.look else []), [], []


class Box:
    def __init__(self, area):
        self.area = lambda: area


def stand_in(monkeypatch, detector, points):
    """Put a detector, and a model that gives these points for the box of area 9, in the place of dlib's."""

    class Point:
        def __init__(self, x, y):
            self.x, self.y = x, y

    class Shape:
        def __init__(self, box):
            assert box.area() == 9
            self.parts = lambda: [Point(x, y) for x, y in points]

    class Module:
        get_frontal_face_detector = staticmethod(lambda: detector)

    monkeypatch.setattr(landmarks, "open_model", lambda file: (Module, lambda picture, box: Shape(box)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("look", [1, 2, 3])
def test_the_largest_face_is_taken_at_the_first_look_that_shows_one(tmp_path, monkeypatch, channels, look):
    y, valid = rendered(200, 200)
    y = y[:, :channels]
    detector = Seen([Box(4), Box(9), Box(1)], look)
    stand_in(monkeypatch, detector, face68())
    got, _ = aligned(y, valid, 64, tmp_path / "model.dat")
    torch.testing.assert_close(got, aligned(y, valid, 64, saved(tmp_path, FIVE))[0], atol=1e-5, rtol=0)
    assert len(detector.calls) == look


def test_landmarks_found_in_a_shrunken_picture_are_those_of_the_full_one(tmp_path, monkeypatch):
    detector = Seen([Box(9)], 1)
    stand_in(monkeypatch, detector, face68())
    found = landmarks.find_landmarks(torch.rand(1, 1, 1024, 2048), tmp_path / "model.dat")
    assert detector.shape == (512, 1024, 3)
    np.testing.assert_allclose(found, (face68() + 0.5) * 2 - 0.5)


def test_no_face_is_one_sentence(tmp_path, monkeypatch):
    stand_in(monkeypatch, Seen([], 1), face68())
    with pytest.raises(RunError, match="no face was found"):
        aligned(*rendered(64, 64), 32, tmp_path / "model.dat")


def trained(dlib, folder: Path, count: int) -> Path:
    """A genuine landmark model: of points at fixed places of a bright square, which itself is here and there."""
    generator = np.random.default_rng(0)
    pictures, marks = [], []
    shape = generator.uniform(0.1, 0.9, (count, 2))
    for _ in range(4):
        x, y = generator.integers(4, 20, 2)
        picture = np.zeros((64, 64), np.uint8)
        picture[y : y + 40, x : x + 40] = np.linspace(50, 250, 40).astype(np.uint8)
        box = dlib.rectangle(int(x), int(y), int(x) + 39, int(y) + 39)
        points = [dlib.point(int(x + 40 * u), int(y + 40 * v)) for u, v in shape]
        pictures.append(picture)
        marks.append([dlib.full_object_detection(box, points)])
    options = dlib.shape_predictor_training_options()
    options.cascade_depth, options.num_trees_per_cascade_level, options.tree_depth = 2, 5, 2
    options.oversampling_amount, options.feature_pool_size, options.num_test_splits = 2, 20, 5
    options.num_threads = 1
    file = folder / f"{count}.dat"
    dlib.train_shape_predictor(pictures, marks, options).save(str(file))
    return file


@pytest.fixture(scope="module")
def dlib():
    return pytest.importorskip("dlib", reason='dlib is not installed: pip install "deblurkit[faces]"')


@pytest.fixture(scope="module")
def model(dlib, tmp_path_factory):
    return trained(dlib, tmp_path_factory.mktemp("model"), 68)


def test_a_genuine_model_opens_and_finds_its_points(dlib, model):
    module, predictor = landmarks.open_model(model)
    assert module is dlib
    shape = predictor(np.zeros((64, 64, 3), np.uint8), dlib.rectangle(10, 10, 49, 49))
    assert shape.num_parts == 68
    assert all(10 <= part.x <= 50 and 10 <= part.y <= 50 for part in shape.parts())


def test_a_picture_without_a_face_is_refused_by_the_real_detector(model):
    with pytest.raises(RunError, match="no face was found"):
        aligned(*rendered(64, 64), 32, model)


def test_a_model_of_other_landmarks_is_refused(dlib, tmp_path):
    with pytest.raises(UsageError, match="model of 5 landmarks"):
        landmarks.open_model(trained(dlib, tmp_path, 5))


@pytest.mark.parametrize("spoil", [
    lambda data: b"", lambda data: data[:100], lambda data: data[: len(data) // 2], lambda data: data[:-1],
    lambda data: b"<!DOCTYPE html><html>", lambda data: b"PK\3\4" + data, lambda data: bytes(1000),
])  # fmt: skip
def test_a_damaged_model_is_refused(model, tmp_path, spoil):
    file = tmp_path / "model.dat"
    file.write_bytes(spoil(model.read_bytes()))
    with pytest.raises(UsageError, match=r"model\.dat: is damaged, or no landmark model of dlib"):
        landmarks.open_model(file)


DATA = Path(os.environ.get("DEBLURKIT_DATA", Path(__file__).parents[2] / "../shared/data"))
# eyes and mouth corners marked by eye, to about a pixel
MARKED = {
    "bdps_00000": [(94, 120), (160, 122), (136, 145), (109, 177), (150, 177)],
    "bdps_00001": [(95, 120), (160, 120), (127, 162), (93, 186), (167, 188)],
    "dps_00003": [(97, 121), (160, 121), (128, 157), (111, 186), (143, 186)],
    "dps_00014": [(96, 121), (160, 121), (130, 150), (103, 181), (156, 181)],
}


@pytest.mark.skipif(not (DATA / "faces_ffhq256").is_dir(), reason="faces_ffhq256 is not there: set DEBLURKIT_DATA")
@pytest.mark.parametrize("name", MARKED)
def test_pictures_that_ffhq_aligned_stay_about_as_they_are(name):
    points = np.array(MARKED[name], dtype=float)
    square = face_square(points[:2], points[3:])
    np.testing.assert_allclose(square.corner, [-0.5, -0.5], atol=7)
    np.testing.assert_allclose(square.across, [256, 0], atol=10)
