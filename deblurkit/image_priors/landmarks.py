"""Faces, cut out the way the FFHQ pictures were, from which generators of faces learned.

The rule is that of Karras, Laine and Aila (CVPR 2019, appendix A): eyes and mouth corners span an oriented square.
The landmarks come from a file, or from dlib's face detector and a landmark model.
"""

from __future__ import annotations

import importlib
import io
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from deblurkit.errors import RunError, UsageError
from deblurkit.image_priors.framing import MIN_SIDE, resized, whole
from deblurkit.ops.resample import resample_image

EYES_68 = (slice(36, 42), slice(42, 48))
"""Eyes among the 68 points of iBUG's scheme; first that on the picture's left."""
MOUTH_68 = (48, 54)
"""Mouth corners among them."""
REACH = 0.25
"""Share of the picture's longer side by which a landmark may lie outside it: faces are cut off by borders."""
LOOK_AT = 1024
"""Longer side to which larger pictures are shrunk for the detector; it finds faces from about 40 pixels there."""
LOOKS = ((1, 0.0), (2, 0.0), (1, -0.4))
"""Times that the picture is doubled for the detector, and the score from which it counts, until there is a face; the
last one is for blurry faces, of which the detector is less sure."""
MAX_BYTES = 1 << 20
"""Largest file of landmarks that is read."""

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Square:
    """An oriented square in a picture, in pixels: x to the right, y down, pixel centres at whole numbers.

    Attributes:
        corner: Its corner (2,) that becomes the top left one.
        across: The edge (2,) from there that becomes the top.
        down: The edge (2,) from there that becomes the left.
    """

    corner: Points
    across: Points
    down: Points

    @property
    def side(self) -> float:
        """Length of an edge in pixels."""
        return float(np.hypot(*self.across))


def aligned(y: Tensor, valid: Tensor, side: int, file: Path) -> tuple[Tensor, Tensor]:
    """Cut a face out, turned upright, at the place and scale of the FFHQ pictures.

    What lies outside the picture is its reflection, and not valid. Shrinking is antialiased.

    Args:
        y: Picture (1, C, H, W) in [0, 1], grey or RGB.
        valid: (1, 1, H, W), 1 where a pixel was observed.
        side: Side of the generator's pictures in pixels.
        file: The landmarks of this picture (``.pts``, ``.json``, ``.npy``; see `read_landmarks`), or dlib's landmark
            model (``.dat``; see `find_landmarks`).

    Returns:
        The face (1, C, side, side) in [0, 1], and (1, 1, side, side), 1 where everything that went into a pixel
        was observed.

    Raises:
        UsageError: The file is missing, damaged or of another kind, its landmarks do not belong to this picture, or
            dlib is needed and not installed.
        RunError: No face was found in the picture, or one too small.
    """
    points = find_landmarks(y, file) if file.suffix.lower() == ".dat" else read_landmarks(file)
    eyes, mouth = eyes_and_mouth(points)
    require_near(np.concatenate([eyes, mouth]), (y.shape[-2], y.shape[-1]), file)
    square = face_square(eyes, mouth)
    least = min(MIN_SIDE, side)
    if not square.side >= least:
        raise RunError(
            f"{file}: by these landmarks the face fills a square of {square.side:.3g} pixels, and {least} are needed; "
            "landmarks are counted in pixels of the picture, not as shares of it"
        )
    return cut_out(y, valid, square, side)


def eyes_and_mouth(points: Points) -> tuple[Points, Points]:
    """The middles of the eyes (2, 2) and the mouth corners (2, 2), of 68 or 5 landmarks (n, 2)."""
    if len(points) == 68:
        return np.stack([points[eye].mean(0) for eye in EYES_68]), points[list(MOUTH_68)]
    return points[:2], points[3:]


def face_square(eyes: Points, mouth: Points) -> Square:
    """The square of the FFHQ pictures around a face.

    Its horizontal direction is the mean of two: that between the eyes, and that across the line from eyes to mouth.
    Its side is four distances between the eyes, or 3.6 from eyes to mouth if that is more; its middle is a little
    below the eyes.

    Args:
        eyes: (2, 2), the middle of each eye as x, y. Which one comes first does not matter: the mouth is below.
        mouth: (2, 2), the corners of the mouth.

    Returns:
        The square; of side 0 if the points coincide.
    """
    eye, chin = eyes.mean(0), mouth.mean(0) - eyes.mean(0)
    between = eyes[1] - eyes[0]
    if between[0] * chin[1] < between[1] * chin[0]:
        between = -between
    half = between + np.array([chin[1], -chin[0]])
    length = max(2.0 * np.hypot(*between), 1.8 * np.hypot(*chin))
    half = half * (length / max(np.hypot(*half), 1e-12))
    down = np.array([-half[1], half[0]])
    return Square(eye + 0.1 * chin - half - down, 2 * half, 2 * down)


