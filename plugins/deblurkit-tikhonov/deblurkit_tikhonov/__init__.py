"""Tikhonov regularisation of image gradients, as an image prior for deblurkit."""
