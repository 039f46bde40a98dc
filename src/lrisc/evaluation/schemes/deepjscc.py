"""DeepJSCC: ``deepjscc`` trained over all SNRs, ``deepjscc-per-snr`` for one SNR each."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from lrisc.baselines.deepjscc.codec import DeepJscc, embedded_names, nearest
from lrisc.checkpoint import EMBEDDED
from lrisc.evaluation.schemes.base import SCHEMES, Condition, Delivery, Options, Picture, Scheme
from lrisc.stored import WEIGHTS_FILE


@SCHEMES.register("deepjscc")
class DeepJsccScheme(Scheme):
    """The model whose bandwidth ratio is nearest, whatever the SNR."""

    def __init__(self, variant: str | None, options: Options) -> None:
        super().__init__(variant, options)
        self.device = options.device

    @property
    def fingerprint(self) -> str:
        """All embedded weights of DeepJSCC."""
        digest = hashlib.sha256()
        for name in embedded_names():
            digest.update((EMBEDDED / name / WEIGHTS_FILE).read_bytes())
        return digest.hexdigest()[:16]

    def model_name(self, condition: Condition) -> str:
        """Which of the embedded models."""
        return nearest(condition.cbr)

    def send(self, picture: Picture, condition: Condition) -> Delivery:
        """Through encoder, channel and decoder."""
        name = self.model_name(condition)
        model = _model(name, self.device)
        reconstruction, symbols = model.transmit(
            picture.pixels,
            condition.snr_db,
            condition.channel,
            condition.seed,
            condition.waveform,
            condition.mobility,
        )
        return Delivery(reconstruction, symbols, f"model {name}")


@SCHEMES.register("deepjscc-per-snr")
class DeepJsccPerSnr(DeepJsccScheme):
    """The model that was trained at the nearest SNR."""

    def model_name(self, condition: Condition) -> str:
        """Which of the embedded models."""
        return nearest(condition.cbr, condition.snr_db)


@lru_cache(maxsize=4)
def _model(name: str, device: str) -> DeepJscc:
    return DeepJscc.from_pretrained(name, device)
