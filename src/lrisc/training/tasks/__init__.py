"""What the training loop can train: a task per kind of network, named by the preset."""

from lrisc.baselines.deepjscc.network import PRESETS as DEEPJSCC_PRESETS
from lrisc.errors import InputError, shown
from lrisc.models.config import PRESETS
from lrisc.training.config.schema import LriscStage, PictureStage, StageConfig
from lrisc.training.data.opened import data_key as pictures_key
from lrisc.training.saliency.distil import masks_key
from lrisc.training.tasks.base import Task
from lrisc.training.tasks.codec import CodecTask
from lrisc.training.tasks.deepjscc import DeepJsccStage, DeepJsccTask
from lrisc.training.tasks.lrisc import LriscTask
from lrisc.training.tasks.saliency import PRESET, SaliencyStage, SaliencyTask


def stage_class(preset: object) -> type[StageConfig]:
    """The config of a preset's task, which has the keys that the task uses.

    Raises:
        InputError: no such preset.
    """
    if isinstance(preset, str) and preset in PRESETS:
        return LriscStage
    if isinstance(preset, str) and preset in DEEPJSCC_PRESETS:
        return DeepJsccStage
    if preset == PRESET:
        return SaliencyStage
    known = ", ".join([*PRESETS, *DEEPJSCC_PRESETS, PRESET])
    raise InputError(f"preset: {shown(preset)} is none of {known}")


def make_task(config: StageConfig) -> Task:
    """The task that a stage's preset names.

    Raises:
        InputError: the parent is missing or of another size.
    """
    if isinstance(config, SaliencyStage):
        return SaliencyTask(config)
    if isinstance(config, DeepJsccStage):
        return DeepJsccTask(config)
    assert isinstance(config, LriscStage)
    return CodecTask(config) if config.stored_latents else LriscTask(config)


def data_key(config: StageConfig) -> str | None:
    """The key of the data that :func:`make_task` would open; ``None``: the config names none.

    Raises:
        InputError: a path does not exist or cannot be used.
    """
    if isinstance(config, SaliencyStage):
        return masks_key(config.masks, config.data, config.maps) if config.masks else None
    assert isinstance(config, PictureStage)
    return pictures_key(config) if config.data else None
