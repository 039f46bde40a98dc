"""What a training run may be told: frozen dataclasses and what their numbers may be.

A YAML either is one stage (the fields of :class:`StageConfig`) or lists stages in order (the
fields of :class:`Plan`).
"""

from __future__ import annotations

import sys
import zlib
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast

from lrisc.baselines.deepjscc.network import PRESETS as DEEPJSCC_PRESETS
from lrisc.errors import InputError
from lrisc.models.config import PRESETS
from lrisc.roi.fusion import Steering

PARTS = ("analysis", "hyperprior", "jscc_encoder", "jscc_decoder", "context", "unet")
"""The networks a stage may train, by their names in :class:`lrisc.models.lrisc.Lrisc`."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of Eq. 9 to 11 of the paper; pixels are in [-1, 1].

    Attributes:
        eta: trade-off of Eq. 11 between distortion (0) and perception (1).
        mse: scale of the squared error d.
        lpips: scale of the perceptual distance d_p; 0 trains without LPIPS.
        rate: lambda, per bit per pixel, once the warm-up is over.
        rate_start: lambda of the high-rate warm-up, without which x-prediction may collapse to
            grey pictures.
        rate_start_steps: steps at ``rate_start``.
        rate_ramp_steps: steps of the linear rise from ``rate_start`` to ``rate``.
        latent: weight of the squared error of the received latent; 0 is the paper's loss.
        source: how the source reconstruction (decoded from z with uniform noise) enters:
            ``both`` decodes every picture twice as in Eq. 11, ``share`` lets a random share of the
            batch be decoded from z instead of the received latent, at half the cost, ``none``
            leaves it out.
        source_fraction: that share.
        one_step_fraction: share of the batch decoded at time 1 from x_N, which is what one-step
            decoding sees; the rest meets a uniformly random time.
        lpips_backbone: ``alex`` or ``vgg``.
        lpips_weights: file or folder with the weights; empty: wherever they are found.
    """

    eta: float = 0.5
    mse: float = 8.0
    lpips: float = 0.6
    rate: float = 0.05
    rate_start: float = 1e-6
    rate_start_steps: int = 0
    rate_ramp_steps: int = 0
    latent: float = 0.0
    source: Literal["share", "both", "none"] = "share"
    source_fraction: float = 0.25
    one_step_fraction: float = 0.85
    lpips_backbone: Literal["alex", "vgg"] = "alex"
    lpips_weights: str = ""

    def rate_at(self, step: int) -> float:
        """Lambda at a step, counted from 0."""
        if step < self.rate_start_steps:
            return self.rate_start
        risen = (step - self.rate_start_steps + 1) / max(1, self.rate_ramp_steps)
        return self.rate_start + (self.rate - self.rate_start) * min(1.0, risen)


@dataclass(frozen=True)
class LinkConfig:
    """What lies between z and its estimate.

    Attributes:
        enabled: whether the latent goes through f_e, a channel and f_d at all.
        adapt: whether f_e and f_d use their SNR-adaptive models.
        snr_db: lowest and highest mean SNR in dB, uniform per picture.
        cbr: lowest and highest payload CBR, log-uniform per picture.
        favourite_cbr: a CBR that ``favourite_fraction`` of the pictures gets.
        favourite_fraction: that share.
        beta: symbols per bit of Eq. 3, for the pictures that get no budget.
        beta_fraction: share of pictures whose rate is ``beta`` times their bits.
        rayleigh_fraction: share of pictures that cross Rayleigh block fading instead of AWGN.
        block_length: shortest and longest fading block in symbols, log-uniform per picture.
        easy_steps: first steps, at ``easy_snr_db`` and ``easy_cbr`` on AWGN only.
        easy_snr_db: see ``easy_steps``.
        easy_cbr: see ``easy_steps``.
    """

    enabled: bool = True
    adapt: bool = True
    snr_db: tuple[float, float] = (-2.0, 20.0)
    cbr: tuple[float, float] = (1 / 96, 1 / 12)
    favourite_cbr: float = 1 / 48
    favourite_fraction: float = 0.0
    beta: float = 0.2
    beta_fraction: float = 0.0
    rayleigh_fraction: float = 0.2
    block_length: tuple[int, int] = (32, 1024)
    easy_steps: int = 0
    easy_snr_db: float = 10.0
    easy_cbr: float = 1 / 24


