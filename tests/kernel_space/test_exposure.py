import torch

from deblurkit.kernel_space.exposure import expose
from deblurkit.ops.convolve import convolve_valid

SCENE = torch.rand(2, 3, 14, 13, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
KERNEL = torch.rand(2, 1, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
KERNEL = KERNEL / KERNEL.sum((-2, -1), keepdim=True)
ONE = torch.ones(2, dtype=torch.float64)


def test_a_linear_camera_convolves():
    sharp, blurry = expose(SCENE, KERNEL, gamma=ONE, gain=ONE)
    torch.testing.assert_close(sharp, SCENE[..., 2:-2, 2:-2])
    torch.testing.assert_close(blurry, convolve_valid(SCENE, KERNEL))


def test_light_adds_up_before_sensor_and_tone_curve():
    gamma, gain = torch.tensor([2.2, 1.0], dtype=torch.float64), torch.tensor([1.5, 2.0], dtype=torch.float64)
    sharp, blurry = expose(SCENE, KERNEL, gamma=gamma, gain=gain)
    for index in range(2):
        light = gain[index] * SCENE[index] ** gamma[index]
        patch = light[1, 3:8, 4:9]
        value = (patch * KERNEL[index, 0].flip(0, 1)).sum().clamp_max(1) ** (1 / gamma[index])
        torch.testing.assert_close(blurry[index, 1, 3, 4], value)
        torch.testing.assert_close(sharp[index, 1, 3, 4], light[1, 5, 6].clamp_max(1) ** (1 / gamma[index]))
    assert (sharp == 1).any()
    assert blurry.max() <= 1


def test_one_kernel_serves_all():
    _, blurry = expose(SCENE, KERNEL[:1], gamma=ONE, gain=ONE)
    torch.testing.assert_close(blurry, convolve_valid(SCENE, KERNEL[:1]))
