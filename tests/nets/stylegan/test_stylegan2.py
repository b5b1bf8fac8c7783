"""StyleGAN2 and what every generator inherits, against the definitions."""

import copy
import subprocess
import sys

import pytest
import torch
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.nn import functional

from deblurkit.nets.seeding import seeded
from deblurkit.nets.stylegan.generator import Gaussian, ScaledLinear, normalised
from deblurkit.nets.stylegan.stylegan2 import StyledConv, StyleGAN2, ToRGB

ROOT2 = 2**0.5


@pytest.fixture
def source():
    return torch.Generator().manual_seed(11)


def shaken(network, source):
    """In float64, every parameter moved, so that zeros and ones of the start hide nothing."""
    network.double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.5 * torch.randn(parameter.shape, generator=source, dtype=torch.float64)
    return network


def tiny(source, channels=(3, 4, 2), clamp=0.0):
    with seeded(source):
        return shaken(StyleGAN2(channels=channels, style=5, inputs=4, depth=2, clamp=clamp), source)


def random(source, *shape):
    return torch.randn(*shape, generator=source, dtype=torch.float64)


def inputs(generator, source, batch=2):
    noises = [random(source, 1, 1, side, side) for side in generator.noise_sizes]
    return random(source, batch, generator.latents, generator.style), noises


def affine(layer, w):
    return w @ layer.weight.t() / layer.weight.shape[1] ** 0.5 + layer.bias


def modulated(layer, w):
    """The weights (B, O, I, 3, 3) that the definition gives every picture."""
    weights = layer.weight[None] * affine(layer.affine, w)[:, None, :, None, None]
    return weights / (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()


def grouped(x, weights):
    batch, outputs = weights.shape[:2]
    y = functional.conv2d(x.reshape(1, -1, *x.shape[2:]), weights.flatten(0, 1), padding=1, groups=batch)
    return y.view(batch, outputs, *y.shape[2:])


def stuffed_convolution(x, weights):
    """Zeros between the pixels, every picture's true convolution, and the FIR filter of gain 4: doubles the size."""
    batch, side = x.shape[0], x.shape[-1]
    big = torch.zeros(batch, x.shape[1], 2 * side - 1, 2 * side - 1, dtype=x.dtype)
    big[..., ::2, ::2] = x
    y = grouped(functional.pad(big, (1, 1, 1, 1)), weights.flip((3, 4)))
    taps = torch.tensor([1.0, 3, 3, 1], dtype=x.dtype) / 8
    kernel = 4 * torch.outer(taps, taps)[None, None]
    return torch.cat([functional.conv2d(y[:, [i]], kernel, padding=1) for i in range(y.shape[1])], 1)


def activated(x, layer, noise):
    x = x + layer.noise_strength * noise + layer.bias.view(1, -1, 1, 1)
    return torch.where(x < 0, 0.2 * x, x) * ROOT2


@pytest.mark.parametrize("up", [False, True])
def test_modulated_convolution_is_its_definition(source, up):
    layer = shaken(StyledConv(3, 4, 5, up=up, clamp=0.0), source)
    x, w, noise = random(source, 2, 3, 4, 4), random(source, 2, 5), random(source, 2, 1, 8 if up else 4, 8 if up else 4)
    weights = modulated(layer, w)
    expected = activated(stuffed_convolution(x, weights) if up else grouped(x, weights), layer, noise)
    found = layer(x, w, noise)
    torch.testing.assert_close(found, expected)
    assert found.shape == (2, 4, *noise.shape[2:])
    for picture in (0, 1):  # nobody sees his neighbour
        alone = layer(x[[picture]], w[[picture]], noise[[picture]])
        torch.testing.assert_close(alone, found[[picture]])


def test_rgb_is_a_modulated_product_without_demodulation(source):
    layer = shaken(ToRGB(3, 5, clamp=0.0), source)
    x, w = random(source, 2, 3, 4, 4), random(source, 2, 5)
    scale = affine(layer.affine, w) / 3**0.5
    expected = torch.einsum("oi,bi,bihw->bohw", layer.weight[..., 0, 0], scale, x) + layer.bias.view(1, 3, 1, 1)
    torch.testing.assert_close(layer(x, w), expected)


def test_the_whole_picture_is_its_definition(source):
    generator = tiny(source)
    w, noises = inputs(generator, source)
    layers, rgbs = generator.layers, generator.to_rgb
    x = generator.constant.repeat(2, 1, 1, 1)
    x = activated(grouped(x, modulated(layers[0], w[:, 0])), layers[0], noises[0])
    rgb = rgbs[0](x, w[:, 1])
    taps = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64) / 4
    for level, first in ((1, 1), (2, 3)):
        x = activated(stuffed_convolution(x, modulated(layers[first], w[:, first])), layers[first], noises[first])
        second = layers[first + 1]
        x = activated(grouped(x, modulated(second, w[:, first + 1])), second, noises[first + 1])
        big = torch.zeros(2, 3, 2 * rgb.shape[-1], 2 * rgb.shape[-1], dtype=torch.float64)
        big[..., ::2, ::2] = rgb
        big = functional.pad(big, (2, 1, 2, 1)).flatten(0, 1)[:, None]
        big = functional.conv2d(big, torch.outer(taps, taps)[None, None]).view(2, 3, *x.shape[2:])
        rgb = big + rgbs[level](x, w[:, first + 2])
    found = generator(w, noises)
    torch.testing.assert_close(found, rgb)
    assert found.shape == (2, 3, 16, 16)
    assert found.is_contiguous()


