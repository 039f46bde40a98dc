"""All networks of one checkpoint, assembled."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lrisc.models.analysis import Analysis
from lrisc.models.config import ModelConfig
from lrisc.models.diffusion import ddim
from lrisc.models.entropy import Hyperprior, embedding_bits
from lrisc.models.jscc import JsccDecoder, JsccEncoder
from lrisc.models.unet import ContextPath, UNet


class Lrisc(nn.Module):
    """The networks left and right of the channel.

    ::

        image ─ analysis ─► latent ─(ROI)─ hyperprior ─► bits per embedding ─(rate rule)─► levels
                              └──────────── jscc_encoder(·, levels, SNR) ─► symbols
                                                                              │ channel
        reconstruction ◄─ DDIM(unet) ◄─ context ◄─ jscc_decoder(·, levels, SNR_i)
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.analysis = Analysis(config)
        self.hyperprior = Hyperprior(config)
        self.jscc_encoder = JsccEncoder(config)
        self.jscc_decoder = JsccDecoder(config)
        self.context = ContextPath(config)
        self.unet = UNet(config)

    def embedding_bits(self, latent: Tensor) -> Tensor:
        """-log2 p(z_i | y) of every embedding, without noise: (B, C, h, w) -> (B, h, w)."""
        return embedding_bits(self.hyperprior(latent, noisy=False).p_latent)

    def synthesise(
        self,
        latent: Tensor,
        steps: int | None = None,
        seed: int = 0,
        sigma_start: float | None = None,
    ) -> Tensor:
        """g_d: paint the picture that the received latent describes.

        Args:
            latent: ẑ, (B, C, h, w).
            steps: DDIM steps, at least 1; default: the config's.
            seed: of x_N, 64 bits.
            sigma_start: standard deviation of x_N; default: the config's.

        Returns:
            x̂0 in [-1, 1], (B, 3, 16h, 16w).
        """
        sigma = self.config.sigma_start if sigma_start is None else sigma_start
        b, _, h, w = latent.shape
        start = torch.zeros(b, 3, 16 * h, 16 * w)
        if sigma:
            # Drawn on the CPU, so that a seed gives one picture on every device.
            start.normal_(0.0, sigma, generator=torch.Generator().manual_seed(seed))
        start = start.to(latent.device)
        condition = self.context(latent)
        count = self.config.decode_steps if steps is None else steps
        return ddim(lambda x, time: self.unet(x, condition, time), start, count)
