"""What is said of a checkpoint that is not opened."""

from __future__ import annotations

from pathlib import Path

from deblurkit.errors import UsageError


def damaged(path: Path, error: Exception) -> UsageError:
    """A file that ends early, or holds nonsense."""
    cause = " ".join(str(error).split()) or type(error).__name__
    return UsageError(f"{path}: is damaged or incomplete ({cause[:100]}); get the file anew")


def more_than_weights(path: Path, name: str, *, pickled: bool = False) -> UsageError:
    """A file that wants to call something.

    Args:
        path: The file.
        name: Of what it would call, in full.
        pickled: Whether it is a pickle of NVIDIA's, in which nothing else is expected to be torch's.
    """
    shown = name if name.isprintable() and len(name) <= 100 else ascii(name[:100])
    if not pickled and name.startswith(("torch.nn.modules.", "networks.", "models.")):
        return UsageError(
            f"{path}: is a whole network with its code, as SelfDeblur writes its _xnet.pth and _knet.pth, and opening "
            "it would run that code; only files of weights can be imported"
        )
    return UsageError(
        f"{path}: holds more than weights: opening it would run {shown}, so it was not opened; import a file of "
        "weights alone, from a source that you trust"
    )
