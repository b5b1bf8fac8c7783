"""The published kernel space: its size and names to the letter, any picture, and codes that do what they should."""

import pytest
import torch
from torch.nn import functional

from deblurkit.nets.kernel_space.paper import PaperSpace
from deblurkit.nets.kernel_space.residual import MirroredBlock, ResidualBlock
from deblurkit.nets.kernel_space.space import extend
from deblurkit.nets.seeding import seeded

NARROW = {"features": 4, "code": 6, "residual_front": 1, "residual_back": 1, "extractor_blocks": 1}


def narrow(seed=0, **others):
    with seeded(torch.Generator().manual_seed(seed)):
        return PaperSpace(**{**NARROW, **others})


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def published_names():
    """The names in the authors' files, as the description of their layout lists them."""
    kinds = ("weight", "bias")
    yield from (f"feature_extractor.{i}.{kind}" for i in (0, 2, 4) for kind in kinds)
    yield from (f"feature_extractor.{i}.conv{c}.{kind}" for i in range(6, 16) for c in (1, 2) for kind in kinds)
    yield from (f"kernel_extractor.model.{i}.weight" for i in (1, 4, 7, 10, 13, 16))
    yield from (f"kernel_extractor.model.{i}.conv_block.{c}.weight" for i in range(19, 23) for c in (1, 5))
    yield from ("adapter.model.down.0.weight", "adapter.model.up.1.weight", "adapter.model.up.1.bias")
    for depth in range(1, 5):
        scale = "adapter.model" + depth * ".submodule"
        yield from (f"{scale}.down.1.weight", f"{scale}.up.1.weight")
    yield from (f"recon_trunk.{i}.conv{c}.{kind}" for i in range(20) for c in (1, 2) for kind in kinds)
    yield from (f"recon_trunk.{i}.{kind}" for i in (20, 23, 26, 28) for kind in kinds)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("vae", "extractor", "total"), [(False, 25542656, 49205187), (True, 91602944, 115265475)])
def test_parameters_are_the_published_number(vae, extractor, total):
    with torch.device("meta"):
        space = PaperSpace(vae=vae)
    assert count(space) == total
    assert count(space.feature_extractor) == 814208
    assert count(space.kernel_extractor) == extractor
    assert count(space.adapter) == 21037120
    assert count(space.recon_trunk) == 1811203


def test_names_and_shapes_are_the_published_ones():
    with torch.device("meta"):
        plain, vae, grey = PaperSpace(), PaperSpace(vae=True), PaperSpace(channels=1)
    shapes = {name: tuple(tensor.shape) for name, tensor in plain.state_dict().items()}
    assert set(shapes) == set(published_names())
    assert set(vae.state_dict()) == set(shapes)
    assert shapes["kernel_extractor.model.1.weight"] == (64, 128, 7, 7)
    assert shapes["kernel_extractor.model.13.weight"] == (512, 512, 3, 3)
    assert vae.state_dict()["kernel_extractor.model.13.weight"].shape == (1024, 512, 3, 3)
    assert shapes["feature_extractor.0.weight"] == (64, 3, 3, 3)
    assert grey.state_dict()["feature_extractor.0.weight"].shape == (64, 1, 3, 3)
    ups = [shapes[f"adapter.model{depth * '.submodule'}.up.1.weight"][:2] for depth in range(5)]
    assert ups == [(128, 64), (256, 64), (512, 128), (1024, 256), (1024, 512)]


def residual(x, w, name):
    hidden = functional.conv2d(x, w[f"{name}.conv1.weight"], w[f"{name}.conv1.bias"], padding=1).relu()
    return x + functional.conv2d(hidden, w[f"{name}.conv2.weight"], w[f"{name}.conv2.bias"], padding=1)


def written_out_stem(x, w):
    for index, stride in ((0, 1), (2, 2), (4, 2)):
        name = f"feature_extractor.{index}"
        x = functional.leaky_relu(functional.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride, 1), 0.1)
    return residual(x, w, "feature_extractor.6")


def written_out_g(sharp, blurry, w):
    both = torch.cat([written_out_stem(sharp, w), written_out_stem(blurry, w)], 1)
    g = functional.pad(both, (3, 3, 3, 3), mode="reflect")
    g = functional.conv2d(g, w["kernel_extractor.model.1.weight"]).relu()
    for index in (4, 7, 10, 13, 16):
        g = functional.conv2d(g, w[f"kernel_extractor.model.{index}.weight"], stride=2, padding=1).relu()
    name = "kernel_extractor.model.19.conv_block"
    hidden = functional.conv2d(functional.pad(g, (1, 1, 1, 1), mode="reflect"), w[f"{name}.1.weight"]).relu()
    return g + functional.conv2d(functional.pad(hidden, (1, 1, 1, 1), mode="reflect"), w[f"{name}.5.weight"])


