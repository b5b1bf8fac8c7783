import pytest
import torch

from deblurkit.ops import gradients

BORDERS = pytest.mark.parametrize("periodic", [False, True])


def test_forward_differences_by_definition():
    x = torch.tensor([[[[1.0, 4.0, 9.0], [0.0, 2.0, 7.0]]]])
    dx, dy = gradients.forward_differences(x)
    assert dx.tolist() == [[[[3.0, 5.0, 0.0], [2.0, 5.0, 0.0]]]]
    assert dy.tolist() == [[[[-1.0, -2.0, -2.0], [0.0, 0.0, 0.0]]]]
    dx, dy = gradients.forward_differences(x, periodic=True)
    assert dx.tolist() == [[[[3.0, 5.0, -8.0], [2.0, 5.0, -7.0]]]]
    assert dy.tolist() == [[[[-1.0, -2.0, -2.0], [1.0, 2.0, 2.0]]]]


def test_second_differences_by_definition(draw):
    x = draw(1, 1, 6, 7)
    dxx, dxy, dyy = gradients.second_differences(x)
    torch.testing.assert_close(dxx[..., :-2], x[..., 2:] - 2 * x[..., 1:-1] + x[..., :-2])
    torch.testing.assert_close(dyy[..., :-2, :], x[..., 2:, :] - 2 * x[..., 1:-1, :] + x[..., :-2, :])
    corner = x[..., 1:, 1:] - x[..., 1:, :-1] - x[..., :-1, 1:] + x[..., :-1, :-1]
    torch.testing.assert_close(dxy[..., :-1, :-1], corner)


@BORDERS
def test_adjoints(draw, periodic):
    x = draw(2, 3, 5, 8)
    first, second = [draw(2, 3, 5, 8) for _ in range(2)], [draw(2, 3, 5, 8) for _ in range(3)]
    forward = gradients.forward_differences(x, periodic=periodic)
    back = gradients.forward_differences_adjoint(*first, periodic=periodic)
    torch.testing.assert_close(sum((a * b).sum() for a, b in zip(forward, first, strict=True)), (x * back).sum())
    forward = gradients.second_differences(x, periodic=periodic)
    back = gradients.second_differences_adjoint(*second, periodic=periodic)
    torch.testing.assert_close(sum((a * b).sum() for a, b in zip(forward, second, strict=True)), (x * back).sum())


def test_total_variation_of_a_step(draw):
    x = torch.zeros(2, 1, 4, 6, dtype=torch.float64)
    x[1, :, :, 3:] = 0.5
    expected = torch.tensor([0.0, 4 * 0.5 / 24], dtype=torch.float64)
    torch.testing.assert_close(gradients.total_variation(x, smoothing=0.0), expected)
    assert torch.autograd.gradcheck(gradients.total_variation, draw(2, 2, 4, 5).requires_grad_())


def test_quadratic_variation_by_definition(draw):
    x = draw(2, 3, 5, 4)
    expected = []
    for picture in x:
        rows = sum((picture[:, i + 1] - picture[:, i]).square().sum() for i in range(4)) / (3 * 4 * 4)
        columns = sum((picture[..., i + 1] - picture[..., i]).square().sum() for i in range(3)) / (3 * 5 * 3)
        expected.append(2 * (rows + columns))
    torch.testing.assert_close(gradients.quadratic_variation(x), torch.stack(expected))


def test_hyper_laplacian_by_definition(draw):
    x = draw(1, 3, 4, 5)
    grey = torch.nn.functional.pad(x.sum(1)[0], (1, 1, 1, 1))
    total = 0.0
    for row in range(1, 5):
        for column in range(1, 6):
            patch = grey[row - 1 : row + 2, column - 1 : column + 2]
            weights = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)
            gx = ((patch[:, 2] - patch[:, 0]) * weights).sum()
            gy = ((patch[2] - patch[0]) * weights).sum()
            total += (gx**2 + gy**2 + 1e-6) ** 0.33
    torch.testing.assert_close(gradients.hyper_laplacian(x, 0.66)[0], total / 20)
    assert torch.autograd.gradcheck(lambda t: gradients.hyper_laplacian(t, 0.66), x.requires_grad_())


def test_bad_input(draw):
    with pytest.raises(ValueError, match="exponent: must lie in"):
        gradients.hyper_laplacian(draw(1, 1, 4, 4), 0.0)
    with pytest.raises(ValueError, match="at least 2x2"):
        gradients.quadratic_variation(draw(1, 1, 1, 4))
    with pytest.raises(ValueError, match="image: needs"):
        gradients.total_variation(draw(4, 4))
