"""A plugin: the example of docs/manual/extending.md, with switches for the tests."""

import os

import torch

from lrisc.errors import InputError, OutageError
from lrisc.evaluation.schemes import SCHEMES, Condition, Delivery, Picture, Scheme


@SCHEMES.register("grey")
class Grey(Scheme):
    """Sends the mean colour, with noise, in one symbol."""

    def send(self, picture: Picture, condition: Condition) -> Delivery:
        if condition.cbr < 1e-3:
            raise InputError("cbr too small for grey")
        if condition.snr_db < -5:
            raise OutageError("outage: too noisy for grey")
        if (after := os.environ.get("GREY_STOPS_AT")) and picture.name >= after:
            raise KeyboardInterrupt
        generator = torch.Generator().manual_seed(condition.seed)
        noise = torch.randn(picture.pixels.shape, generator=generator) * 10 ** (
            -condition.snr_db / 20
        )
        mean = picture.pixels.mean((1, 2), keepdim=True)
        return Delivery((mean + 0.1 * noise).clamp(0, 1), symbols=1, note="mean colour")
