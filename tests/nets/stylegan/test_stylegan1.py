"""StyleGAN1's structure; its mathematics is held by the tests of the checkpoints that it is read from."""

import copy

import pytest
import torch
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.nn import functional

from deblurkit.nets.seeding import seeded
from deblurkit.nets.stylegan.stylegan1 import FUSED, StyleGAN1, UpConv
from deblurkit.nets.stylegan.stylegan2 import StyleGAN2


@pytest.fixture
def source():
    return torch.Generator().manual_seed(4)


def random(source, *shape):
    return torch.randn(*shape, generator=source, dtype=torch.float64)


def tiny(source, channels=(3, 4, 2)):
    with seeded(source):
        generator = StyleGAN1(channels=channels, style=5, inputs=4, depth=2).double()
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter += 0.5 * random(source, *parameter.shape)
    return generator


def inputs(generator, source, batch=2):
    noises = [random(source, 1, 1, side, side) for side in generator.noise_sizes]
    return random(source, batch, generator.latents, generator.style), noises


def test_published_sizes():
    with torch.device("meta"):
        generator = StyleGAN1.published(1024)
    mapping = sum(parameter.numel() for parameter in generator.mapping.parameters())
    assert mapping == 2_101_248
    assert sum(parameter.numel() for parameter in generator.parameters()) - mapping == 24_110_771
    assert generator.latents == 18
    assert generator.noise_sizes == (4, 4, 8, 8, 16, 16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024)
    assert generator.resolution == 1024


@pytest.mark.parametrize("side", [FUSED // 2, FUSED])
def test_up_convolution_is_repeating_pixels_or_a_spread_kernel(source, side):
    layer = UpConv(2, 3, side).double()
    x = random(source, 2, 2, 5, 4)
    weight = layer.weight * (2 / 18) ** 0.5
    blur = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=torch.float64).expand(3, 1, 3, 3) / 16
    if side < FUSED:
        x2 = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        expected = functional.conv2d(x2, weight, padding=1)
    else:
        spread = torch.zeros(3, 2, 4, 4, dtype=torch.float64)
        for row in range(2):
            for column in range(2):
                spread[..., row : row + 3, column : column + 3] += weight
        expected = functional.conv_transpose2d(x, spread.transpose(0, 1), stride=2, padding=1)
    expected = functional.conv2d(expected, blur, padding=1, groups=3)
    torch.testing.assert_close(layer(x), expected)


def test_every_layer_has_a_style_and_a_noise_map(source):
    generator = tiny(source)
    w, noises = inputs(generator, source, batch=1)
    seen = {}
    for index, layer in enumerate(generator.epilogues):
        layer.register_forward_hook(lambda _, __, out, index=index: seen.__setitem__(index, out.detach()))
    generator(w, noises)
    before = dict(seen)
    for index in range(generator.latents):
        for other in ("style", "noise"):
            changed_w, changed = w.clone(), [*noises]
            if other == "style":
                changed_w[:, index] += 1
            else:
                changed[index] = noises[index] + random(source, *noises[index].shape)
            generator(changed_w, changed)
            moved = {layer for layer in before if not torch.allclose(seen[layer], before[layer])}
            assert moved == set(range(index, generator.latents))


def test_pictures_do_not_mix(source):
    generator = tiny(source)
    w, noises = inputs(generator, source, batch=3)
    pictures = generator(w, noises)
    assert pictures.shape == (3, 3, 16, 16)
    torch.testing.assert_close(generator(w[1:2], noises), pictures[1:2])
    single = copy.deepcopy(generator).float()(w.float(), [noise.float() for noise in noises])
    torch.testing.assert_close(single.double(), pictures, atol=1e-4, rtol=1e-4)


def test_first_and_second_derivatives(source):
    generator = tiny(source, (2, 2))
    w, noises = inputs(generator, source, batch=1)
    wanted = (w.requires_grad_(), *(noise.requires_grad_() for noise in noises))
    assert gradcheck(lambda w, *noises: generator(w, noises).mean((2, 3)), wanted)
    assert gradgradcheck(lambda w: generator(w, noises).square().mean((2, 3)), (w,))
    parameters = list(generator.parameters())
    loss = generator(generator.map(random(source, 4, 4))[None], noises).square().sum()
    assert all(slope.abs().sum() > 0 for slope in grad(loss, parameters))


def test_the_config_builds_the_same_structure(source):
    generator = tiny(source)
    again = StyleGAN1(**generator.config()).double()
    again.load_state_dict(generator.state_dict())
    w, noises = inputs(generator, source)
    assert torch.equal(again(w, noises), generator(w, noises))
    assert [tuple(noise.shape[2:]) for noise in again.own_noises()] == [(side, side) for side in again.noise_sizes]


@pytest.mark.parametrize("kind", [StyleGAN1, StyleGAN2])
@pytest.mark.parametrize("channels", [(), (3, 0), (1,) * 12])
def test_channels_that_describe_no_network(kind, channels):
    with pytest.raises(ValueError, match="channels: needs 1 to 11 whole numbers of at least 1"):
        kind(channels=channels)