def test_float32_on_its_way_through_memory_is_float64(source):
    generator = tiny(source, channels=(8, 8, 4))
    w, noises = inputs(generator, source)
    single = copy.deepcopy(generator).float()
    found = single(w.float(), [noise.float() for noise in noises])
    torch.testing.assert_close(found.double(), generator(w, noises), atol=1e-4, rtol=1e-4)


def test_every_style_reaches_what_it_should(source):
    generator = tiny(source)
    w, noises = inputs(generator, source, batch=1)
    seen = {}
    for index, layer in enumerate([*generator.layers, *generator.to_rgb]):
        layer.register_forward_hook(lambda _, __, out, index=index: seen.__setitem__(index, out.detach().clone()))
    generator(w, noises)
    before = dict(seen)
    convs, changes = len(generator.layers), []
    for style in range(generator.latents):
        other = w.clone()
        other[:, style] += 1
        generator(other, noises)
        changes.append({index for index in before if not torch.allclose(seen[index], before[index])})
    rgb = [convs + level for level in range(3)]
    assert changes == [
        {0, 1, 2, 3, 4, *rgb},
        {1, 2, 3, 4, *rgb},
        {2, 3, 4, *rgb[1:]},
        {3, 4, *rgb[1:]},
        {4, rgb[2]},
        {rgb[2]},
    ]


def test_every_noise_map_counts_from_its_layer_on(source):
    generator = tiny(source)
    w, noises = inputs(generator, source, batch=2)
    picture = generator(w, noises)
    for index, noise in enumerate(noises):
        other = [*noises]
        other[index] = torch.cat([noise, noise + 1])  # a map of its own for the second picture
        changed = generator(w, other)
        torch.testing.assert_close(changed[0], picture[0])
        assert not torch.allclose(changed[1], picture[1])
        generator.layers[index].noise_strength.data.zero_()
        torch.testing.assert_close(generator(w, other)[0], generator(w, noises)[0])
        torch.testing.assert_close(generator(w, other), generator(w, noises))
        picture = generator(w, noises)


def test_clamp_bounds_every_feature(source):
    generator = tiny(source, clamp=0.1)
    w, noises = inputs(generator, source)
    largest = []
    for layer in [*generator.layers, *generator.to_rgb]:
        layer.register_forward_hook(lambda _, __, out: largest.append(out.abs().max().item()))
    generator(w, noises)
    assert max(largest) == pytest.approx(0.1)
    free = StyledConv(3, 4, 5, up=False, clamp=0.0).double()
    tight = StyledConv(3, 4, 5, up=False, clamp=0.3).double()
    tight.load_state_dict(free.state_dict())
    args = (random(source, 1, 3, 4, 4), random(source, 1, 5), random(source, 1, 1, 4, 4))
    torch.testing.assert_close(tight(*args), free(*args).clamp(-0.3, 0.3))


@pytest.mark.parametrize("channels", [(3,), (3, 2)])
def test_first_and_second_derivatives(source, channels):
    generator = tiny(source, channels)
    w, noises = inputs(generator, source, batch=1)
    wanted = [w.requires_grad_(), *(noise.requires_grad_() for noise in noises)]
    names = ["constant", "layers.0.weight", "layers.0.bias", "to_rgb.0.weight", "layers.0.affine.weight"]

    def picture(w, *rest):
        maps, weights = rest[: len(noises)], rest[len(noises) :]
        parameters = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(generator, parameters, (w, maps)).mean((2, 3))

    weights = [generator.get_parameter(name).detach().clone().requires_grad_() for name in names]
    assert gradcheck(picture, (*wanted, *weights))
    assert gradgradcheck(lambda w: picture(w, *noises, *weights), (w,))


def test_path_lengths_can_be_penalised(source):
    """The derivative by the weights of the norm of the derivative by the styles, against finite differences."""
    generator = tiny(source, (3, 2))
    w, noises = inputs(generator, source, batch=1)
    w.requires_grad_()
    direction = random(source, 1, 3, 8, 8)
    weight = generator.layers[1].weight

    def length():
        (slope,) = grad((generator(w, noises) * direction).sum(), w, create_graph=True)
        return slope.square().sum()

    (found,) = grad(length(), weight)
    step = random(source, *weight.shape)
    values = []
    for sign in (1, -1):
        weight.data += sign * 1e-5 * step
        values.append(length().item())
        weight.data -= sign * 1e-5 * step
    assert (found * step).sum().item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)