@dataclass(frozen=True)
class RoiConfig:
    """Regions of interest, v2 of the paper.

    Attributes:
        fraction: share of pictures with a mask.
        gamma: smallest and largest weight of the background, uniform.
        detector_fraction: share of those masks that are the detector's rather than random.
        masks: folder of mask pictures, named as the photographs, that stand for the detector's:
            made offline by any detector. Empty: the embedded detector finds them.
        steering: what gamma weights, see `lrisc.roi.fusion.Steering`; ``latent`` is the paper's
            way, ``power`` what the transmitter does unless told otherwise.
    """

    fraction: float = 0.0
    gamma: tuple[float, float] = (0.2, 1.0)
    detector_fraction: float = 0.0
    masks: str = ""
    steering: Steering = "latent"


@dataclass(frozen=True)
class OptimiserConfig:
    """How the weights move.

    Attributes:
        name: ``adam``, ``adamw`` or ``muon`` (which uses AdamW for what is no matrix).
        learning_rate: after the warm-up.
        warmup_steps: linear warm-up.
        decay: ``cosine`` to zero at the end of the schedule, or ``constant``.
        betas: of Adam.
        weight_decay: of AdamW and Muon.
        clip: largest norm of the gradient.
        ema: decay of the averaged weights, which are what is validated and exported.
    """

    name: Literal["adam", "adamw", "muon"] = "adamw"
    learning_rate: float = 1e-3
    warmup_steps: int = 300
    decay: Literal["cosine", "constant"] = "cosine"
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999


@dataclass(frozen=True)
class DataConfig:
    """How pictures become crops.

    Attributes:
        crop: side of a training crop in pixels.
        decode: ``once``: squares are cut and scaled from every picture, kept decoded in the cache,
            and crops are cut from them; ``always``: every crop is cut from its photograph, at the
            photograph's own scale, decoded anew from its file or shard. An epoch then is every
            photograph once.
        workers: threads that decode with ``always``.
        square: side of the squares kept in the cache, at least ``crop``.
        squares_per_picture: squares cut from each picture.
        downscale_fraction: share of crops cut larger and averaged down to ``crop``.
        pictures: use at most this many pictures, 0 for all.
        cache: folder of decoded squares; empty: the user's cache folder.
        held_out: squares kept for validation where no validation folder is given.
    """

    crop: int = 128
    decode: Literal["once", "always"] = "once"
    workers: int = 4
    square: int = 256
    squares_per_picture: int = 1
    downscale_fraction: float = 0.25
    pictures: int = 0
    cache: str = ""
    held_out: int = 16


@dataclass(frozen=True)
class ValidationConfig:
    """What is measured on held-out pictures while training.

    Attributes:
        minutes: between two validations; 0 validates at the end only.
        pictures: how many, centre crops of ``side`` pixels.
        side: see ``pictures``.
        steps: diffusion steps.
        snr_db: three SNRs.
        cbr: two payload CBRs.
        metric: what ``best`` means: ``lpips`` (lowest) or ``psnr`` (highest).
    """

    minutes: float = 10.0
    pictures: int = 16
    side: int = 256
    steps: int = 1
    snr_db: tuple[float, ...] = (0.0, 10.0, 20.0)
    cbr: tuple[float, ...] = (1 / 48, 1 / 24)
    metric: Literal["lpips", "psnr"] = "lpips"


@dataclass(frozen=True)
class _Range:
    """Allowed numbers.

    Attributes:
        low: smallest.
        high: largest.
        text: what the user reads.
        above: whether ``low`` itself is out.
        below: whether ``high`` itself is out.
    """

    low: float
    high: float
    text: str
    above: bool = False
    below: bool = False

    def holds(self, value: float) -> bool:
        """Whether a finite number is inside; NaN never is."""
        over = value > self.low if self.above else value >= self.low
        return over and (value < self.high if self.below else value <= self.high)


_LARGEST = sys.float_info.max
_SHARE = _Range(0, 1, "in [0, 1]")
_DECAY = _Range(0, 1, "in [0, 1)", below=True)
_POSITIVE = _Range(0, _LARGEST, "positive", above=True)
_NOT_NEGATIVE = _Range(0, _LARGEST, "0 or more")
_COUNT = _Range(1, _LARGEST, "at least 1")
_SNR = _Range(-50, 100, "in [-50, 100]")
# One symbol for a patch of 16 by 16 pixels, below which there is nothing to learn from.
_CBR = _Range(1 / 768, 1 / 2, "in [1/768, 1/2]")

