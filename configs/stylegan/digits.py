"""Pictures of digits, rendered from fonts with a free licence that installed packages carry.

Training: the DejaVu (Bitstream Vera licence), STIX (SIL OFL) and Computer Modern (BaKoMa licence) fonts inside
matplotlib. Held out: Aileron (CC0) inside Pillow, which needs nothing else.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 64
OVERSAMPLING = 2
TRAINING = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "cmr10",
    "cmb10",
    "cmss10",
    "cmtt10",
)
"""Fonts in matplotlib's folder."""
CONTRAST = 0.35
"""Least difference of the luma of digit and ground."""


def font(name: str, height: float) -> ImageFont.FreeTypeFont:
    """A font in which digits are about ``height`` pixels tall; the empty name is the held-out one."""
    if not name:
        found = ImageFont.load_default(height / 0.71)
    else:
        import matplotlib

        path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
        found = ImageFont.truetype(str(path), height / 0.7)
    assert isinstance(found, ImageFont.FreeTypeFont)
    return found


def digit(random: np.random.Generator, name: str, value: int) -> np.ndarray:
    """One picture.

    Args:
        random: Decides size, place, slant, colours and light.
        name: Of the font.
        value: 0 to 9.

    Returns:
        (SIDE, SIDE, 3) in [0, 1], float32.
    """
    side = SIDE * OVERSAMPLING
    mask = Image.new("L", (side, side))
    height = side * random.uniform(0.56, 0.74)
    ImageDraw.Draw(mask).text((side / 2, side / 2), str(value), fill=255, font=font(name, height), anchor="mm")
    angle, shear, stretch = random.uniform(-0.12, 0.12), random.uniform(-0.12, 0.12), random.uniform(0.9, 1.1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1 / stretch, shear], [0.0, stretch]])
    centre = np.full(2, side / 2)
    offset = centre - matrix @ (centre + random.uniform(-0.05, 0.05, 2) * side)
    row = (matrix[0, 0], matrix[0, 1], offset[0], matrix[1, 0], matrix[1, 1], offset[1])
    warped = mask.transform(mask.size, Image.Transform.AFFINE, row, Image.Resampling.BICUBIC)
    cover = np.asarray(warped.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)[..., None] / 255
    ground, ink = colours(random)
    place = np.linspace(-1, 1, SIDE, dtype=np.float32)
    slope = random.uniform(-0.12, 0.12, 2).astype(np.float32)
    light = 1 + slope[0] * place[:, None, None] + slope[1] * place[None, :, None]
    return np.clip((ground + (ink - ground) * cover) * light, 0, 1).astype(np.float32)


def colours(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Colours of ground and digit that differ enough in luma, each not far from a grey."""
    while True:
        greys = random.uniform(0.05, 0.95, (2, 1))
        pair = np.clip(greys + random.normal(0, 0.12, (2, 3)), 0.02, 0.98).astype(np.float32)
        if abs(pair[0].mean() - pair[1].mean()) > CONTRAST:
            return pair[0], pair[1]


def batch(random: np.random.Generator, count: int) -> np.ndarray:
    """Training pictures (count, 3, SIDE, SIDE) in [0, 1]."""
    names = random.choice(TRAINING, count)
    values = random.integers(0, 10, count)
    pictures = [digit(random, str(name), int(value)) for name, value in zip(names, values, strict=True)]
    return np.stack(pictures).transpose(0, 3, 1, 2)
