"""Pure functions on tensors: no state, no randomness, no files.

Images are ``(B, C, H, W)``, kernels ``(B, 1, h, w)`` with odd sides, anchored at the array centre.
"""