_RANGES = {
    **dict.fromkeys(("steps", "batch_size", "log_every"), _COUNT),
    **dict.fromkeys(("epochs", "total_minutes", "max_minutes", "save_minutes"), _NOT_NEGATIVE),
    **dict.fromkeys(("loss.eta", "loss.source_fraction", "loss.one_step_fraction"), _SHARE),
    **dict.fromkeys(("loss.mse", "loss.lpips", "loss.rate", "loss.latent"), _NOT_NEGATIVE),
    **dict.fromkeys(("loss.rate_start", "loss.rate_start_steps"), _NOT_NEGATIVE),
    **dict.fromkeys(("loss.rate_ramp_steps", "prior_pictures"), _NOT_NEGATIVE),
    **dict.fromkeys(("link.snr_db", "link.easy_snr_db", "validate.snr_db"), _SNR),
    **dict.fromkeys(("link.cbr", "link.favourite_cbr", "link.easy_cbr", "validate.cbr"), _CBR),
    **dict.fromkeys(("link.favourite_fraction", "link.beta_fraction"), _SHARE),
    "link.rayleigh_fraction": _SHARE,
    "link.beta": _POSITIVE,
    "link.block_length": _COUNT,
    "link.easy_steps": _NOT_NEGATIVE,
    **dict.fromkeys(("roi.fraction", "roi.detector_fraction"), _SHARE),
    "roi.gamma": _Range(0, 1, "in (0, 1]", above=True),
    **dict.fromkeys(("optimiser.learning_rate", "optimiser.warmup_steps"), _NOT_NEGATIVE),
    "optimiser.weight_decay": _NOT_NEGATIVE,
    **dict.fromkeys(("optimiser.betas", "optimiser.ema"), _DECAY),
    "optimiser.clip": _POSITIVE,
    **dict.fromkeys(
        ("crops.crop", "crops.squares_per_picture", "crops.held_out", "crops.workers"), _COUNT
    ),
    "crops.downscale_fraction": _SHARE,
    "crops.pictures": _NOT_NEGATIVE,
    "validate.minutes": _NOT_NEGATIVE,
    **dict.fromkeys(("validate.pictures", "validate.steps"), _COUNT),
    "validate.side": _Range(1, 4096, "in [1, 4096]"),
}
"""What every number of a stage's config may be; of a pair or a list, every one of them."""


