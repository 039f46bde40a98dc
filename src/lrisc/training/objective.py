"""One training step: from a batch of pictures to the loss of Eq. 9 to 11, with v2's regions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lrisc.link.batched import Conditions, cross_channel
from lrisc.link.draws import Draws
from lrisc.link.rate_control import quantise_rate, rate_scale_for, shape_bits
from lrisc.models.config import RateRule
from lrisc.models.diffusion import add_noise, loss_weight
from lrisc.models.entropy import bits, embedding_bits
from lrisc.models.jscc import symbol_mask
from lrisc.models.lrisc import Lrisc
from lrisc.roi.region import Regions
from lrisc.training.config.schema import LossConfig

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class LinkResult:
    """What the receiver makes of a batch of latents.

    Attributes:
        estimate: ẑ, (B, C, h, w) float32.
        levels: index into V of every embedding, (B, h, w).
        symbols: complex symbols sent, (B,).
    """

    estimate: Tensor
    levels: Tensor
    symbols: Tensor


def rate_levels(
    bits_per_embedding: Tensor,
    conditions: Conditions,
    rate_values: tuple[int, ...],
    rule: RateRule,
    regions: Regions | None = None,
) -> Tensor:
    """The rate rule of Eq. 3 for a budget, or for a fixed beta where a picture has no budget.

    Args:
        bits_per_embedding: -log2 p(z_i | y), (B, h, w).
        conditions: budgets and betas.
        rate_values: V.
        rule: how symbols follow from bits.
        regions: regions of interest whose weight the rule sees, if any.

    Returns:
        Index into V of every embedding, (B, h, w) int64.
    """
    wanted = shape_bits(bits_per_embedding, rule)
    if regions is not None:
        wanted = regions.weigh_bits(wanted)
    pixels = 16 * wanted.shape[1] * 16 * wanted.shape[2]
    scale = rate_scale_for(wanted.flatten(1), conditions.cbr * (3 * pixels), rate_values)
    fixed = conditions.beta[:, None]
    scale = torch.where(fixed.isnan(), scale, fixed)
    return quantise_rate(wanted * scale[:, :, None], rate_values)


def send(
    model: Lrisc,
    latent: Tensor,
    bits_per_embedding: Tensor,
    conditions: Conditions,
    draws: Draws,
    adapt: bool,
    regions: Regions | None = None,
) -> LinkResult:
    """Rate allocation, f_e, channel and f_d.

    Args:
        model: the networks.
        latent: z', (B, C, h, w).
        bits_per_embedding: -log2 p(z'_i | y), (B, h, w).
        conditions: channel and budget of every picture.
        draws: noise and fades.
        adapt: whether the SNR-adaptive models take part.
        regions: regions of interest, if any.
    """
    config = model.config
    levels = rate_levels(
        bits_per_embedding, conditions, config.rate_values, config.rate_rule, regions
    )
    mask = symbol_mask(levels.flatten(1), config.rate_values)
    symbols = model.jscc_encoder(latent, levels, conditions.snr_db, adapt=adapt)
    uneven = None if regions is None else regions.uneven()
    received, snr_db = cross_channel(symbols, mask, conditions, draws, uneven)
    estimate = model.jscc_decoder(received, levels, snr_db, adapt=adapt).float()
    return LinkResult(estimate, levels, mask.flatten(1).sum(1))


def training_loss(
    model: Lrisc,
    lpips: nn.Module | None,
    image: Tensor,
    draws: Draws,
    loss: LossConfig,
    *,
    rate: float,
    conditions: Conditions | None,
    regions: Regions | None = None,
    adapt: bool = True,
) -> tuple[Tensor, Terms]:
    """Rate, distortion and perception of one batch, Eq. 11.

    Inside a region eta is 0 (MSE only), outside it keeps its value (MSE and LPIPS), v2 Eq. 12 to 14
    of v2; the mask's soft edge blends the two.

    Args:
        model: all networks; what is frozen gets no gradient.
        lpips: perceptual distance of pictures in [-1, 1] with a ``spatial`` switch; ``None``
            leaves it out.
        image: (B, 3, H, W) in [-1, 1].
        draws: every random number of the step.
        loss: weights of the terms.
        rate: lambda at this step.
        conditions: channel and budget of every picture; ``None`` for stage 1, where the decoder
            sees the latent with uniform noise.
        regions: regions of interest, if any.
        adapt: whether the SNR-adaptive models take part.

    Returns:
        The loss, a mean over pictures so that averaging it over processes gives that of the joint
        batch; and detached sums for the log, see :func:`_terms`.
    """
    b, _, height, width = image.shape
    latent = model.analysis(image).float()
    if regions is not None:
        latent = regions.weigh_latent(latent)
    grid = latent.shape[-2:]
    hyper = (model.config.hyper_channels, -(-grid[0] // 4), -(-grid[1] // 4))
    noise = (
        draws.uniform("latent noise", (model.config.latent_channels, *grid)) - 0.5,
        draws.uniform("hyper-latent noise", hyper) - 0.5,
    )
    densities = model.hyperprior(latent, noisy=True, noise=noise)
    bpp = (bits(densities.p_latent) + bits(densities.p_hyper_latent)) / (height * width)
    latent_error: Tensor | None = None

    source = draws.chance("source", loss.source_fraction if loss.source == "share" else 0.0)
    guide, target = densities.latent, image
    if conditions is None:
        end_to_end = torch.ones_like(source)
    else:
        wanted = embedding_bits(densities.p_latent.detach())
        sent = send(model, latent, wanted, conditions, draws, adapt, regions)
        latent_error = (sent.estimate - latent.detach()).square().mean((1, 2, 3))
        end_to_end = ~source
        if loss.source == "both":
            guide, target = torch.cat([sent.estimate, guide]), torch.cat([image, image])
            end_to_end = torch.cat([end_to_end, source])
        else:
            guide = torch.where(source[:, None, None, None], guide, sent.estimate)
    copies = guide.shape[0] // b

    noisy, time, weight, one_step = _diffuse(model, image, draws, loss)
    if copies > 1:
        noisy, time = torch.cat([noisy] * copies), time.repeat(copies)
        weight, one_step = weight.repeat(copies), one_step.repeat(copies)
    predicted = model.unet(noisy, model.context(guide), time).float()

    found = _distortion(predicted, target, lpips, loss, regions, copies)
    # Eq. 7 weights the squared error; Eq. 11 adds the perceptual distance as it is. Weighted too,
    # it would vanish near time 1, where decoding starts.
    found["weighted_mse"] = weight * found["weighted_mse"]
    per_picture = found["weighted_mse"] + found.get("weighted_lpips", 0.0)
    total = per_picture.view(copies, b).sum(0) + rate * bpp
    per_batch = {"bpp": bpp}
    if latent_error is not None:
        total = total + loss.latent * latent_error
        per_batch["latent"] = latent_error
    return total.mean(), _terms(found, per_batch, time, one_step, end_to_end)


_TIMES = (0.25, 0.5, 0.75, 1.0)
"""Ends of the bins of diffusion time that the log tells apart."""


def _terms(
    errors: dict[str, Tensor],
    per_batch: dict[str, Tensor],
    time: Tensor,
    one_step: Tensor,
    received: Tensor,
) -> Terms:
    """Sums for the log.

    Args:
        errors: of every decoded picture, (copies · B,).
        per_batch: of every picture, (B,).
        time: of diffusion, (copies · B,).
        one_step: decoded from x_N, as one-step decoding is, (copies · B,).
        received: decoded from the received latent (in stage 1, from z), (copies · B,).

    Returns:
        Every term over all ``batch`` pictures (where a picture is decoded twice, ``mse`` and
        ``lpips`` are its mean, the weighted terms its sum, as in the loss); and ``mse`` and
        ``lpips`` by group, over the ``count@`` pictures of it: ``@one step``, ``@t<0.25`` and so
        on up to ``@t<1`` for what is received, ``@source`` for what is decoded from z.
    """
    batch = float(len(per_batch["bpp"]))
    copies = len(time) / batch
    groups = {"one step": one_step & received, "source": ~received}
    low = 0.0
    for high in _TIMES:
        inside = (time >= low) & ((time < high) | (high == 1.0))
        groups[f"t<{high:g}"], low = inside & ~one_step & received, high
    terms = {"batch": torch.full((), batch, device=time.device)}
    for name, values in per_batch.items():
        terms[name] = values.detach().sum()
    for name, values in errors.items():
        scale = 1.0 if name.startswith("weighted") else copies
        terms[name] = values.detach().sum() / scale
    for group, members in groups.items():
        terms[f"count@{group}"] = members.float().sum()
        for name in ("mse", "lpips"):
            if name in errors:
                terms[f"{name}@{group}"] = (errors[name].detach() * members).sum()
    return terms


def _diffuse(
    model: Lrisc, image: Tensor, draws: Draws, loss: LossConfig
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x_n (B, 3, H, W), time, weight of Eq. 7, and which pictures are at one-step decoding."""
    one_step = draws.chance("one step", loss.one_step_fraction)
    time = torch.where(one_step, 1.0, draws.uniform("time").clamp(min=1e-3))
    # At time 1 the weight of Eq. 7 is zero; one-step decoding is trained with weight one.
    weight = torch.where(one_step, 1.0, loss_weight(time))
    sigma = model.config.sigma_start
    if loss.one_step_fraction >= 1 and sigma == 0:
        return torch.zeros_like(image), time, weight, one_step
    shape = tuple(image.shape[1:])
    if sigma == 0 and image.device.type == "cpu":
        # Most pictures start from zero and need no noise, which is not cheap to draw on a CPU.
        noise = torch.zeros_like(image)
        noise[~one_step] = draws.subset(~one_step).normal("diffusion", shape)
    else:
        noise = draws.normal("diffusion", shape)
    at_end = one_step[:, None, None, None]
    # Decoding starts from noise of deviation sigma_start alone, with no trace of the picture.
    noisy = torch.where(at_end, sigma * noise, add_noise(image, noise, time))
    return noisy, time, weight, one_step


def _distortion(
    predicted: Tensor,
    target: Tensor,
    lpips: nn.Module | None,
    loss: LossConfig,
    regions: Regions | None,
    copies: int,
) -> dict[str, Tensor]:
    """Errors per picture, each (B,): ``mse`` and its share of the loss, ``weighted_mse``.

    With LPIPS also ``lpips`` and ``weighted_lpips``.
    """
    error = (predicted - target).square()
    eta = torch.full((), loss.eta, device=error.device)
    if regions is not None:
        eta = loss.eta * (1 - regions.mask.repeat(copies, 1, 1, 1))
    found = {
        "mse": error.mean((1, 2, 3)),
        "weighted_mse": loss.mse * ((1 - eta) * error).mean((1, 2, 3)),
    }
    if lpips is not None and regions is None:
        found["lpips"] = lpips(predicted, target).float()
        found["weighted_lpips"] = loss.lpips * eta * found["lpips"]
    elif lpips is not None:
        where = lpips(predicted, target, spatial=True).float()
        found["lpips"] = where.mean((1, 2, 3))
        found["weighted_lpips"] = loss.lpips * (eta * where).mean((1, 2, 3))
    return found