def written_out_f(x, code, w):
    scales = ["adapter.model" + depth * ".submodule" for depth in range(5)]
    down = [functional.conv2d(written_out_stem(x, w), w[f"{scales[0]}.down.0.weight"], stride=2, padding=1)]
    for scale in scales[1:]:
        leaked = functional.leaky_relu(down[-1], 0.2)
        down.append(functional.conv2d(leaked, w[f"{scale}.down.1.weight"], stride=2, padding=1))
    deep = torch.cat([down[4], code], 1)
    for depth in (4, 3, 2, 1):
        up = functional.conv_transpose2d(deep.relu(), w[f"{scales[depth]}.up.1.weight"], stride=2, padding=1)
        deep = torch.cat([up, down[depth - 1]], 1)
    bias = w["adapter.model.up.1.bias"]
    y = functional.conv_transpose2d(deep.relu(), w["adapter.model.up.1.weight"], bias, stride=2, padding=1).tanh()
    y = residual(y, w, "recon_trunk.0")
    for index in (1, 4):
        y = functional.conv2d(y, w[f"recon_trunk.{index}.weight"], w[f"recon_trunk.{index}.bias"], padding=1)
        y = functional.leaky_relu(functional.pixel_shuffle(y, 2), 0.1)
    y = functional.leaky_relu(functional.conv2d(y, w["recon_trunk.7.weight"], w["recon_trunk.7.bias"], padding=1), 0.1)
    return x + functional.conv2d(y, w["recon_trunk.9.weight"], w["recon_trunk.9.bias"], padding=1)


def test_the_networks_compute_what_is_published():
    # names and shapes cannot tell the order in which features are joined
    space = narrow().double()
    with torch.no_grad():
        for seed, parameter in enumerate(space.parameters()):  # as drawn, the innermost parts hardly matter
            parameter.copy_(noise(*parameter.shape, seed=seed) * (2 / parameter[0].numel()) ** 0.5)
        w = space.state_dict()
        x, y = noise(2, 1, 3, 256, 384).double().unbind()
        code = space.encode(x, y)
        torch.testing.assert_close(code, written_out_g(x, y, w))
        random = 3 * noise(1, 6, 2, 3, seed=7).double()
        torch.testing.assert_close(space(x, random), written_out_f(x, random, w))
        assert not torch.allclose(space(x, random), space(x, -random), atol=1e-3)


@pytest.mark.parametrize(
    ("size", "grid"), [((256, 256), (2, 2)), ((384, 384), (3, 3)), ((640, 640), (5, 5)), ((720, 1280), (6, 10))]
)
def test_the_codes_grid(size, grid):
    with torch.device("meta"):
        space = PaperSpace()
        x = torch.empty(1, 3, *size)
        assert space.code_shape(size) == (512, *grid)
        code = space.encode(x, x)
        assert code.shape == (1, 512, *grid)
        assert space(x, code).shape == x.shape


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 200), (43, 42), (127, 129), (128, 64), (200, 3)])
def test_any_size_and_any_number_of_channels(size, channels):
    space = narrow(channels=channels)
    for pictures in (1, 3):
        x, y = noise(2, pictures, *size).sigmoid(), noise(2, pictures, *size, seed=1).sigmoid()
        with torch.no_grad():
            code = space.encode(x, y)
            blurry = space(x, code)
        # colours are blurred one by one where the networks see grey; G looks at their mean
        assert code.shape == (2, *space.code_shape(size))
        assert blurry.shape == x.shape
        assert blurry.isfinite().all()


def test_a_whole_picture_is_not_extended():
    space = narrow()
    x, code = noise(1, 3, 128, 256), noise(1, 6, 1, 2)
    with torch.no_grad():
        parts = space.recon_trunk(space.adapter(space.feature_extractor(x), code))
        assert torch.equal(space(x, code), x + parts)


def test_an_odd_picture_is_the_middle_of_the_extended_one():
    space = narrow()
    x, code = noise(1, 3, 101, 250), noise(1, 6, 1, 2)
    with torch.no_grad():
        whole = space(functional.pad(x, (3, 3, 13, 14), mode="reflect"), code)
        torch.testing.assert_close(space(x, code), whole[..., 13 : 13 + 101, 3 : 3 + 250])


def test_negative_codes_say_nothing():
    space = narrow()
    x, code = noise(1, 3, 128, 128).sigmoid(), noise(1, 6, 1, 1).abs()
    with torch.no_grad():
        zero = space(x, torch.zeros_like(code))
        assert torch.equal(space(x, -code), zero)
        assert not torch.allclose(space(x, 100 * code), zero, atol=1e-7)


def test_a_code_of_another_grid_is_resampled():
    space = narrow()
    x, one = noise(1, 3, 256, 300).sigmoid(), 50 * noise(1, 6, 1, 1).abs()
    with torch.no_grad():
        everywhere = space(x, one.expand(-1, -1, 2, 3))
        torch.testing.assert_close(space(x, one), everywhere)
        torch.testing.assert_close(space(x, one.expand(-1, -1, 6, 5)), everywhere)
        ramp = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2) * one
        by_hand = torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3) * one
        torch.testing.assert_close(space(x, ramp), space(x, by_hand.expand(-1, -1, 2, -1)))


