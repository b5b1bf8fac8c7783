"""Which offers of `encoded` hold, told from the header of the kernel space's file alone."""

from deblurkit.errors import UsageError
from deblurkit.kernel_priors.plugin import EncodedParams
from deblurkit.nets.kernel_space.header import read_header, space_path
from deblurkit.specs import Offer

CONVOLUTIONAL = "compact"
"""The preset whose codes stand for convolution kernels."""


def offers(params: EncodedParams) -> set[str]:
    """The offers that hold for these parameters.

    A closed form, and a kernel to show, need a space with a convolution at its core, and one free code for all places.

    Raises:
        UsageError: If the space's file is missing or is none, or has no codes for tiles and they are asked for.
    """
    always = {Offer.PARAMETERS, Offer.ENERGY}
    preset = read_header(params.space).preset
    if preset != CONVOLUTIONAL:
        if params.tiles > 1:
            raise UsageError(
                f"kernel_prior.tiles: the preset '{preset}' of {space_path(params.space)} has a grid of codes of its "
                "own; leave tiles out"
            )
        return {*always}
    if params.tiles > 1 or params.response:
        return {*always, Offer.FIT}
    closed = {Offer.ESTIMATE} if params.code == "free" else set()
    return {*always, *closed, Offer.KERNEL, Offer.FIT}
