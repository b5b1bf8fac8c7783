"""Image and kernel as networks over coordinates, for deblurkit."""
