"""The perceptual distance: VGG19 against a plain nn.Sequential, the stand-in against its definition."""

import pytest
import safetensors.torch
import torch
from torch import nn

from deblurkit.core import Observation
from deblurkit.data_terms.perceptual import Perceptual, laplacian_pyramid
from deblurkit.data_terms.plugin import PerceptualParams, SSIMParams
from deblurkit.data_terms.structural import SSIM
from deblurkit.errors import ConfigError, UsageError

LEVELS = (0.2, 0.4, 0.8, 1.0, 3.0)
# torchvision's configuration "E", up to relu5_1
PLAN = [64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512]


def plain_vgg():
    layers, width = [], 3
    for item in PLAN:
        if item == "M":
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
        else:
            layers += [nn.Conv2d(width, item, kernel_size=3, padding=1), nn.ReLU(inplace=True)]
            width = item
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def vgg(tmp_path_factory):
    """A file with random weights, and the network that they belong to."""
    net = plain_vgg().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            fan_in = layer.weight[0].numel()
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * (2 / fan_in) ** 0.5)
            layer.bias.copy_(0.01 * torch.randn(layer.bias.shape, generator=generator))
    state = {f"features.{name}": value for name, value in net.state_dict().items()}
    state["classifier.0.weight"] = torch.zeros(2, 2)
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(state, path)
    return path, net, state


def pair(channels=3, size=(32, 40)):
    g = torch.Generator().manual_seed(1)
    y = torch.rand(2, channels, *size, generator=g)
    return Observation.of(y), (y + 0.1 * torch.randn(y.shape, generator=g)).clamp(0, 1)


def by_hand(net, a, b):
    """relu1_1, 2_1, 3_1, 4_1, 5_1 stand at 1, 6, 11, 20, 29 of torchvision's features."""
    total = torch.zeros(len(a))
    for index, layer in enumerate(net):
        a, b = layer(a), layer(b)
        if index in (1, 6, 11, 20, 29):
            total = total + LEVELS[(1, 6, 11, 20, 29).index(index)] * (a - b).abs().mean((1, 2, 3))
    return total


@pytest.mark.parametrize("channels", [1, 3])
def test_vgg_distance_is_that_of_a_plain_network(vgg, channels):
    path, net, _ = vgg
    o, x = pair(channels)
    value = Perceptual(PerceptualParams(weights=path)).distance(x, o)
    expected = by_hand(net, x.expand(-1, 3, -1, -1).clone(), o.y.expand(-1, 3, -1, -1).clone())
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)
    assert float(value.min()) > 0


def test_the_loss_changes_exactly_at_the_switch(vgg):
    o, x = pair()
    term = Perceptual(PerceptualParams(weights=vgg[0], switch=7, late_weight=2.0))
    distance, structural = term.distance(x, o), SSIM(SSIMParams())(x, o, 0)
    torch.testing.assert_close(term(x, o, 6), 0.6 * distance + structural)
    torch.testing.assert_close(term(x, o, 7), 2.0 * distance)


def test_gradients_reach_the_picture_and_not_the_weights(vgg):
    o, x = pair()
    term = Perceptual(PerceptualParams(weights=vgg[0]))
    x.requires_grad_()
    term(x, o, 3000).sum().backward()
    assert float(x.grad.abs().max()) > 0
    assert not [p for p in term.parameters() if p.requires_grad]


def test_masked_pixels_have_no_influence_through_the_network(vgg):
    o, x = pair()
    mask = o.mask.clone()
    mask[..., 8:16, 8:16] = 0
    masked = Observation.of(o.y, mask=mask)
    term = Perceptual(PerceptualParams(weights=vgg[0]))
    other = torch.where(mask > 0, x, torch.zeros_like(x))
    assert torch.equal(term(x, masked, 0), term(other, masked, 0))
    nothing = Observation.of(o.y, mask=torch.zeros_like(mask))
    assert torch.equal(term.distance(x, nothing), torch.zeros(2))