def test_the_code_is_left_as_it_was():
    space, code = narrow(), noise(1, 6, 1, 1)
    before = code.clone()
    x = noise(1, 3, 128, 128)
    still = x.clone()
    space(x, code)
    assert torch.equal(code, before)
    assert torch.equal(x, still)


def test_sharp_and_blurry_are_no_synonyms():
    space = narrow()
    x, y = noise(1, 3, 128, 128), noise(1, 3, 128, 128, seed=1)
    with torch.no_grad():
        assert not torch.allclose(space.encode(x, y), space.encode(y, x))


def test_a_vae_gives_mean_and_raw_spread():
    space = narrow(vae=True)
    x, y = noise(1, 3, 128, 128), noise(1, 3, 128, 128, seed=1)
    with torch.no_grad():
        mean, spread = space.distribution(x, y)
        stem = [space.feature_extractor(picture) for picture in (x, y)]
        both = space.kernel_extractor(torch.cat(stem, dim=1))
    assert torch.equal(mean, both[:, :6])
    assert torch.equal(spread, both[:, 6:])
    assert (both < 0).any()
    assert torch.equal(space.encode(x, y), mean)
    assert narrow().distribution(x, y)[1] is None


def test_gradients_reach_picture_code_and_weights():
    space = narrow().double()
    x = torch.rand(1, 3, 128, 128, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    code = noise(1, 6, 1, 1).double().abs().requires_grad_()
    weights = noise(1, 3, 128, 128, seed=3).double()
    loss = (space(x, code) * weights).sum()
    loss.backward()
    assert all(p.grad is not None for name, p in space.named_parameters() if not name.startswith("kernel_extractor"))
    for variable in (x, code):
        step = 1e-6 * noise(*variable.shape, seed=2).double()
        moved = {id(x): x, id(code): code, id(variable): variable + step}
        with torch.no_grad():
            change = (space(moved[id(x)], moved[id(code)]) * weights).sum() - loss
        assert float(change) == pytest.approx(float((variable.grad * step).sum()), rel=1e-3)


def test_residual_blocks_start_near_the_identity():
    with seeded(torch.Generator().manual_seed(0)):
        block = ResidualBlock(32)
    assert block.conv1.weight.std().item() == pytest.approx(0.1 * (2 / (32 * 9)) ** 0.5, rel=0.05)
    assert not block.conv2.bias.any()
    x = noise(1, 32, 8, 8)
    with torch.no_grad():
        assert (block(x) - x).std() < 0.05 * x.std()


def test_a_mirrored_block_works_at_a_single_place():
    with seeded(torch.Generator().manual_seed(0)):
        block = MirroredBlock(3)
    x = noise(1, 3, 1, 1)
    with torch.no_grad():
        kernels = [block.conv_block[i].weight.sum((-2, -1)) for i in (1, 5)]
        by_hand = x[0, :, 0, 0] + kernels[1] @ (kernels[0] @ x[0, :, 0, 0]).relu()
        torch.testing.assert_close(block(x)[0, :, 0, 0], by_hand)


def test_extend_mirrors_where_it_can():
    x = torch.arange(6.0).view(1, 1, 2, 3)
    assert extend(x, (2, 1, 0, 0))[0, 0, 0].tolist() == [2, 1, 0, 1, 2, 1]
    assert extend(x, (3, 0, 0, 0))[0, 0, 0].tolist() == [0, 0, 0, 0, 1, 2]
    assert extend(x, (0, 0, 1, 2))[0, 0, :, 0].tolist() == [0, 0, 3, 3, 3]
    assert extend(x, (0, 0, 0, 0)) is x


def test_training_beats_leaving_the_picture_sharp():
    space = narrow(channels=1, features=8, code=16)
    blocks = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    sharp = functional.interpolate(blocks, scale_factor=4)
    blurry = functional.avg_pool2d(extend(sharp, (4, 4, 4, 4)), 9, stride=1)
    optimizer = torch.optim.Adam(space.parameters(), lr=5e-3)
    for _ in range(45):
        loss = (space(sharp, space.encode(sharp, blurry)) - blurry).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.9 * (sharp - blurry).abs().mean()


def test_config_builds_an_equal_structure():
    space = narrow(vae=True, channels=1)
    again = PaperSpace(**space.config())
    assert again.config() == space.config()
    again.load_state_dict(space.state_dict())
    assert all(type(value) in (int, bool) for value in space.config().values())


@pytest.mark.parametrize(
    "config", [{"channels": 2}, {"features": 0}, {"code": 0}, {"residual_front": -1}, {"extractor_blocks": -1}]
)
def test_impossible_sizes(config):
    with pytest.raises(ValueError, match=r"at least|channels"):
        PaperSpace(**config)


@pytest.mark.parametrize("shape", [(1, 5, 1, 1), (2, 6, 1, 1), (1, 6)])
def test_codes_that_do_not_fit(shape):
    with pytest.raises(ValueError, match=r"\(1, 6, rows, columns\)"):
        narrow()(torch.rand(1, 3, 64, 64), torch.zeros(shape))


def test_pictures_of_different_size():
    with pytest.raises(ValueError, match="differ"):
        narrow().encode(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 65))
