"""StyleGAN generators in plain PyTorch: a picture from style vectors, on any device, nothing compiled."""
