"""Pictures in and out: found, read with all their bits, written back as they came."""

from deblurkit.images.find import SUFFIXES, WORD, OutputPaths, find_images, output_paths
from deblurkit.images.picture import MIN_SIDE, Metadata, Picture, check_picture_size
from deblurkit.images.read import MAX_PIXELS, read_image
from deblurkit.images.write import QUALITY, viewable, write_image

__all__ = [
    "MAX_PIXELS",
    "MIN_SIDE",
    "QUALITY",
    "SUFFIXES",
    "WORD",
    "Metadata",
    "OutputPaths",
    "Picture",
    "check_picture_size",
    "find_images",
    "output_paths",
    "read_image",
    "viewable",
    "write_image",
]
