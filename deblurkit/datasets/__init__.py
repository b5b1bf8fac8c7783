"""Data sets: blurry pictures with their truths, found by looking at a folder, or by the name of its layout."""

from deblurkit.datasets.case import Case, Sample
from deblurkit.datasets.find import LAYOUTS, find_cases, layout_of

__all__ = ["LAYOUTS", "Case", "Sample", "find_cases", "layout_of"]
