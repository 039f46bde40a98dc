"""What a training run may be told: frozen dataclasses, each number with what it may be.

A YAML either is one stage (the fields of a :class:`StageConfig`: which class, the preset decides,
see :func:`lrisc.training.tasks.stage_class`) or lists stages in order (the fields of
:class:`Plan`).
"""

from __future__ import annotations

import math
import sys
import zlib
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal, cast

from lrisc.errors import InputError
from lrisc.link.channels import CHANNELS
from lrisc.models.config import PRESETS
from lrisc.roi.fusion import Steering

Part = Literal["analysis", "hyperprior", "jscc_encoder", "jscc_decoder", "context", "unet"]
PARTS: tuple[Part, ...] = (
    *("analysis", "hyperprior", "jscc_encoder"),
    *("jscc_decoder", "context", "unet"),
)
"""The networks a stage may train, by their names in :class:`lrisc.models.lrisc.Lrisc`."""


@dataclass(frozen=True)
class Range:
    """Numbers that are allowed; NaN never is.

    Attributes:
        text: "must be ..." for the user.
        low: smallest.
        high: largest.
        above: whether ``low`` itself is out.
        below: whether ``high`` itself is out.
    """

    text: str
    low: float
    high: float = sys.float_info.max
    above: bool = False
    below: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number is inside."""
        over = value > self.low if self.above else value >= self.low
        return over and (value < self.high if self.below else value <= self.high)


@dataclass(frozen=True)
class Rising:
    """A pair that goes from low to high."""

    text: str = "from low to high"

    def holds(self, value: tuple[float, float]) -> bool:
        """Whether it does."""
        return value[0] <= value[1]


@dataclass(frozen=True)
class Some:
    """A list that is not empty."""

    text: str = "at least one"

    def holds(self, value: tuple[object, ...]) -> bool:
        """Whether it is not."""
        return bool(value)


@dataclass(frozen=True)
class Shares:
    """Shares of registered channels that add up to 1."""

    text: str = "shares of registered channels that add up to 1"

    def holds(self, value: dict[str, float]) -> bool:
        """Whether they do."""
        return all(name in CHANNELS for name in value) and abs(sum(value.values()) - 1) < 1e-6


Share = Annotated[float, Range("in [0, 1]", 0, 1)]
Weight = Annotated[float, Range("in (0, 1]", 0, 1, above=True)]
Decay = Annotated[float, Range("in [0, 1)", 0, 1, below=True)]
Positive = Annotated[float, Range("positive", 0, above=True)]
NotNegative = Annotated[float, Range("0 or more", 0)]
Count = Annotated[int, Range("at least 1", 1)]
CountOrNone = Annotated[int, Range("0 or more", 0)]
Decibels = Annotated[float, Range("in [-50, 100]", -50, 100)]
# One symbol for a patch of 16 by 16 pixels, below which there is nothing to learn from.
Cbr = Annotated[float, Range("in [1/768, 1/2]", 1 / 768, 1 / 2)]
ChannelShares = Annotated[dict[str, Share], Shares()]
Side = Annotated[int, Range("in [1, 4096]", 1, 4096)]


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

    eta: Share = 0.5
    mse: NotNegative = 8.0
    lpips: NotNegative = 0.6
    rate: NotNegative = 0.05
    rate_start: NotNegative = 1e-6
    rate_start_steps: CountOrNone = 0
    rate_ramp_steps: CountOrNone = 0
    latent: NotNegative = 0.0
    source: Literal["share", "both", "none"] = "share"
    source_fraction: Share = 0.25
    one_step_fraction: Share = 0.85
    lpips_backbone: Literal["alex", "vgg"] = "alex"
    lpips_weights: str = ""

    def rate_at(self, step: int) -> float:
        """Lambda at a step, counted from 0."""
        if step < self.rate_start_steps:
            return self.rate_start
        risen = (step - self.rate_start_steps + 1) / max(1, self.rate_ramp_steps)
        return self.rate_start + (self.rate - self.rate_start) * min(1.0, risen)


@dataclass(frozen=True)
class ChannelConfig:
    """The channel that pictures cross.

    Attributes:
        snr_db: lowest and highest mean SNR in dB, uniform per picture.
        channels: name of a channel -> share of the pictures that cross it.
        block_length: shortest and longest fading block in symbols, log-uniform per picture.
    """

    snr_db: Annotated[tuple[Decibels, Decibels], Rising()] = (-2.0, 20.0)
    channels: ChannelShares = field(default_factory=lambda: {"awgn": 0.8, "rayleigh": 0.2})
    block_length: Annotated[tuple[Count, Count], Rising()] = (32, 1024)


@dataclass(frozen=True)
class LinkConfig(ChannelConfig):
    """What lies between z and its estimate, see :class:`ChannelConfig`.

    Attributes:
        enabled: whether the latent goes through f_e, a channel and f_d at all.
        adapt: whether f_e and f_d use their SNR-adaptive models.
        cbr: lowest and highest payload CBR, log-uniform per picture.
        favourite_cbr: a CBR that ``favourite_fraction`` of the pictures gets.
        favourite_fraction: that share.
        beta: symbols per bit of Eq. 3, for the pictures that get no budget.
        beta_fraction: share of pictures whose rate is ``beta`` times their bits.
        easy_steps: first steps, at ``easy_snr_db`` and ``easy_cbr`` on AWGN only.
        easy_snr_db: see ``easy_steps``.
        easy_cbr: see ``easy_steps``.
    """

    enabled: bool = True
    adapt: bool = True
    cbr: Annotated[tuple[Cbr, Cbr], Rising()] = (1 / 96, 1 / 12)
    favourite_cbr: Cbr = 1 / 48
    favourite_fraction: Share = 0.0
    beta: Positive = 0.2
    beta_fraction: Share = 0.0
    easy_steps: CountOrNone = 0
    easy_snr_db: Decibels = 10.0
    easy_cbr: Cbr = 1 / 24


@dataclass(frozen=True)
class RoiConfig:
    """Regions of interest, v2 of the paper.

    Attributes:
        fraction: share of pictures with a mask.
        gamma: smallest and largest weight of the background, uniform.
        detector_fraction: share of those masks that are the detector's rather than random.
        masks: folder of mask pictures, named as the photographs and in subfolders as they are,
            that stand for the detector's: made offline by any detector. Empty: the embedded
            detector finds them.
        steering: what gamma weights, see `lrisc.roi.fusion.Steering`; ``latent`` is the paper's
            way, ``power`` what the transmitter does unless told otherwise.
    """

    fraction: Share = 0.0
    gamma: Annotated[tuple[Weight, Weight], Rising()] = (0.2, 1.0)
    detector_fraction: Share = 0.0
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
    learning_rate: NotNegative = 1e-3
    warmup_steps: CountOrNone = 300
    decay: Literal["cosine", "constant"] = "cosine"
    betas: tuple[Decay, Decay] = (0.9, 0.98)
    weight_decay: NotNegative = 0.01
    clip: Positive = 1.0
    ema: Decay = 0.999


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

    crop: Count = 128
    decode: Literal["once", "always"] = "once"
    workers: Count = 4
    square: Count = 256
    squares_per_picture: Count = 1
    downscale_fraction: Share = 0.25
    pictures: CountOrNone = 0
    cache: str = ""
    held_out: Count = 16


@dataclass(frozen=True)
class ValidationConfig:
    """What is measured on held-out pictures while training.

    Attributes:
        minutes: between two validations; 0 validates at the end only.
        pictures: how many.
        metric: the figure that says which weights are ``best``.
    """

    minutes: NotNegative = 10.0
    pictures: Count = 16
    metric: str = ""


@dataclass(frozen=True)
class PictureValidation(ValidationConfig):
    """Validation on centre crops of pictures, see :class:`ValidationConfig`.

    Attributes:
        side: of the crops, pixels.
    """

    side: Side = 256


@dataclass(frozen=True)
class LriscValidation(PictureValidation):
    """Validation of LRISC, see the base classes.

    Attributes:
        metric: ``lpips`` (lowest) or ``psnr`` (highest).
        steps: diffusion steps.
        snr_db: SNRs in dB.
        cbr: payload CBRs.
    """

    metric: Literal["lpips", "psnr"] = "lpips"
    steps: Count = 1
    snr_db: Annotated[tuple[Decibels, ...], Some()] = (0.0, 10.0, 20.0)
    cbr: Annotated[tuple[Cbr, ...], Some()] = (1 / 48, 1 / 24)


@dataclass(frozen=True)
class StageConfig:
    """One stage, whatever is trained.

    Attributes:
        name: of the stage.
        output: folder of the run: state, logs, samples, ``best`` and ``final`` checkpoints.
        preset: what is trained, and its sizes.
        data: folders, tar files or shards, a COCO root, or an .npy of squares.
        parent: checkpoint folder to start from; empty: from scratch.
        seed: of the initial weights and of every draw.
        steps: optimiser steps of the stage.
        epochs: passes over the data; where positive they replace ``steps``.
        batch_size: crops per step, over all processes together.
        schedule: whether the learning rate follows ``steps`` or ``total_minutes``.
        total_minutes: length of a run that follows time, over all its calls.
        max_minutes: length of this call; 0: no limit.
        save_minutes: between two saves of the training state; 0 saves after every step.
        log_every: steps between two lines of the log.
        precision: ``bf16`` autocast or ``fp32``.
        device: ``auto`` or ``cpu``.
        compile: whether to use torch.compile where it works.
        resume_anyway: go on although the config differs from that of the saved state.
        optimiser: how the weights move.
        validate: what is measured while training.
    """

    name: str
    output: str
    preset: str = "compact"
    data: tuple[str, ...] = ()
    parent: str = ""
    seed: int = 0
    steps: Count = 1000
    epochs: NotNegative = 0.0
    batch_size: Count = 32
    schedule: Literal["steps", "time"] = "steps"
    total_minutes: NotNegative = 0.0
    max_minutes: NotNegative = 0.0
    save_minutes: NotNegative = 5.0
    log_every: Count = 50
    precision: Literal["bf16", "fp32"] = "bf16"
    device: Literal["auto", "cpu"] = "auto"
    compile: bool = True
    resume_anyway: bool = False
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    validate: ValidationConfig = field(default_factory=ValidationConfig)

    def __post_init__(self) -> None:
        """Reject what cannot be trained.

        Raises:
            InputError: with the key and what it must be.
        """
        if self.schedule == "time" and self.total_minutes == 0:
            raise InputError("total_minutes: must be positive where the schedule follows time")

    def steps_on(self, pictures: int) -> int:
        """Optimiser steps of the stage, given the pictures of an epoch."""
        if self.epochs > 0:
            return math.ceil(self.epochs * pictures / self.batch_size)
        return self.steps

    @property
    def draw_seed(self) -> int:
        """Seed of crops and noise: two stages of one plan see different ones."""
        return zlib.crc32(f"{self.seed}/{self.name}".encode())


@dataclass(frozen=True)
class PictureStage(StageConfig):
    """A stage that learns from crops of pictures, see :class:`StageConfig`.

    Attributes:
        validation: folder of held-out pictures; empty: some squares of ``data``.
        crops: how pictures become crops.
        validate: what is measured while training.
    """

    validation: str = ""
    crops: DataConfig = field(default_factory=DataConfig)
    validate: PictureValidation = field(default_factory=PictureValidation)

    def check_sides(self, multiple: int) -> None:
        """Whether crops fit the networks.

        Args:
            multiple: what the sides of their pictures must be a multiple of.

        Raises:
            InputError: with the key and what it must be.
        """
        if self.crops.crop % multiple:
            raise InputError(
                f"crops.crop: must be a multiple of {multiple} for preset {self.preset}"
            )
        if self.crops.square < self.crops.crop:
            raise InputError("crops.square: must be at least crops.crop")
        if self.validate.side % multiple:
            raise InputError(f"validate.side: must be a multiple of {multiple}")


@dataclass(frozen=True)
class LriscStage(PictureStage):
    """One stage of Algorithm 1, see :class:`PictureStage`.

    Attributes:
        train: networks that learn; the others are frozen.
        fresh: networks that start anew although the parent has them.
        stored_latents: f_e and f_d learn from latents that are computed once and kept in the
            cache, by the squared error of what is received, each channel weighted by what an
            error in it costs in the picture.
        prior_pictures: squares whose rate maps train the side-information code on export.
        loss: of the stage.
        link: of the stage.
        roi: of the stage.
        validate: of the stage.
    """

    train: Annotated[tuple[Part, ...], Some()] = PARTS
    fresh: tuple[Part, ...] = ()
    stored_latents: bool = False
    prior_pictures: CountOrNone = 256
    loss: LossConfig = field(default_factory=LossConfig)
    link: LinkConfig = field(default_factory=LinkConfig)
    roi: RoiConfig = field(default_factory=RoiConfig)
    validate: LriscValidation = field(default_factory=LriscValidation)

    def __post_init__(self) -> None:
        """Reject what cannot be trained, see the base class."""
        super().__post_init__()
        self.check_sides(PRESETS[self.preset].multiple)
        if self.stored_latents:
            self._check_stored()

    def _check_stored(self) -> None:
        """Whether the stage can do with latents alone."""
        codec = {"jscc_encoder", "jscc_decoder"}
        regions = self.roi.fraction > 0
        for key, wrong, must in (
            ("train", not set(self.train) <= codec, "jscc_encoder and jscc_decoder only"),
            ("parent", not self.parent, "a checkpoint whose latents are stored"),
            ("link.enabled", not self.link.enabled, "true"),
            ("crops.decode", self.crops.decode != "once", "once"),
            ("roi.detector_fraction", regions and self.roi.detector_fraction > 0, "0"),
            (
                "roi.steering",
                regions and self.roi.steering not in ("rate", "power"),
                "rate or power, which leave the latent as it is,",
            ),
        ):
            if wrong:
                raise InputError(f"{key}: must be {must} with stored_latents")


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