@dataclass(frozen=True)
class StageConfig:
    """One stage of Algorithm 1.

    Attributes:
        name: of the stage.
        output: folder of the run: state, logs, samples, ``best`` and ``final`` checkpoints.
        preset: sizes of the networks; ``deepjscc-C`` trains the baseline with C feature maps.
        data: folders, tar files or shards, a COCO root, or an .npy of squares.
        validation: folder of held-out pictures; empty: some squares of ``data``.
        parent: checkpoint folder to start from; empty: from scratch.
        train: networks that learn, of :data:`PARTS`; the others are frozen.
        fresh: networks that start anew although the parent has them.
        seed: of the initial weights and of every draw.
        steps: optimiser steps of the stage.
        epochs: passes over the data; where positive they replace ``steps``.
        batch_size: crops per step, over all processes together.
        schedule: whether the learning rate follows ``steps`` or ``total_minutes``.
        total_minutes: length of a run that follows time, over all its slots.
        max_minutes: length of this slot; 0: no limit.
        save_minutes: between two saves of the training state; 0 saves after every step.
        log_every: steps between two lines of the log.
        precision: ``bf16`` autocast or ``fp32``.
        device: ``auto`` or ``cpu``.
        compile: whether to use torch.compile where it works.
        prior_pictures: squares whose rate maps train the side-information code on export.
        resume_anyway: go on although the config differs from that of the saved state.
        loss: of the stage.
        link: of the stage.
        roi: of the stage.
        optimiser: of the stage.
        crops: of the stage.
        validate: of the stage.
    """

    name: str
    output: str
    preset: str = "compact"
    data: tuple[str, ...] = ()
    validation: str = ""
    parent: str = ""
    train: tuple[str, ...] = PARTS
    fresh: tuple[str, ...] = ()
    seed: int = 0
    steps: int = 1000
    epochs: float = 0.0
    batch_size: int = 32
    schedule: Literal["steps", "time"] = "steps"
    total_minutes: float = 0.0
    max_minutes: float = 0.0
    save_minutes: float = 5.0
    log_every: int = 50
    precision: Literal["bf16", "fp32"] = "bf16"
    device: Literal["auto", "cpu"] = "auto"
    compile: bool = True
    prior_pictures: int = 256
    resume_anyway: bool = False
    loss: LossConfig = field(default_factory=LossConfig)
    link: LinkConfig = field(default_factory=LinkConfig)
    roi: RoiConfig = field(default_factory=RoiConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    crops: DataConfig = field(default_factory=DataConfig)
    validate: ValidationConfig = field(default_factory=ValidationConfig)

    def __post_init__(self) -> None:
        """Reject what cannot be trained.

        Raises:
            InputError: with the key and what it must be.
        """
        sizes = {**PRESETS, **DEEPJSCC_PRESETS}
        if self.preset not in sizes:
            raise InputError(f"preset: {self.preset!r} is none of {', '.join(sizes)}")
        multiple = sizes[self.preset].multiple
        for key, value in flatten(self).items():
            allowed = _RANGES.get(key)
            values = cast(list[float], value if isinstance(value, list) else [value])
            if allowed is not None and not all(allowed.holds(number) for number in values):
                raise InputError(f"{key}: must be {allowed.text}, not {value}")
        bad = [part for part in (*self.train, *self.fresh) if part not in PARTS]
        pairs = {
            "link.snr_db": self.link.snr_db,
            "link.cbr": self.link.cbr,
            "link.block_length": self.link.block_length,
            "roi.gamma": self.roi.gamma,
        }
        turned = [key for key, (low, high) in pairs.items() if low > high]
        checks = (
            (not bad, f"train, fresh: {bad} are none of {', '.join(PARTS)}"),
            (bool(self.train), "train: name at least one network"),
            (not turned, f"{', '.join(turned)}: must go from low to high"),
            (
                self.crops.crop % multiple == 0,
                f"crops.crop: must be a multiple of {multiple} for preset {self.preset}",
            ),
            (self.crops.square >= self.crops.crop, "crops.square: must be at least crops.crop"),
            (
                self.validate.side % multiple == 0,
                f"validate.side: must be a multiple of {multiple}",
            ),
            (bool(self.validate.snr_db), "validate.snr_db: name at least one SNR"),
            (bool(self.validate.cbr), "validate.cbr: name at least one CBR"),
            (
                self.schedule == "steps" or self.total_minutes > 0,
                "total_minutes: must be positive where the schedule follows time",
            ),
        )
        for passed, complaint in checks:
            if not passed:
                raise InputError(complaint)

    @property
    def draw_seed(self) -> int:
        """Seed of crops and noise: two stages of one plan see different ones."""
        return zlib.crc32(f"{self.seed}/{self.name}".encode())


@dataclass(frozen=True)
class Plan:
    """Stages in order; each starts from the final checkpoint of the one before.

    Attributes:
        stages: file names, relative to the plan's own file.
        output: folder; stage ``s`` runs in ``output/s``, the last checkpoint is ``output/final``.
        parent: checkpoint folder that the first stage starts from; empty: what its YAML says.
        max_minutes: length of this slot, for all stages together; 0: no limit.
        common: keys that replace those of every stage.
    """

    stages: tuple[str, ...]
    output: str
    parent: str = ""
    max_minutes: float = 0.0
    common: dict[str, Any] = field(default_factory=lambda: {})


def flatten(config: StageConfig) -> dict[str, Any]:
    """Dotted keys and plain values of a config."""
    flat: dict[str, Any] = {}
    for key, value in asdict(config).items():
        if isinstance(value, dict):
            flat |= {f"{key}.{k}": plain(v) for k, v in cast(dict[str, Any], value).items()}
        else:
            flat[key] = plain(value)
    return flat


def plain(value: Any) -> Any:
    """A value as JSON has it: tuples become lists."""
    return [plain(v) for v in cast(list[Any], value)] if isinstance(value, list | tuple) else value
