"""The published sizes, to the last number."""

import sys
from pathlib import Path

import pytest
import torch

from deblurkit.nets.stylegan.stylegan2 import StyleGAN2

sys.path.insert(0, str(Path(__file__).parents[2] / "checkpoints"))
from writers import rosinality  # which stands beside the tests of checkpoints

COUNTS = [
    (256, 2, 30_034_338, 135),
    (256, 1, 24_767_458, 135),
    (512, 2, 30_276_583, 153),
    (1024, 2, 30_370_060, 171),
]


@pytest.mark.parametrize(("resolution", "multiplier", "parameters", "tensors"), COUNTS)
def test_the_published_generators_have_so_many_numbers(resolution, multiplier, parameters, tensors):
    with torch.device("meta"):
        generator = StyleGAN2.published(resolution, multiplier)
    assert sum(parameter.numel() for parameter in generator.parameters()) == parameters
    assert len(rosinality(generator)) == tensors  # as rosinality keeps them, with noise maps and filters


@pytest.mark.parametrize("resolution", [2**level for level in range(3, 11)])
def test_latents_and_noise_maps(resolution):
    with torch.device("meta"):
        generator = StyleGAN2.published(resolution)
    levels = resolution.bit_length() - 1
    assert generator.resolution == resolution
    assert generator.latents == 2 * levels - 2
    assert len(generator.noise_sizes) == 2 * levels - 3
    assert generator.noise_sizes[:3] == (4, 8, 8)
    assert generator.noise_sizes[-1] == resolution
