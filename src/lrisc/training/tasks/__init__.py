"""What the training loop can train: a task per kind of network."""

from lrisc.baselines.deepjscc.network import PRESETS as DEEPJSCC_PRESETS
from lrisc.training.config.schema import StageConfig
from lrisc.training.tasks.base import Task
from lrisc.training.tasks.deepjscc import DeepJsccTask
from lrisc.training.tasks.lrisc import LriscTask


def make_task(config: StageConfig) -> Task:
    """The task that a stage's preset names.

    Raises:
        InputError: the parent is missing or of another size.
    """
    return DeepJsccTask(config) if config.preset in DEEPJSCC_PRESETS else LriscTask(config)
