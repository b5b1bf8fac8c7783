"""The StyleGAN1 pair, against a reference that is written from the pair's own tensors and the definitions."""

import pytest
import torch
from torch.nn import functional

from deblurkit.checkpoints.stylegan1 import convert_stylegan1, theirs
from deblurkit.nets.stylegan.stylegan1 import StyleGAN1

ROOT2 = 2**0.5


def shapes(widths, style, inputs, depth):
    """Names and shapes of the pair, by hand."""
    synthesis = {"blocks.4x4.const": (1, widths[0], 4, 4), "blocks.4x4.bias": (widths[0],)}
    before = widths[0]
    for level, width in enumerate(widths):
        block = "blocks.{0}x{0}.".format(4 * 2**level)
        convs = {"conv": (width, width)} if level == 0 else {"conv0_up": (width, before), "conv1": (width, width)}
        for conv, (outputs, inner) in convs.items():
            synthesis |= {f"{block}{conv}.weight": (outputs, inner, 3, 3), f"{block}{conv}.bias": (outputs,)}
        for epi in ("epi1.", "epi2."):
            synthesis[f"{block}{epi}noise.weight"] = (width,)
            synthesis[f"{block}{epi}style_mod.lin.weight"] = (2 * width, style)
            synthesis[f"{block}{epi}style_mod.lin.bias"] = (2 * width,)
        before = width
    synthesis |= {"torgb.weight": (3, before, 1, 1), "torgb.bias": (3,)}
    mapping = {}
    for layer in range(depth):
        mapping[f"dense{layer}.weight"] = (style, style if layer else inputs)
        mapping[f"dense{layer}.bias"] = (style,)
    return synthesis, mapping


def pair(widths, style=6, inputs=5, depth=2, scale=100.0):
    """Random tensors under the pair's names; the mapping network's are stored large."""
    generator = torch.Generator().manual_seed(7)
    synthesis, mapping = shapes(widths, style, inputs, depth)
    draw = {name: torch.randn(shape, generator=generator) for name, shape in (synthesis | mapping).items()}
    kernel = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    fir = {"blocks.{0}x{0}.conv0_up.intermediate.kernel".format(4 * 2**n): kernel[None, None] for n in
           range(1, len(widths))}  # fmt: skip
    return {name: draw[name] for name in synthesis} | fir, {name: scale * draw[name] for name in mapping}


