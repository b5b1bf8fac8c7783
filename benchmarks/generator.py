"""What a StyleGAN2 of the published sizes costs: seconds and memory of its passes, one after the other.

    python benchmarks/generator.py [--resolution 256] [--multiplier 2] [--threads 1] [--keep-memory]

Weights are random; one picture; derivatives by styles and noise maps, as a run takes them, the weights frozen. Seconds
are the best of ``--repeats``; "of its convolutions" divides by ordinary 3x3 ``conv2d`` calls with as many
multiplications as the network's, timed alike. ``--keep-memory`` asks glibc not to give memory back after every tensor,
which decides where fresh pages are slow.
"""

import argparse
import ctypes
import resource
import sys
import timeit
from collections.abc import Callable

import torch
from torch.nn.functional import conv2d

from deblurkit.nets.stylegan.stylegan2 import StyleGAN2

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h


def best(work: Callable[[], object], repeats: int) -> float:
    """Seconds of the quickest run, after one that does not count."""
    work()
    return min(timeit.repeat(work, number=1, repeat=repeats))


def plain(generator: StyleGAN2, backward: bool, repeats: int) -> float:
    """Seconds of ordinary convolutions with the multiplications of the generator's, in the quicker order of memory."""
    total = 0.0
    for level, (side, count) in enumerate(zip(generator.noise_sizes[::2], generator.channels, strict=True)):
        before = generator.channels[max(level - 1, 0)]
        for inputs, at in [(count, side)] + [(before, side // 2)] * (level > 0):
            x = torch.randn(1, inputs, at, at).contiguous(memory_format=torch.channels_last).requires_grad_(backward)
            weight = torch.randn(count, inputs, 3, 3)

            def work(x: torch.Tensor = x, weight: torch.Tensor = weight) -> None:
                y = conv2d(x, weight, padding=1)
                if backward:
                    torch.autograd.grad(y, x, y.detach())

            total += best(work, repeats)
    return total


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("resolution", 256), ("multiplier", 2), ("threads", 1), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"{default} if not given")
    parser.add_argument("--keep-memory", action="store_true", help="don't give memory back (Linux with glibc)")
    args = parser.parse_args()
    if args.keep_memory:
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1)):
            ctypes.CDLL(None).mallopt(option, value)
    torch.set_num_threads(args.threads)
    generator = StyleGAN2.published(args.resolution, args.multiplier).eval().requires_grad_(False)
    w = generator.map(torch.randn(1, generator.inputs)).unsqueeze(1).repeat(1, generator.latents, 1)
    noises = generator.own_noises()
    with torch.no_grad():
        forward = best(lambda: generator(w, noises), args.repeats)
    moved = [w.requires_grad_(), *(noise.requires_grad_() for noise in noises)]
    both = best(lambda: torch.autograd.grad(generator(w, noises).square().mean(), moved), args.repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> (20 if sys.platform == "darwin" else 10)
    for name, seconds, backward in (("forward", forward, False), ("forward+backward", both, True)):
        ratio = seconds / plain(generator, backward, args.repeats)
        print(f"{name:<16}  {seconds:6.2f} s  {ratio:5.2f} of its convolutions")
    print(f"peak memory       {peak:6} MiB, torch and the weights included")


if __name__ == "__main__":
    main()