def cut_out(y: Tensor, valid: Tensor, square: Square, side: int) -> tuple[Tensor, Tensor]:
    """Resample a square of a picture to ``side`` x ``side`` pixels; see `aligned`.

    A grid at least as fine as the picture (which is shrunk before, if it is more than four times too fine) is filled
    bicubically, and then shrunk.
    """
    height, width = y.shape[-2:]
    scale = square.side / side
    shrink = max(1, int(scale / 2))
    if shrink > 1:
        small = (math.ceil(height / shrink), math.ceil(width / shrink))
        y, valid = resample_image(y, small), whole(resample_image(valid, small))
    fine = side * max(1, math.ceil(scale / shrink - 1e-3))
    steps = (torch.arange(fine, dtype=torch.float64) + 0.5) / fine
    places, inside = [], torch.ones(fine, fine, dtype=torch.bool, device=y.device)
    for axis, (before, now) in enumerate([(width, y.shape[-1]), (height, y.shape[-2])]):
        along, downwards = (steps * float(edge[axis]) for edge in (square.across, square.down))
        place = (float(square.corner[axis]) + 0.5 + along + downwards[:, None]) * (now / before)
        inside &= ((place >= -1e-6) & (place <= now + 1e-6)).to(y.device)
        places.append((2 * (place - 0.5) / max(1, now - 1) - 1).to(y))
    grid = torch.stack(places, dim=-1)[None]
    y = functional.grid_sample(y, grid, mode="bicubic", padding_mode="reflection", align_corners=True)
    valid = whole(functional.grid_sample(valid, grid, mode="bicubic", padding_mode="border", align_corners=True))
    return resized(y.clamp(0.0, 1.0), valid * inside, side)


def require_near(points: Points, size: tuple[int, int], file: Path) -> None:
    """Refuse landmarks that must be those of another picture.

    Args:
        points: (n, 2) as x, y.
        size: Height and width of the picture.
        file: Where they come from.

    Raises:
        UsageError: One lies farther outside than ``REACH`` allows.
    """
    height, width = size
    reach = REACH * max(size)
    outside = (points < -reach) | (points > np.array([width, height]) - 1 + reach)
    if outside.any():
        x, at = points[outside.any(1)][0]
        raise UsageError(
            f"{file}: a landmark at ({x:.6g}, {at:.6g}) lies far outside the picture of {width}x{height}; give the "
            "landmarks of this very picture, in its pixels, as it stands upright"
        )


def read_landmarks(file: Path) -> Points:
    """Read the landmarks of a face: 68 in the order of iBUG's scheme, or 5: eyes, nose, mouth corners.

    Args:
        file: ``.npy``, an array (n, 2) of x, y; ``.json``, a list of [x, y]; both with the centre of the picture's
            first pixel at (0, 0). ``.pts``, the text format of 300-W, where it is at (1, 1).

    Returns:
        (n, 2), x and y in pixels with the centre of the first pixel at (0, 0).

    Raises:
        UsageError: The file is missing, damaged or of another kind, or holds something else.
    """
    readers = {".pts": _from_pts, ".json": _from_json, ".npy": _from_numpy}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise UsageError(
            f"{file}: landmarks come as .pts, .json or .npy, and dlib's landmark model as .dat; name such a file"
        )
    try:
        if file.stat().st_size > MAX_BYTES:
            raise UsageError(f"{file}: is larger than any file of landmarks; name the landmarks of one face")
        points = reader(file, file.read_bytes())
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror or error}); check the name") from error
    if points.dtype.kind not in "iuf" or points.ndim != 2 or points.shape[1] != 2 or len(points) not in (5, 68):
        what = f"{len(points)} points" if points.ndim == 2 and points.shape[1:] == (2,) else f"shape {points.shape}"
        raise UsageError(f"{file}: holds {what} of {points.dtype}; a face has 68 landmarks (x, y), or 5")
    if not np.isfinite(points).all():
        raise UsageError(f"{file}: holds landmarks that are not finite (NaN or infinite); mark the face anew")
    return points.astype(np.float64)