def reference_style(mapping, z):
    x = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for layer in range(len(mapping) // 2):
        weight, bias = mapping[f"dense{layer}.weight"], mapping[f"dense{layer}.bias"]
        x = functional.leaky_relu(x @ (weight * (ROOT2 * 0.01 / weight.shape[1] ** 0.5)).t() + bias * 0.01, 0.2)
    return x


def reference_up(x, weight):
    """Pixel by pixel: every input pixel paints its 3x3 kernel four times, or is repeated and convolved."""
    batch, channels, side, _ = x.shape
    if 2 * side < 128:
        big = torch.zeros(batch, channels, 2 * side, 2 * side, dtype=x.dtype)
        for row in range(2):
            for column in range(2):
                big[..., row::2, column::2] = x
        return functional.conv2d(big, weight, padding=1)
    canvas = torch.zeros(batch, weight.shape[0], 2 * side + 2, 2 * side + 2, dtype=x.dtype)
    for row in range(3):
        for column in range(3):
            painted = torch.einsum("bihw,oi->bohw", x, weight[:, :, row, column])
            for down in range(2):
                for right in range(2):
                    top, left = row + down, column + right
                    canvas[..., top : top + 2 * side : 2, left : left + 2 * side : 2] += painted
    return canvas[..., 1:-1, 1:-1]


def reference_picture(pair, w, noises):
    def conv(name):
        weight = pair[f"{name}.weight"]
        return weight * (ROOT2 / weight[0].numel() ** 0.5)

    def channel(name):
        return pair[name].view(1, -1, 1, 1)

    def epilogue(x, name, index):
        x = x + channel(f"{name}.noise.weight") * noises[index]
        x = torch.where(x > 0, x, 0.2 * x)
        x = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
        weight = pair[f"{name}.style_mod.lin.weight"]
        style = w[:, index] @ weight.t() / weight.shape[1] ** 0.5 + pair[f"{name}.style_mod.lin.bias"]
        width = x.shape[1]
        return x * (1 + style[:, :width, None, None]) + style[:, width:, None, None]

    x = pair["blocks.4x4.const"] + channel("blocks.4x4.bias")
    x = epilogue(x.repeat(len(w), 1, 1, 1), "blocks.4x4.epi1", 0)
    x = functional.conv2d(x, conv("blocks.4x4.conv"), padding=1) + channel("blocks.4x4.conv.bias")
    x = epilogue(x, "blocks.4x4.epi2", 1)
    for level in range(1, len(noises) // 2):
        block = "blocks.{0}x{0}.".format(4 * 2**level)
        x = reference_up(x, conv(f"{block}conv0_up"))
        x = functional.conv2d(
            x, pair[f"{block}conv0_up.intermediate.kernel"].repeat(x.shape[1], 1, 1, 1), padding=1, groups=x.shape[1]
        )
        x = epilogue(x + channel(f"{block}conv0_up.bias"), f"{block}epi1", 2 * level)
        x = functional.conv2d(x, conv(f"{block}conv1"), padding=1) + channel(f"{block}conv1.bias")
        x = epilogue(x, f"{block}epi2", 2 * level + 1)
    rgb = torch.einsum("bihw,oi->bohw", x, pair["torgb.weight"][:, :, 0, 0]) / x.shape[1] ** 0.5
    return rgb + channel("torgb.bias")


@pytest.mark.parametrize("widths", [(3,), (4, 3), (3, 2, 3, 2, 2, 3), (2, 2, 3, 2, 2, 2, 1)])
def test_equals_the_definitions(widths):
    synthesis, mapping = pair(widths)
    generator, notes = convert_stylegan1(synthesis, mapping)
    assert generator.resolution == 4 * 2 ** (len(widths) - 1)
    assert len(notes) == 2
    source = torch.Generator().manual_seed(1)
    z = torch.randn(2 * generator.latents, 5, generator=source)
    w = reference_style(mapping, z)
    torch.testing.assert_close(generator.map(z), w, atol=1e-4, rtol=1e-4)
    noises = [torch.randn(1, 1, side, side, generator=source) for side in generator.noise_sizes]
    w = w.view(2, generator.latents, 6)
    wide = {name: tensor.double() for name, tensor in synthesis.items()}
    expected = reference_picture(wide, w.double(), [noise.double() for noise in noises])
    torch.testing.assert_close(generator(w, noises).double(), expected, atol=1e-4, rtol=1e-4)


def test_what_the_pair_lacks_is_the_same_every_time():
    one, other = (convert_stylegan1(*pair((3, 2)))[0] for _ in range(2))
    torch.testing.assert_close(one.state_dict(), other.state_dict(), atol=0, rtol=0)
    z = torch.randn(20000, 5, generator=torch.Generator().manual_seed(3))
    styles = reference_style(pair((3, 2))[1], z)
    assert ((one.mean_style - styles.mean(0)).abs() < 0.05 * styles.std(0)).all()
    assert all(noise.std() > 0.4 for noise in one.own_noises())
    assert not any(weight.requires_grad for weight in one.parameters())


def test_writing_the_pair_and_reading_it_gives_the_generator_back():
    generator = StyleGAN1(channels=(5, 4, 3), style=7, inputs=6, depth=3)
    state = generator.state_dict()
    table = {name: state[own] for own, name in theirs(generator).items()}
    assert set(table) == set().union(*shapes((5, 4, 3), 7, 6, 3))
    assert set(theirs(generator)) == {name for name, _ in generator.named_parameters()}
    mapping = {name: tensor for name, tensor in table.items() if name.startswith("dense")}
    again, _ = convert_stylegan1({name: table[name] for name in table if name not in mapping}, mapping)
    assert again.config() == generator.config()
    for name, tensor in generator.named_parameters():
        assert torch.equal(again.get_parameter(name), tensor)


def test_other_spellings():
    synthesis, mapping = pair((3, 2))
    expected, _ = convert_stylegan1(synthesis, mapping)
    bare = {name.replace(".noise.", ".top_epi.noise."): tensor for name, tensor in synthesis.items()}
    bare = {name: tensor for name, tensor in bare.items() if not name.endswith("kernel")}
    whole = {f"g_synthesis.{name}": tensor for name, tensor in bare.items()}
    whole |= {f"g_mapping.{name}": tensor for name, tensor in mapping.items()}
    for case in ((bare, mapping), (whole, whole)):
        found, _ = convert_stylegan1(*case)
        torch.testing.assert_close(found.state_dict(), expected.state_dict(), atol=0, rtol=0)


def without(table, name):
    return {key: value for key, value in table.items() if key != name}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s, m: (without(s, "torgb.bias"), m), "1 missing: torgb.bias"),
        (lambda s, m: (without(s, "blocks.4x4.const"), m), "missing: blocks.4x4.const"),
        (lambda s, m: (without(s, "blocks.8x8.conv1.weight"), m), "missing: blocks.8x8.conv1.weight"),
        (lambda s, m: (s, without(m, "dense0.weight")), "missing: dense0.weight"),
        (lambda s, m: (s, without(m, "dense1.weight")), "1 unexpected: dense1.bias"),
        (lambda s, m: (s | {"epi9": torch.ones(1)}, m), "1 unexpected: epi9"),
        (lambda s, m: (s | {"torgb.bias": torch.ones(4)}, m), r"torgb.bias is \(4,\) instead of \(3,\)"),
        (lambda s, m: (s | {"blocks.4x4.const": torch.ones(4, 4)}, m), "2 dimensions instead of 4"),
        (lambda s, m: (s | {"blocks.32x32.conv1.bias": torch.ones(2)}, m), "missing: blocks.16x16.conv1.weight"),
        (
            lambda s, m: (s | {"blocks.8x8.conv0_up.intermediate.kernel": torch.ones(1, 1, 3, 3)}, m),
            "another blur",
        ),
        (lambda s, m: (m, s), "missing: blocks.4x4.const"),
        (lambda s, m: ({}, {}), "missing"),
    ],
)
def test_a_misfit_is_named(change, words):
    with pytest.raises(ValueError, match=words):
        convert_stylegan1(*change(*pair((3, 2))))