def test_a_picture_too_small_for_all_levels_still_counts(vgg):
    o, x = pair(size=(9, 12))
    for term in (Perceptual(PerceptualParams(weights=vgg[0])), Perceptual(PerceptualParams())):
        assert bool((term(x, o, 0) > term(o.y, o, 0)).all())


def test_safetensors_module_prefix_and_global_randomness(vgg, tmp_path):
    path, _, state = vgg
    safetensors.torch.save_file({f"module.{k}": v.clone() for k, v in state.items()}, tmp_path / "v.safetensors")
    o, x = pair()
    before = torch.random.get_rng_state()
    a = Perceptual(PerceptualParams(weights=tmp_path / "v.safetensors"))(x, o, 0)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(a, Perceptual(PerceptualParams(weights=path))(x, o, 0))


def test_files_that_are_not_vgg19(vgg, tmp_path):
    state = vgg[2]
    vgg16 = {k: v for k, v in state.items() if not k.startswith("features.16")}
    torch.save(vgg16, tmp_path / "vgg16.pth")
    torch.save({"features.0.weight": torch.zeros(64, 1, 3, 3)}, tmp_path / "grey.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save(dict.fromkeys(state, "text"), tmp_path / "text.pth")
    torch.save(plain_vgg(), tmp_path / "module.pth")
    (tmp_path / "page.pth").write_text("<html>quota exceeded</html>")
    (tmp_path / "empty.safetensors").write_bytes(b"")
    words = {
        "vgg16.pth": "features.16.weight' is missing",
        "grey.pth": r"of shape \(64, 1, 3, 3\)",
        "list.pth": "no state dict but a list",
        "text.pth": "missing",
        "module.pth": "cannot be read as weights",
        "page.pth": "cannot be read as weights",
        "empty.safetensors": "cannot be read as weights",
        "absent.pth": "No such file",
        "": "Is a directory|cannot be read",
    }
    for name, text in words.items():
        with pytest.raises(UsageError, match=text) as caught:
            Perceptual(PerceptualParams(weights=tmp_path / name))
        assert "\n" not in str(caught.value)


def test_the_pyramid_adds_up_to_the_picture():
    x = torch.rand(1, 2, 37, 50, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    bands = laplacian_pyramid(x)
    assert [tuple(b.shape[-2:]) for b in bands] == [(37, 50), (19, 25), (10, 13), (5, 7), (3, 4)]
    back = bands[-1]
    for band in bands[-2::-1]:
        up = torch.nn.functional.interpolate(back, size=band.shape[-2:], mode="bilinear", align_corners=False)
        back = band + up
    torch.testing.assert_close(back, x)


def test_the_pyramid_separates_scales():
    """A constant is all in the rest, a checkerboard all in the first band, and a slope is in no fine one."""
    constant = laplacian_pyramid(torch.full((1, 1, 64, 64), 0.3, dtype=torch.float64))
    assert [round(float(b.abs().max()), 9) for b in constant] == [0, 0, 0, 0, 0.3]
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    inner = (..., slice(4, -4), slice(4, -4))
    checkers = laplacian_pyramid((((rows + columns) % 2) * 2 - 1)[None, None])
    assert float(checkers[0][inner].abs().min()) > 0.99
    assert float(checkers[1][inner].abs().max()) < 0.01
    ramp = laplacian_pyramid((columns / 64)[None, None])
    assert float(ramp[0][inner].abs().max()) < 1e-6


def test_the_stand_in_is_the_weighted_mean_of_the_bands():
    o, x = pair()
    value = Perceptual(PerceptualParams(levels=(1.0, 2.0, 3.0, 4.0, 5.0))).distance(x, o)
    bands = zip((1.0, 2.0, 3.0, 4.0, 5.0), laplacian_pyramid(x), laplacian_pyramid(o.y), strict=True)
    expected = sum(w * (a - b).abs().mean((1, 2, 3)) for w, a, b in bands)
    torch.testing.assert_close(value, expected, rtol=0, atol=15 * 1e-4)
    assert float(expected.min()) > 0.1


def test_five_weights_are_needed():
    with pytest.raises(ConfigError, match="five weights"):
        PerceptualParams(levels=(1.0,))