def _from_pts(file: Path, data: bytes) -> NDArray[Any]:
    """The points of a .pts file, counted from 0."""
    found = re.fullmatch(r"\s*version:\s*1(?:\.0)?\s+n_points:\s*(\d{1,6})\s*\{([^{}]*)\}\s*", data.decode("latin-1"))
    try:
        if found is None:
            raise ValueError
        values = np.array([float(word) for word in found[2].split()])
        return values.reshape(int(found[1]), 2) - 1.0
    except ValueError as error:
        raise UsageError(
            f"{file}: is damaged, or no .pts file of 300-W (version: 1, n_points: n, then n pairs x y in braces)"
        ) from error


def _from_json(file: Path, data: bytes) -> NDArray[Any]:
    """The points of a JSON list."""
    try:
        value = json.loads(data)
        if not isinstance(value, list):
            raise ValueError
        return np.array(value)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file}: is damaged, or no JSON list of [x, y]") from error


def _from_numpy(file: Path, data: bytes) -> NDArray[Any]:
    """The points of a .npy file; objects, which could run code, are refused."""
    try:
        if not data.startswith(b"\x93NUMPY"):
            raise ValueError
        return np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError, MemoryError, SyntaxError, TypeError) as error:
        raise UsageError(f"{file}: is damaged, or no array of numbers saved by numpy.save") from error


def find_landmarks(y: Tensor, file: Path) -> Points:
    """Find the largest face of a picture by dlib's frontal face detector, and its 68 landmarks by a model.

    Args:
        y: Picture (1, C, H, W) in [0, 1], grey or RGB.
        file: A shape predictor in dlib's format (``.dat``) for the 68 points of iBUG's scheme. It holds numbers and no
            code, but dlib trusts the indices in it: take it from where you would take a program.

    Returns:
        (68, 2), x and y in pixels with the centre of the first pixel at (0, 0).

    Raises:
        UsageError: The file is missing or no such model, or dlib is not installed.
        RunError: There is no face, or none that the detector sees.
    """
    height, width = y.shape[-2:]
    factor = min(1.0, LOOK_AT / max(height, width))
    small = resample_image(y, (max(1, round(height * factor)), max(1, round(width * factor))))
    pixels = (small[0].clamp(0, 1) * 255).round().to("cpu", torch.uint8).expand(3, -1, -1).permute(1, 2, 0)
    picture = np.ascontiguousarray(pixels.numpy())
    dlib, predictor = open_model(file)
    detector = dlib.get_frontal_face_detector()
    boxes: list[Any] = []
    for enlarged, least in LOOKS:
        boxes = boxes or list(detector.run(picture, enlarged, least)[0])
    if not boxes:
        raise RunError(
            "no face was found in the picture, perhaps because it is too blurry, small or turned; mark the face by "
            "hand and give its landmarks (.pts, .json or .npy) by --image-prior.align"
        )
    parts = predictor(picture, max(boxes, key=lambda box: box.area())).parts()
    points = np.array([(part.x, part.y) for part in parts], dtype=np.float64)
    return (points + 0.5) * [width / small.shape[-1], height / small.shape[-2]] - 0.5


def open_model(file: Path) -> tuple[Any, Any]:
    """The module ``dlib``, and the landmark model of a file opened by it.

    Raises:
        UsageError: The file is missing, damaged, or a model of other landmarks; or dlib is not installed.
    """
    try:
        with open(file, "rb") as opened:
            start = opened.read(4)
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror or error}); name dlib's landmark model") from error
    if start.startswith(b"BZh"):
        raise UsageError(f"{file}: is compressed still; unpack it by bunzip2, and name the .dat file that results")
    try:
        dlib = importlib.import_module("dlib")
    except ImportError as error:
        raise UsageError(
            f'{file}: a landmark model needs the package dlib ({error}); install it by pip install "deblurkit[faces]", '
            "or give the landmarks themselves (.pts, .json or .npy)"
        ) from error
    try:
        predictor = dlib.shape_predictor(str(file))
        blank = np.zeros((64, 64, 3), np.uint8)
        count = predictor(blank, dlib.rectangle(8, 8, 55, 55)).num_parts
    except (RuntimeError, ValueError, MemoryError, OverflowError) as error:
        raise UsageError(f"{file}: is damaged, or no landmark model of dlib; get the file anew") from error
    if count != 68:
        raise UsageError(f"{file}: is a model of {count} landmarks; give one of the 68 of iBUG's scheme")
    return dlib, predictor