def test_the_mapping_network(source):
    generator = tiny(source)
    z = random(source, 3, 4)
    x = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    torch.testing.assert_close(normalised(z), x)
    for layer in generator.mapping:
        x = x @ layer.weight.t() * 0.01 / layer.weight.shape[1] ** 0.5 + 0.01 * layer.bias
        x = torch.where(x < 0, 0.2 * x, x) * ROOT2
    torch.testing.assert_close(generator.map(z), x)


def test_weights_of_a_scaled_layer_start_at_unit_variance(source):
    with seeded(source):
        layer = ScaledLinear(200, 300, bias=2.0, rate=0.01)
    assert (layer.weight * 0.01).std().item() == pytest.approx(1, rel=0.02)
    x = torch.randn(4, 200, generator=source)
    assert (layer(x) - 2).std().item() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("chunk", [7, 50, 1000])
def test_measure(source, chunk):
    generator = tiny(source)
    measured = generator.measure(50, torch.Generator().manual_seed(3), chunk)
    draws = torch.Generator().manual_seed(3)
    z = torch.cat([torch.randn(min(chunk, 50 - start), 4, generator=draws) for start in range(0, 50, chunk)])
    linear = functional.leaky_relu(generator.map(z.double()), 5.0)
    assert measured.samples == 50
    torch.testing.assert_close(measured.mean, linear.mean(0))
    torch.testing.assert_close(measured.std, linear.std(0, correction=0))


def test_whitened_styles_are_standard_normal_and_come_back(source):
    gaussian = Gaussian(random(source, 5), random(source, 5).exp(), 1)
    w = random(source, 3, 2, 5)
    torch.testing.assert_close(gaussian.style(gaussian.whitened(w)), w)
    torch.testing.assert_close(gaussian.whitened(gaussian.style(w)), w)
    generator = tiny(source)
    measured = generator.measure(4000, torch.Generator().manual_seed(3))
    v = measured.whitened(generator.map(random(source, 4000, 4)))
    torch.testing.assert_close(v.mean(0), torch.zeros(5).double(), atol=0.1, rtol=0)
    torch.testing.assert_close(v.std(0), torch.ones(5).double(), atol=0.1, rtol=0)


@pytest.mark.parametrize(
    ("resolution", "multiplier", "count"),
    [(256, 2, 30_034_338), (256, 1, 24_767_458), (512, 2, 30_276_583), (1024, 2, 30_370_060)],
)
def test_published_sizes(resolution, multiplier, count):
    with torch.device("meta"):
        generator = StyleGAN2.published(resolution, multiplier)
    assert sum(parameter.numel() for parameter in generator.parameters()) == count
    assert generator.latents == {256: 14, 512: 16, 1024: 18}[resolution]
    assert len(generator.noise_sizes) == {256: 13, 512: 15, 1024: 17}[resolution]
    assert generator.noise_sizes[:5] == (4, 8, 8, 16, 16)
    assert generator.noise_sizes[-1] == generator.resolution == resolution


def test_the_config_builds_the_same_structure(source):
    generator = tiny(source, clamp=3.0)
    again = StyleGAN2(**generator.config()).double()
    again.load_state_dict(generator.state_dict())
    w, noises = inputs(generator, source)
    assert torch.equal(again(w, noises), generator(w, noises))
    assert [tuple(noise.shape) for noise in again.own_noises()] == [(1, 1, s, s) for s in generator.noise_sizes]


def test_nothing_is_compiled_at_import():
    script = (
        "import subprocess, sys\n"
        "def refuse(*a, **k): raise AssertionError(f'started {a}')\n"
        "import torch\n"
        "subprocess.Popen.__init__ = refuse\n"
        "import deblurkit.nets.stylegan.stylegan1, deblurkit.nets.stylegan.stylegan2\n"
        "import deblurkit.nets.stylegan.styles, deblurkit.nets.stylegan.weights, deblurkit.ops.upfirdn\n"
        "from deblurkit.nets.stylegan.stylegan2 import StyleGAN2\n"
        "g = StyleGAN2(channels=(2, 2), style=2, inputs=2, depth=1)\n"
        "g(torch.zeros(1, 4, 2), g.own_noises())\n"
        "assert 'torch.utils.cpp_extension' not in sys.modules\n"
        "assert 'triton' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_compiled_it_is_the_same(source):
    generator = tiny(source).float()
    w, noises = inputs(generator, source)
    w, noises = w.float(), [noise.float() for noise in noises]
    try:
        found = torch.compile(generator)(w, noises)
    except Exception as error:
        if "ompiler" not in f"{type(error).__name__} {error}":
            raise
        pytest.skip(f"no compiler here: {type(error).__name__}")
    torch.testing.assert_close(found, generator(w, noises), atol=1e-4, rtol=1e-4)
