"""StyleGAN2 by explicit sums in NumPy, from tensors as rosinality's files and NVIDIA's two kinds of pickles keep them.

Nothing here knows deblurkit's networks or how it reads checkpoints: the sums are those of the papers' definitions.
"""

from typing import Any

import numpy as np

Array = np.ndarray
TAPS = np.array([1.0, 3.0, 3.0, 1.0]) / 8
RATE = 0.01


def correlated(x: Array, kernel: Array) -> Array:
    """``y[o, m, n] = sum kernel[o, i, a, b] x[i, m + a - r, n + b - r]``, zero outside."""
    outputs, inputs, size, _ = kernel.shape
    reach, side = size // 2, x.shape[-1]
    padded = np.zeros((inputs, side + 2 * reach, side + 2 * reach))
    padded[:, reach : reach + side, reach : reach + side] = x
    y = np.zeros((outputs, side, side))
    for m in range(side):
        for n in range(side):
            patch = padded[:, m : m + size, n : n + size]
            for o in range(outputs):
                y[o, m, n] = (kernel[o] * patch).sum()
    return y


def stuffed(x: Array, margin: int) -> Array:
    """A zero behind every sample, and a margin of zeros around."""
    channels, side, _ = x.shape
    z = np.zeros((channels, 2 * side + 2 * margin, 2 * side + 2 * margin))
    for m in range(side):
        for n in range(side):
            z[:, margin + 2 * m, margin + 2 * n] = x[:, m, n]
    return z


def smoothed(z: Array, gain: float) -> Array:
    """``u[m, n] = gain sum taps[s] taps[t] z[m + s, n + t]`` wherever it lies inside."""
    side = z.shape[-1] - 3
    u = np.zeros((z.shape[0], side, side))
    for s in range(4):
        for t in range(4):
            u += gain * TAPS[s] * TAPS[t] * z[:, s : s + side, t : t + side]
    return u


def upsampled(x: Array) -> Array:
    """Twice the size: the filter's second half lies on the sample itself, two zeros before the first one."""
    side = x.shape[-1]
    return smoothed(stuffed(x, 2), 4.0)[:, : 2 * side, : 2 * side]


def spread(x: Array, kernel: Array) -> Array:
    """Every sample paints the kernel (o, i, 3, 3) at twice its place: the transposed convolution with stride 2."""
    outputs, inputs, size, _ = kernel.shape
    side = x.shape[-1]
    y = np.zeros((outputs, 2 * side + 1, 2 * side + 1))
    for m in range(side):
        for n in range(side):
            for i in range(inputs):
                y[:, 2 * m : 2 * m + size, 2 * n : 2 * n + size] += kernel[:, i] * x[i, m, n]
    return y


def modulated(kernel: Array, scale: Array, *, demodulate: bool) -> Array:
    """The weights (o, i, k, k) of one sample."""
    kernel = kernel / np.sqrt(kernel[0].size) * scale[None, :, None, None]
    if demodulate:
        kernel = kernel / np.sqrt((kernel**2).sum((1, 2, 3), keepdims=True) + 1e-8)
    return kernel


def activated(x: Array) -> Array:
    return np.sqrt(2) * np.where(x >= 0, x, 0.2 * x)


def dense(x: Array, weight: Array, bias: Array, rate: float = 1.0) -> Array:
    """Weights (out, in), kept larger than they are used."""
    return rate / np.sqrt(weight.shape[1]) * weight @ x + rate * bias


def whitened(z: Array) -> Array:
    return z / np.sqrt((z**2).mean() + 1e-8)


def rosinality_style(t: dict[str, Any], z: Array) -> Array:
    x = whitened(z)
    for layer in range(1, 100):
        if f"style.{layer}.weight" in t:
            x = activated(dense(x, t[f"style.{layer}.weight"], t[f"style.{layer}.bias"], RATE))
    return x


def rosinality_picture(t: dict[str, Any], w: Array, noises: list[Array]) -> Array:
    """A picture of 8 x 8 pixels from styles (4, D)."""

    def weights(name: str, style: Array, demodulate: bool) -> Array:
        scale = dense(style, t[f"{name}.conv.modulation.weight"], t[f"{name}.conv.modulation.bias"])
        return modulated(t[f"{name}.conv.weight"][0], scale, demodulate=demodulate)

    def finished(x: Array, name: str, noise: Array) -> Array:
        return activated(x + t[f"{name}.noise.weight"][0] * noise + t[f"{name}.activate.bias"][:, None, None])

    x = t["input.input"][0]
    x = finished(correlated(x, weights("conv1", w[0], True)), "conv1", noises[0])
    rgb = correlated(x, weights("to_rgb1", w[1], False)) + t["to_rgb1.bias"][0]
    x = spread(x, weights("convs.0", w[1], True))
    x = smoothed(np.pad(x, ((0, 0), (1, 1), (1, 1))), 4.0)
    x = finished(x, "convs.0", noises[1])
    x = finished(correlated(x, weights("convs.1", w[2], True)), "convs.1", noises[2])
    return upsampled(rgb) + correlated(x, weights("to_rgbs.0", w[3], False)) + t["to_rgbs.0.bias"][0]


