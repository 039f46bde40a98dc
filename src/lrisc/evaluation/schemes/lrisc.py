"""The project's own system: ``lrisc``, ``lrisc:CHECKPOINT``, and with a region ``lrisc-roi``.

With ``@beta=0.2`` after the name, its rate is Eq. 3's and follows the picture.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lrisc.errors import InputError, check_steps
from lrisc.evaluation.schemes.base import SCHEMES, Condition, Delivery, Options, Picture, Scheme
from lrisc.images import load_image
from lrisc.link.fec import MCS_TABLE
from lrisc.link.header import VERSION as FRAME_VERSION
from lrisc.refinement.objective import ObjectiveName, objective
from lrisc.roi.region import Region
from lrisc.system import FADING_MARGIN_DB, MANY_FADES, MANY_FADES_MARGIN_DB, steering_of

if TYPE_CHECKING:
    from lrisc.transmission import Report


class Generative(Scheme):
    """LRISC without a region of interest; the variant is a checkpoint's name or folder."""

    follows_beta = True

    def __init__(self, variant: str | None, options: Options) -> None:
        from lrisc.checkpoint import load_checkpoint

        check_steps(options.steps)
        self.effort = 0
        self.objective: ObjectiveName = options.objective
        self.checkpoint = load_checkpoint(variant or "compact", options.device)
        chosen = self.checkpoint.model.config.decode_steps
        self.steps = chosen if options.steps is None else options.steps
        self.beta = options.beta

    @property
    def fingerprint(self) -> str:
        """Weights, steps, the frame's format, and how its codes are chosen."""
        frame = f"frame {FRAME_VERSION} codes {_codes()}"
        return f"{self.checkpoint.sha256[:16]}, steps {self.steps}, {frame}"

    def region(self, picture: Picture) -> Region | None:
        """What is favoured in a picture."""
        return None

    def send(self, picture: Picture, condition: Condition) -> Delivery:
        """Through transmitter, channel and receiver."""
        from lrisc.transmission import transmit

        result = transmit(
            picture.pixels,
            snr_db=condition.snr_db,
            cbr=condition.cbr if self.beta is None else None,
            beta=self.beta,
            channel=condition.channel,
            steps=self.steps,
            effort=self.effort,
            objective=self.objective,
            model=self.checkpoint,
            seed=condition.seed,
            roi=self.region(picture),
            # A sweep measures all schemes alike, and later.
            measure=False,
            waveform=condition.waveform,
            mobility=condition.mobility,
        )
        report = result.report
        painted = result.reconstruction
        return Delivery(
            reconstruction=None if painted is None else load_image(painted),
            symbols=report.counts.total,
            note=report.outage_reason or _counts(report),
            rate_map=result.rate_map,
            roi_mask=result.roi_mask,
        )


# Not by the decorator, which would hide the class's own attributes from those that build on it.
SCHEMES.add("lrisc", Generative)


@SCHEMES.register("lrisc-effort")
class GenerativeWithEffort(Generative):
    """LRISC whose transmitter improves the symbols of every picture."""

    def __init__(self, variant: str | None, options: Options) -> None:
        from lrisc.refinement.search import check_effort

        super().__init__(variant, options)
        if not options.effort:
            raise InputError("it needs --effort, such as 20")
        check_effort(options.effort)
        self.effort = options.effort
        self.objective: ObjectiveName = options.objective

    @property
    def fingerprint(self) -> str:
        """All of `Generative`, the effort, and whether *perception* is what it should be."""
        minimised = objective(self.objective, self.checkpoint.device)
        missing = "" if minimised.name == self.objective else " without LPIPS"
        return f"{super().fingerprint}, effort {self.effort} {self.objective}{missing}"


@SCHEMES.register("lrisc-roi")
class GenerativeWithRegion(Generative):
    """LRISC with the sweep's region of interest."""

    def __init__(self, variant: str | None, options: Options) -> None:
        from lrisc.roi.detectors import detector_version, find_detector, is_detector
        from lrisc.roi.masks import is_box

        super().__init__(variant, options)
        if options.roi is None or options.roi == "none":
            raise InputError("it needs --roi: auto, a box x,y,w,h, a mask, or a folder of masks")
        self.roi = options.roi
        steering = steering_of(self.checkpoint, options.roi_steering)
        self.favoured = Region(self.roi, steering=steering)
        if options.roi_strength is not None:
            self.favoured = replace(self.favoured, gamma=options.roi_strength)
        self.made_by = ""
        if is_detector(self.roi):
            find_detector(self.roi)
            self.made_by = f" ({detector_version(self.roi)})"
        elif not is_box(self.roi):
            self.made_by = f" of {_hash_of(Path(self.roi))}"

    @property
    def fingerprint(self) -> str:
        """All of `Generative`, and the region: detectors by version, masks by their contents."""
        return (
            f"{super().fingerprint}, roi {self.roi}{self.made_by}, "
            f"strength {self.favoured.gamma:g}, steering {self.favoured.steering}"
        )

    def region(self, picture: Picture) -> Region | None:
        """What was asked for all pictures, or each its own mask."""
        roi: str | Path = self.roi
        if Path(self.roi).is_dir():
            stem = Path(picture.name).stem
            masks = sorted(p for p in Path(self.roi).iterdir() if p.stem == stem)
            if not masks:
                raise InputError(f"{self.roi} holds no mask named {stem}")
            roi = masks[0]
        return replace(self.favoured, mask=roi)


def _codes() -> str:
    """A release that chooses codes for the rate map otherwise has other payloads."""
    chosen = repr((MCS_TABLE, FADING_MARGIN_DB, MANY_FADES, MANY_FADES_MARGIN_DB))
    return hashlib.sha256(chosen.encode()).hexdigest()[:8]


def _hash_of(masks: Path) -> str:
    """Of a mask, or of all of a folder's."""
    found = hashlib.sha256()
    try:
        files = sorted(p for p in masks.iterdir() if p.is_file()) if masks.is_dir() else [masks]
        for file in files:
            found.update(file.name.encode() + b"\0" + file.read_bytes())
    except OSError as error:
        raise InputError(f"--roi: cannot read the mask {masks}: {error.strerror}") from error
    return found.hexdigest()[:16]


def _counts(report: Report) -> str:
    return f"payload CBR {report.cbr_payload:.5f}"
