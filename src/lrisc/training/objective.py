"""One training step: from a batch of pictures to the loss of v1, Eq. 11."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lrisc.link.channels import mmse, noise_variance
from lrisc.link.rate_control import quantise_rate, rate_scale_for
from lrisc.models.diffusion import add_noise, loss_weight
from lrisc.models.entropy import bits, embedding_bits
from lrisc.models.jscc import symbol_mask
from lrisc.models.lrisc import Lrisc


@dataclass(frozen=True)
class LinkConditions:
    """What every picture of a batch meets.

    Attributes:
        snr_db: mean SNR in dB, (B,).
        cbr: payload symbols per (3·H·W), (B,).
        fading: which pictures cross Rayleigh block fading, (B,) bool.
        block_length: length of a fading block in symbols.
    """

    snr_db: Tensor
    cbr: Tensor
    fading: Tensor
    block_length: int = 256


def cross_channel(
    symbols: Tensor, mask: Tensor, conditions: LinkConditions
) -> tuple[Tensor, Tensor]:
    """Power normalisation, channel and equaliser on unpacked symbols, differentiable.

    The frame's interleaver spreads an embedding's symbols over the fading blocks, so here every
    symbol draws one of its picture's blocks.

    Args:
        symbols: f_e's output, (B, n, max(V), 2).
        mask: symbols that exist, (B, n, max(V)).
        conditions: SNR and fading per picture.

    Returns:
        MMSE-equalised symbols, zero where none exists, same shape as ``symbols``; and SNR_i in
        dB, (B, n).
    """
    symbols = symbols.float() * mask.unsqueeze(-1)
    sent = mask.flatten(1).sum(1).clamp(min=1)
    energy = symbols.square().flatten(1).sum(1) / sent
    s = torch.view_as_complex(symbols) * energy.clamp(min=1e-12).rsqrt()[:, None, None]

    n0 = noise_variance(conditions.snr_db.float())
    assert isinstance(n0, Tensor)
    n0 = n0[:, None, None]
    batch = s.shape[0]
    blocks = int(sent.max()) // conditions.block_length + 1
    drawn = torch.randn(batch, blocks, dtype=torch.complex64, device=s.device)
    which = torch.randint(blocks, (batch, s.shape[1] * s.shape[2]), device=s.device)
    gains = drawn.gather(1, which).view_as(s)
    gains = torch.where(conditions.fading[:, None, None], gains, torch.ones_like(gains))

    noise = torch.randn_like(s) * n0.sqrt()
    received = mmse(gains * s + noise, gains, n0) * mask
    counts = mask.sum(-1)
    snr = ((gains.abs().square() / n0) * mask).sum(-1) / counts.clamp(min=1)
    snr = torch.where(counts > 0, snr, 1 / n0.squeeze(-1))
    return torch.view_as_real(received), 10 * snr.clamp(min=1e-3).log10()


@dataclass(frozen=True)
class LossWeights:
    """Weights of the objective; pixels are in [-1, 1].

    Attributes:
        mse: of the squared error.
        lpips: of LPIPS.
        rate: lambda, per bit per pixel.
        latent: of the squared error of the received latent.
        source_fraction: share of a batch whose decoder sees z with uniform noise (x̄0) instead of
            the received latent (x̂0).
        one_step_fraction: share trained at time 1 from x_N, the rest at random times.
    """

    mse: float = 4.0
    lpips: float = 0.3
    rate: float = 0.05
    latent: float = 0.02
    source_fraction: float = 0.25
    one_step_fraction: float = 0.85


def training_loss(
    model: Lrisc,
    lpips: nn.Module | None,
    image: Tensor,
    conditions: LinkConditions,
    weights: LossWeights,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Rate, distortion and perception of one batch.

    Args:
        model: all networks, trained end to end.
        lpips: perceptual distance of pictures in [-1, 1] -> (B,); ``None`` leaves it out.
        image: (B, 3, H, W) in [-1, 1].
        conditions: channel and budget of every picture.
        weights: of the terms.

    Returns:
        The loss and its terms, detached: ``mse``, ``lpips``, ``bpp``, ``latent``.
    """
    b, _, height, width = image.shape
    latent = model.analysis(image).float()
    prior = model.hyperprior(latent, noisy=True)
    p_latent, p_hyper = prior["likelihoods"]["latent"], prior["likelihoods"]["hyper_latent"]
    bpp = (bits(p_latent) + bits(p_hyper)) / (height * width)

    budget = conditions.cbr * (3 * height * width)
    wanted = embedding_bits(p_latent.detach())
    scale = rate_scale_for(wanted.flatten(1), budget, model.config.rate_values)
    levels = quantise_rate(wanted * scale[:, :, None], model.config.rate_values)
    mask = symbol_mask(levels.flatten(1), model.config.rate_values)
    symbols = model.jscc_encoder(latent, levels, conditions.snr_db)
    received, snr_db = cross_channel(symbols, mask, conditions)
    estimate = model.jscc_decoder(received, levels, snr_db).float()
    latent_error = (estimate - latent.detach()).square().mean((1, 2, 3))

    source = torch.rand(b, device=image.device) < weights.source_fraction
    guide = torch.where(source[:, None, None, None], prior["latent"], estimate)
    one_step = torch.rand(b, device=image.device) < weights.one_step_fraction
    time = torch.where(one_step, 1.0, torch.rand(b, device=image.device).clamp(min=1e-3))
    gamma = torch.where(one_step, model.config.initial_noise, 1.0)[:, None, None, None]
    noisy = add_noise(image, torch.randn_like(image) * gamma, time)
    noisy = torch.where(one_step[:, None, None, None] & (gamma == 0), 0.0, noisy)
    predicted = model.unet(noisy, model.context(guide), time).float()

    # At time 1 the weight of Eq. 7 is zero; one-step decoding is trained with weight one.
    weight = torch.where(one_step, 1.0, loss_weight(time))
    mse = (predicted - image).square().mean((1, 2, 3))
    perceptual = lpips(predicted, image).float() if lpips is not None else torch.zeros_like(mse)
    distortion = weights.mse * mse + weights.lpips * perceptual
    loss = (weight * distortion + weights.rate * bpp + weights.latent * latent_error).mean()
    at = one_step & ~source
    share = at.float() / at.sum().clamp(min=1)
    return loss, {
        "mse": (mse.detach() * share).sum(),
        "lpips": (perceptual.detach() * share).sum(),
        "bpp": bpp.detach().mean(),
        "latent": latent_error.detach().mean(),
    }