def tensorflow_style(t: dict[str, Any], z: Array) -> Array:
    x = whitened(z)
    for layer in range(100):
        if f"mapping/Dense{layer}/weight" in t:
            x = activated(dense(x, t[f"mapping/Dense{layer}/weight"].T, t[f"mapping/Dense{layer}/bias"], RATE))
    return x


def tensorflow_picture(t: dict[str, Any], w: Array, noises: list[Array]) -> Array:
    """A picture of 8 x 8 pixels from styles (4, D).

    ``upsample_conv_2d`` is documented as ``upsample_2d`` followed by ``conv2d``, with nothing cut off in between; so
    it is computed here: no transposed convolution and no turned kernel.
    """

    def weights(name: str, style: Array, demodulate: bool) -> Array:
        scale = dense(style, t[f"{name}/mod_weight"].T, t[f"{name}/mod_bias"]) + 1
        kernel = np.moveaxis(t[f"{name}/weight"], (0, 1, 2, 3), (2, 3, 1, 0))  # height, width, in, out
        return modulated(kernel, scale, demodulate=demodulate)

    def finished(x: Array, name: str, noise: Array) -> Array:
        return activated(x + t[f"{name}/noise_strength"] * noise + t[f"{name}/bias"][:, None, None])

    x = t["synthesis/4x4/Const/const"][0]
    x = finished(correlated(x, weights("synthesis/4x4/Conv", w[0], True)), "synthesis/4x4/Conv", noises[0])
    rgb = correlated(x, weights("synthesis/4x4/ToRGB", w[1], False)) + t["synthesis/4x4/ToRGB/bias"][:, None, None]
    name = "synthesis/8x8/Conv0_up"
    margin = 4
    around = smoothed(stuffed(x, 2 + margin), 4.0)  # begins `margin` pixels before the picture
    x = correlated(around, weights(name, w[1], True))[:, margin : margin + 8, margin : margin + 8]
    x = finished(x, name, noises[1])
    x = finished(correlated(x, weights("synthesis/8x8/Conv1", w[2], True)), "synthesis/8x8/Conv1", noises[2])
    name = "synthesis/8x8/ToRGB"
    return upsampled(rgb) + correlated(x, weights(name, w[3], False)) + t[f"{name}/bias"][:, None, None]


def nvidia_style(t: dict[str, Any], z: Array) -> Array:
    x = whitened(z)
    for layer in range(100):
        if f"mapping.fc{layer}.weight" in t:
            x = activated(dense(x, t[f"mapping.fc{layer}.weight"], t[f"mapping.fc{layer}.bias"], RATE))
    return x


def nvidia_picture(t: dict[str, Any], w: Array, noises: list[Array]) -> Array:
    """A picture of 8 x 8 pixels from styles (4, D); only the conversion to RGB divides by the root of its inputs."""

    def weights(name: str, style: Array, demodulate: bool) -> Array:
        kernel, scale = t[f"{name}.weight"], dense(style, t[f"{name}.affine.weight"], t[f"{name}.affine.bias"])
        if not demodulate:
            return kernel * (scale / np.sqrt(kernel.shape[1]))[None, :, None, None]
        kernel = kernel * scale[None, :, None, None]
        return kernel / np.sqrt((kernel**2).sum((1, 2, 3), keepdims=True) + 1e-8)

    def finished(x: Array, name: str, noise: Array) -> Array:
        return activated(x + t[f"{name}.noise_strength"] * noise + t[f"{name}.bias"][:, None, None])

    x = t["synthesis.b4.const"]
    name = "synthesis.b4.conv1"
    x = finished(correlated(x, weights(name, w[0], True)), name, noises[0])
    rgb = correlated(x, weights("synthesis.b4.torgb", w[1], False)) + t["synthesis.b4.torgb.bias"][:, None, None]
    name = "synthesis.b8.conv0"
    x = smoothed(np.pad(spread(x, weights(name, w[1], True)), ((0, 0), (1, 1), (1, 1))), 4.0)
    x = finished(x, name, noises[1])
    name = "synthesis.b8.conv1"
    x = finished(correlated(x, weights(name, w[2], True)), name, noises[2])
    name = "synthesis.b8.torgb"
    return upsampled(rgb) + correlated(x, weights(name, w[3], False)) + t[f"{name}.bias"][:, None, None]
