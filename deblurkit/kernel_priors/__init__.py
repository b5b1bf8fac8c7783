"""Kernel priors that come with deblurkit; reached only through ``plugin.py``."""
