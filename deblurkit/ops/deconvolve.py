"""Non-blind deconvolution: the sharp picture for a known kernel, a sparse gradient prior and an unknown border.

Minimised over the latent image ``x``, which is larger than ``y`` by half a kernel on every side::

    1/2 sum_p m_p (y_p - (k * x)_p)^2 + weight sum_i c_i phi(|D_i x|)

with a mask ``m``, first differences (``c = 1``) and, optionally, second differences (``c = 1/4``). The problem is split
into ``z = k * x`` and ``u_i = D_i x`` and solved by ADMM: ``x`` in Fourier space on a periodic grid, ``z`` and ``u``
pixel by pixel. What lies outside the observation is simply not observed, so no border is invented and nothing wraps
into the picture (Almeida and Figueiredo 2013; the prior is Krishnan and Fergus 2009).

A part of a frame with two kernel widths around it restores like the frame: within about 0.01 under a convex prior, and
up to single pixels under a hyper-Laplacian, whose thresholds may fall either way (about 0.005 root mean square).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from deblurkit.errors import UsageError
from deblurkit.ops.fourier import difference_powers, fast_size, kernel_spectrum
from deblurkit.ops.gradients import (
    forward_differences,
    forward_differences_adjoint,
    second_differences,
    second_differences_adjoint,
)
from deblurkit.ops.inpaint import fill
from deblurkit.ops.shapes import require_pair
from deblurkit.ops.shrink import Shrink

WHITE = 0.99
SECOND_ORDER = 0.25
ITERATIONS = 30

# Penalties of the splitting; the gradients' one is weight / _GRADIENT_STEP. They decide the speed, not the minimum:
# with these 15 iterations come within 0.4 dB of 30, on pictures with lamps within 2 dB.
_BLUR_PENALTY = 0.1
_GRADIENT_STEP = 0.06
# Colour differences vary less than brightness, so their gradients are penalised more.
_CHROMA = 2.0
_OPPONENTS = (
    (3**-0.5, 3**-0.5, 3**-0.5),
    (2**-0.5, 0.0, -(2**-0.5)),
    (6**-0.5, -2.0 * 6**-0.5, 6**-0.5),
)


def noise_weight(noise: Tensor) -> Tensor:
    """Weight of the sparse gradient prior for a noise level, found on pictures with 0 to 3 % of noise.

    The offset stands for what an inexact kernel leaves unexplained: real photographs (Levin's, with measured kernels)
    and kernels that are slightly wrong want it, a synthetic picture with its exact kernel could do with a tenth.

    Args:
        noise: Standard deviation of the noise in units of ``y``, ``(B,)``.

    Returns:
        ``(B,)``, at least 5e-5.
    """
    return 1.5 * noise.square() + 5e-5


@torch.no_grad()
def deconvolve(
    y: Tensor,
    kernel: Tensor,
    *,
    mask: Tensor,
    shrink: Shrink,
    weight: Tensor,
    second_order: float = SECOND_ORDER,
    isotropic: bool = False,
    iterations: int = ITERATIONS,
    white: float = WHITE,
) -> Tensor:
    """Latent image for a fixed kernel.

    Three channels are treated as colour: the prior acts on brightness and two colour differences (orthonormal, so the
    data term stays what it is). A pixel at or above ``white`` is a lower bound: the blur may be brighter, not darker.

    Args:
        y: Blurry pictures ``(B, C, H, W)`` in [0, 1].
        kernel: ``(B, 1, h, w)`` or ``(1, 1, h, w)``, odd sides, non-negative, sum 1, true convolution.
        mask: ``(B, 1, H, W)`` or ``(1, 1, H, W)``, in [0, 1]: how far a pixel can be believed.
        shrink: Proximal map of the penalty, see :mod:`deblurkit.ops.shrink`.
        weight: Weight of the prior, ``(B,)``, positive; :func:`noise_weight` knows one.
        second_order: Weight of second differences relative to first ones; 0 leaves them out.
        isotropic: Penalise the length of the gradient instead of each of its two components.
        iterations: Rounds of the splitting; 15 are a decent result, 30 nearly converged; lamps want 100.
        white: Brightness from which a pixel counts as saturated; above 1 none does.

    Returns:
        ``(B, C, H + h - 1, W + w - 1)``, not clipped.

    Raises:
        ValueError: A layout is wrong.
        KernelError: A kernel side is even.
        UsageError: The weight is not positive, or there are no iterations.
    """
    require_pair(y, kernel)
    _require_door(y, mask, weight, second_order, iterations)
    problem = Splitting(y, kernel, mask=mask, weight=weight, second_order=second_order, white=white)
    for _ in range(iterations):
        problem.step(shrink, isotropic)
    return problem.picture()


class Splitting:
    """State of the ADMM on one periodic grid, with scaled multipliers, in opponent colours.

    :func:`deconvolve` runs it from the start; a blind estimation keeps it and changes the kernel now and then. The
    arguments are those of :func:`deconvolve`, not checked again.
    """

    def __init__(
        self,
        y: Tensor,
        kernel: Tensor,
        *,
        mask: Tensor,
        weight: Tensor,
        second_order: float = SECOND_ORDER,
        white: float = WHITE,
    ) -> None:
        self.size = (y.shape[-2] + kernel.shape[-2] - 1, y.shape[-1] + kernel.shape[-1] - 1)
        grid = fast_size(self.size[0]), fast_size(self.size[1])
        top, left = kernel.shape[-2] // 2, kernel.shape[-1] // 2
        frame = (left, grid[1] - y.shape[-1] - left, top, grid[0] - y.shape[-2] - top)
        colour = y.shape[1] == 3
        self.second, self.grid = second_order > 0, grid
        self.mask = F.pad(mask.to(y.dtype).expand(y.shape[0], 1, -1, -1), frame)
        self.saturated = F.pad((y >= white) & (mask > 0), frame)
        self.any_saturated = bool(self.saturated.any())
        self.rgb = F.pad(y, frame)
        self.mixing = y.new_tensor(_OPPONENTS) if colour else None
        self.observed = self.mask * self._mixed(self.rgb)
        self.ratio = _ratio(weight)
        amounts = y.new_tensor([1.0, _CHROMA, _CHROMA] if colour else [1.0]).view(1, -1, 1, 1) * _GRADIENT_STEP
        self.amounts = [amounts, amounts] + [second_order * amounts] * (3 if self.second else 0)
        py, px = difference_powers(grid, y)
        self.power = px + py + (px * px + px * py + py * py if self.second else 0.0)
        x = self._mixed(F.pad(fill(y, (mask > 0).to(y.dtype)), frame, mode="replicate"))
        self.x = x
        self.renew(kernel)
        self.differences = self._differences(x)
        self.blur_multiplier = torch.zeros_like(x)
        self.multipliers = [torch.zeros_like(x) for _ in self.differences]

    def renew(self, kernel: Tensor) -> None:
        """Go on with another kernel of the same size, ``(B, 1, h, w)``, from the present picture and multipliers."""
        self.spectrum = kernel_spectrum(kernel, self.grid)
        self._invert()
        self.blurred = torch.fft.irfft2(torch.fft.rfft2(self.x) * self.spectrum, s=self.grid)

    def reweigh(self, weight: Tensor) -> None:
        """Go on with another weight of the prior, ``(B,)``, from the present picture: one that depends on it, say."""
        before, self.ratio = self.ratio, _ratio(weight)
        # the multipliers are scaled by the gradients' penalty, which follows the weight
        for multiplier in self.multipliers:
            multiplier.mul_(before / self.ratio)
        self._invert()

    def step(self, shrink: Shrink, isotropic: bool) -> None:
        """One round: gradients and blurred picture pixel by pixel, latent picture in Fourier space, multipliers."""
        for difference, multiplier in zip(self.differences, self.multipliers, strict=True):
            difference.add_(multiplier)
        length = torch.hypot(self.differences[0], self.differences[1]) if isotropic else None
        for index, (wanted, multiplier) in enumerate(zip(self.differences, self.multipliers, strict=True)):
            magnitude = length if length is not None and index < 2 else wanted.abs()
            # From here on a multiplier holds minus what the x-step should reach, until the new difference is added.
            multiplier.sub_(wanted.mul_(shrink(magnitude, self.amounts[index])))
        self.blur_multiplier.sub_(self._believed(self.blurred.add_(self.blur_multiplier)))
        spectrum = torch.fft.rfft2(self._adjoint(self.multipliers)).mul_(self.from_gradients)
        spectrum.addcmul_(torch.fft.rfft2(self.blur_multiplier), self.from_blur)
        self.x = torch.fft.irfft2(spectrum, s=self.grid)
        self.blurred = torch.fft.irfft2(spectrum.mul_(self.spectrum), s=self.grid)
        self.differences = self._differences(self.x)
        for difference, multiplier in zip(self.differences, self.multipliers, strict=True):
            multiplier.add_(difference)
        self.blur_multiplier.add_(self.blurred)

    def _invert(self) -> None:
        inverse = -1.0 / (self.spectrum.abs().square() + self.ratio * self.power)
        self.from_gradients = (self.ratio * inverse).to(self.spectrum.dtype)
        self.from_blur = self.spectrum.conj() * inverse

    def picture(self) -> Tensor:
        """The latent picture ``(B, C, H + h - 1, W + w - 1)`` in the colours of the observation."""
        x = self.x if self.mixing is None else torch.einsum("ij,bihw->bjhw", self.mixing, self.x)
        return x[..., : self.size[0], : self.size[1]]

    def _mixed(self, x: Tensor) -> Tensor:
        return x if self.mixing is None else torch.einsum("ij,bjhw->bihw", self.mixing, x)

    def _believed(self, proposal: Tensor) -> Tensor:
        """Blurred picture between the proposal and the observation; a saturated pixel only asks not to be darker."""
        nearer = (self.observed + _BLUR_PENALTY * proposal) / (self.mask + _BLUR_PENALTY)
        if not self.any_saturated:
            return nearer
        if self.mixing is None:
            return torch.where(self.saturated & (proposal >= self.rgb), proposal, nearer)
        plain = torch.einsum("ij,bihw->bjhw", self.mixing, proposal)
        weighted = (self.mask * self.rgb + _BLUR_PENALTY * plain) / (self.mask + _BLUR_PENALTY)
        return self._mixed(torch.where(self.saturated & (plain >= self.rgb), plain, weighted))

    def _differences(self, x: Tensor) -> list[Tensor]:
        first = forward_differences(x, periodic=True)
        return [*first, *second_differences(x, periodic=True)] if self.second else [*first]

    def _adjoint(self, parts: list[Tensor]) -> Tensor:
        first = forward_differences_adjoint(parts[0], parts[1], periodic=True)
        return first + second_differences_adjoint(*parts[2:], periodic=True) if self.second else first


def _ratio(weight: Tensor) -> Tensor:
    """Penalty of the gradients in units of the blur's, ``(B, 1, 1, 1)``, so that the x-step has one division less."""
    return (weight / (_GRADIENT_STEP * _BLUR_PENALTY)).view(-1, 1, 1, 1)


def _require_door(y: Tensor, mask: Tensor, weight: Tensor, second_order: float, iterations: int) -> None:
    if mask.ndim != 4 or mask.shape[0] not in (1, y.shape[0]) or mask.shape[1:] != (1, *y.shape[-2:]):
        raise ValueError(f"mask: needs (B, 1, H, W) to fit {tuple(y.shape)}, got {tuple(mask.shape)}")
    if weight.shape != (y.shape[0],):
        raise ValueError(f"weight: needs one per picture, ({y.shape[0]},), got {tuple(weight.shape)}")
    if not bool((weight > 0).all()) or not bool(torch.isfinite(weight).all()):
        raise UsageError(f"weight: must be positive, got {weight.tolist()}; without a prior the noise takes over")
    if second_order < 0 or iterations < 1:
        raise UsageError(f"second_order and iterations: must be >= 0 and >= 1, got {second_order} and {iterations}")
