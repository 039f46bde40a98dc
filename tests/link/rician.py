from lrisc.link.channels import CHANNELS, ChannelModel, rayleigh_gains


def gains(length, block_length, generator):
    scattered = rayleigh_gains(length, block_length, generator)
    return (2 + scattered) / 5**0.5  # a line of sight four times as strong


CHANNELS.add("rician", ChannelModel(gains, "Rician block fading, K = 6 dB", fades=True))
