"""Make before-after.png, the picture in the README, from the sample with deblurkit itself.

    python docs/make_before_after.py

Left the blurry sample, right what `deblurkit run` makes of it with its defaults, in the corner the kernel it found.
"""

from pathlib import Path

from deblurkit import deblur, read_image, resolve
from deblurkit.registry import registry

HERE = Path(__file__).parent
SAMPLE = HERE.parent / "tests" / "data" / "sample_blurry.png"
GAP = 8
INSET = 84
EDGE = 2


def main() -> None:
    """Write before-after.png beside this file."""
    from PIL import Image

    blurry = read_image(SAMPLE).pixels
    result = deblur(blurry, resolve({}, registry=registry()))
    print(f"quality: {result.quality.flag} {' '.join(result.quality.reasons)}")
    height, width = blurry.shape[-2:]
    sheet = Image.new("RGB", (2 * width + GAP, height), "white")
    for column, pixels in enumerate((blurry, result.image)):
        eight_bits = (pixels[0] * 255).round().byte().permute(1, 2, 0).numpy()
        sheet.paste(Image.fromarray(eight_bits), (column * (width + GAP), 0))
    if result.kernel is not None:
        grey = (result.kernel[0, 0] / result.kernel.max() * 255).round().byte().numpy()
        inset = Image.fromarray(grey).resize((INSET, INSET), Image.Resampling.NEAREST)
        corner = (2 * width + GAP - INSET - EDGE, height - INSET - EDGE)
        sheet.paste("white", (corner[0] - EDGE, corner[1] - EDGE, 2 * width + GAP, height))
        sheet.paste(inset, corner)
    sheet.save(HERE / "before-after.png", optimize=True)


if __name__ == "__main__":
    main()
