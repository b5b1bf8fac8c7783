def deblurkit_image_priors():
    """Forgets its decorator."""
    return []
