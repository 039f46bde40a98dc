import torch

from lrisc.link.channels import CHANNELS, ChannelModel, rayleigh_gains


def gains(length, block_length, generator):
    first, second = (rayleigh_gains(length, block_length, generator).abs() for _ in range(2))
    return torch.complex(first, second) / 2**0.5


CHANNELS.add("nakagami", ChannelModel(gains, "Nakagami block fading, m = 2", fades=True))
