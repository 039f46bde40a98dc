"""Training DeepJSCC, the baseline, with the loop, the data and the channel of the real thing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import torch
from torch import Tensor, nn

from lrisc._version import __version__
from lrisc.baselines.deepjscc.codec import DeepJscc, save
from lrisc.baselines.deepjscc.network import PRESETS, DeepJsccNetwork
from lrisc.link.batched import Conditions, cross_channel
from lrisc.link.draws import Draws
from lrisc.metrics.distortion import psnr, round_to_8_bit
from lrisc.training.conditions import draw_link, fixed_link
from lrisc.training.config.schema import (
    ChannelConfig,
    Decibels,
    LinkConfig,
    NotNegative,
    PictureStage,
    PictureValidation,
    Some,
)
from lrisc.training.data.crops import signals, to_signal
from lrisc.training.data.opened import TrainingData, open_data
from lrisc.training.export import channel_shares, settings
from lrisc.training.objective import Terms
from lrisc.training.statement import card_head, runs_table, write_card
from lrisc.training.step import compile_in_place
from lrisc.training.validation import Validation, sample_sheet

_BATCH = 8
_SEED = 20240602


@dataclass(frozen=True)
class DeepJsccLoss:
    """The loss.

    Attributes:
        mse: scale of the squared error, pixels in [-1, 1].
    """

    mse: NotNegative = 8.0


@dataclass(frozen=True)
class DeepJsccValidation(PictureValidation):
    """Validation of DeepJSCC, see the base class.

    Attributes:
        metric: ``psnr`` (highest).
        snr_db: SNRs in dB.
    """

    metric: Literal["psnr"] = "psnr"
    snr_db: Annotated[tuple[Decibels, ...], Some()] = (0.0, 10.0, 20.0)


@dataclass(frozen=True)
class DeepJsccStage(PictureStage):
    """A run of DeepJSCC, see :class:`lrisc.training.config.schema.PictureStage`.

    Attributes:
        loss: of the run.
        link: of the run.
        validate: of the run.
    """

    loss: DeepJsccLoss = field(default_factory=DeepJsccLoss)
    link: ChannelConfig = field(default_factory=ChannelConfig)
    validate: DeepJsccValidation = field(default_factory=DeepJsccValidation)

    def __post_init__(self) -> None:
        """Reject what cannot be trained, see the base class."""
        super().__post_init__()
        self.check_sides(PRESETS[self.preset].multiple)


class DeepJsccStep(nn.Module):
    """Pictures in, squared error out.

    Args:
        model: the networks.
        config: of the stage.
    """

    def __init__(self, model: DeepJsccNetwork, config: DeepJsccStage) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.link = LinkConfig(**vars(config.link))
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, pictures: Tensor, draws: Draws, step: int) -> tuple[Tensor, Terms]:
        """Loss of a batch.

        Args:
            pictures: (B, 3, H, W) uint8.
            draws: of these samples.
            step: counted from 0.

        Returns:
            Mean loss, and detached sums for the log: ``mse``, of pixels in [-1, 1], over the
            ``count`` pictures, which are the whole ``batch``.
        """
        image = to_signal(pictures)
        conditions = draw_link(draws, self.link, step)
        errors = (send(self.model, image, conditions, draws) - image).square().mean((1, 2, 3))
        count = torch.full((), float(len(image)), device=image.device)
        terms = {"mse": errors.detach().sum(), "batch": count}
        return self.config.loss.mse * errors.mean(), terms


def send(model: DeepJsccNetwork, image: Tensor, conditions: Conditions, draws: Draws) -> Tensor:
    """Encoder, channel and decoder, differentiable.

    Args:
        model: the networks.
        image: (B, 3, H, W) in [-1, 1], sides multiples of 4.
        conditions: SNR and fading of every picture.
        draws: noise and fades.

    Returns:
        Reconstructions like ``image``, float32.
    """
    symbols = model.encode((image + 1) / 2).unsqueeze(2)
    everything = torch.ones_like(symbols[..., 0], dtype=torch.bool)
    received, _ = cross_channel(symbols, everything, conditions, draws)
    return 2 * model.decode(received.squeeze(2), *image.shape[-2:]).float() - 1


class DeepJsccTask:
    """DeepJSCC for the training loop, see :class:`lrisc.training.tasks.base.Task`.

    Args:
        config: of the stage; its preset names the size, its parent may have another number of
            channels: the two layers that differ then start anew.
    """

    def __init__(self, config: DeepJsccStage) -> None:
        self.config = config
        self._data: TrainingData | None = None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.model = DeepJsccNetwork(PRESETS[config.preset])
        self.records: list[dict[str, Any]] = []
        if config.parent:
            parent = DeepJscc.from_pretrained(config.parent)
            self.records = list(parent.info.get("training", []))
            parent.network.balance()
            own = self.model.state_dict()
            for name, tensor in parent.network.state_dict().items():
                if tensor.shape == own[name].shape:
                    own[name].copy_(tensor)
        self.step = DeepJsccStep(self.model, config)

    @property
    def data(self) -> TrainingData:
        """See :func:`lrisc.training.data.opened.open_data`."""
        if self._data is None:
            self._data = open_data(self.config)
        return self._data

    def start(self) -> None:
        """Nothing here depends on the pictures."""

    def compile(self, device: torch.device) -> bool:
        """Compile the networks in place; returns whether that worked."""
        return compile_in_place([*self.model.encoder, *self.model.decoder], device)

    def validate(self, averaged: nn.Module) -> Validation:
        """PSNR at every SNR on AWGN, with the same noise every time."""
        model, config = cast(DeepJsccNetwork, averaged), self.config
        pictures = self.data.held_out
        device = next(model.parameters()).device
        totals: dict[str, float] = {}
        columns: list[list[Tensor]] = [[] for _ in range(len(config.validate.snr_db) + 1)]
        half = config.precision == "bf16"
        for chosen, image in signals(pictures, _BATCH, device):
            columns[0].append(image)
            unit = ((image + 1) / 2).clamp(0, 1)
            for column, snr in enumerate(config.validate.snr_db, start=1):
                draws = Draws(_SEED, column, range(chosen.start, chosen.stop), device)
                link = fixed_link(len(image), snr, model.config.cbr, device)
                with (
                    torch.inference_mode(),
                    torch.autocast(device.type, torch.bfloat16, enabled=half),
                ):
                    made = send(model, image, link, draws)
                columns[column].append(made)
                total = float(psnr(round_to_8_bit((made + 1) / 2), unit).sum())
                totals[f"psnr@{snr:g}dB"] = totals.get(f"psnr@{snr:g}dB", 0.0) + total
        figures = {name: total / len(pictures) for name, total in totals.items()}
        figures["psnr"] = sum(figures.values()) / len(figures)
        return Validation(figures, sample_sheet([torch.cat(column) for column in columns]))

    def export(
        self, folder: Path, averaged: nn.Module, records: list[dict[str, Any]], final: bool
    ) -> None:
        """Write config.json, model.safetensors in float32 and README.md."""
        model = cast(DeepJsccNetwork, averaged)
        facts = {"snr_db": list(self.config.link.snr_db), "training": records}
        save(folder, model, facts, torch.float32)
        write_card(folder, model_card(model, records, "float32"))


def ship(source: Path, target: Path) -> None:
    """Write a trained codec again with float16 weights, and its card.

    Raises:
        LriscError: no such codec, a weight beyond float16, or a folder not writable.
    """
    codec = DeepJscc.from_pretrained(source)
    facts = {name: codec.info[name] for name in ("snr_db", "training")}
    save(target, codec.network, facts)
    write_card(target, model_card(codec.network, facts["training"], "float16"))


def model_card(model: DeepJsccNetwork, records: list[dict[str, Any]], precision: str) -> str:
    """The README.md of a trained DeepJSCC: what it is, data, effort and figures."""
    parameters = sum(p.numel() for p in model.parameters())
    last = records[-1]
    low, high = last["config"]["link.snr_db"]
    snr = f"at {low:g} dB" if low == high else f"over random SNRs from {low:g} to {high:g} dB"
    lines = [
        *card_head(f"DeepJSCC, CBR 1/{round(1 / model.config.cbr)}, trained {snr}"),
        "A baseline, not LRISC: the codec of Bourtsoulatze, Kurka and Gündüz (2019), five layers "
        f"each way, {model.config.channels} feature maps sent, {parameters:,} parameters in "
        f"{precision}, lrisc {__version__}. Squared error only, power 1 per picture, Es/N0 per "
        "complex symbol.",
        "",
        "```python",
        "from lrisc.baselines.deepjscc.codec import DeepJscc",
        "",
        'codec = DeepJscc.from_pretrained("THIS FOLDER")',
        'picture, symbols = codec.transmit(image, snr_db=10.0, channel="awgn", seed=0)',
        "```",
        "",
        *runs_table(records),
    ]
    c = last["config"]
    lines += [
        "",
        f"Last run: {settings(c)}, channels {channel_shares(c)}.",
        "",
        "Validation (held-out centre crops, AWGN, mean PSNR in dB of the averaged weights): "
        + ", ".join(f"{k} {v:.2f}" for k, v in last["validation"].items()),
        "",
    ]
    return "\n".join(lines)
