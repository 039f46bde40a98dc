"""Where networks and draws are while training; without a GPU, ``meta`` stands in for one."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from tests.training.runs import TINY, Overrides

from lrisc.errors import InputError
from lrisc.metrics.lpips import Lpips
from lrisc.models.config import PRESETS
from lrisc.models.lrisc import Lrisc
from lrisc.training.config.schema import LriscStage
from lrisc.training.linear_init import start_way
from lrisc.training.loop import Trainer, make_accelerator
from lrisc.training.schedule import read_schedule, run
from lrisc.training.tasks.codec import CodecTask
from lrisc.training.validation import validate

NOISY = {"tiny": replace(PRESETS["tiny"], sigma_start=0.8)}


def stage(settings: list[str]) -> LriscStage:
    (config,) = read_schedule(TINY / "stage3.yaml", settings).stages
    assert isinstance(config, LriscStage)
    return config


def test_start_noise_of_a_validation_comes_from_the_cpu(
    short: Overrides, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: Callable[..., Any] = torch.Generator
    model = Lrisc(NOISY["tiny"]).eval()
    monkeypatch.setattr(
        torch, "Generator", lambda *device: pytest.fail("on it") if device else made()
    )
    pictures = np.zeros((2, 64, 64, 3), np.uint8)
    first, again = (validate(model, None, pictures, stage(short())) for _ in range(2))
    assert first.figures == again.figures


@pytest.mark.gpu
def test_it_trains_and_validates_from_noise_on_a_gpu(
    short: Overrides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lrisc.training.step.PRESETS", NOISY)
    assert run(TINY / "stage3.yaml", short(steps=1)) == "finished"


@pytest.fixture
def frozen(short: Overrides, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Overrides of a stage on stored latents, with LPIPS of random weights."""
    monkeypatch.setattr(Lpips, "from_weights", lambda *_: Lpips("alex").requires_grad_(False))
    return short(
        parent=tiny_folder,
        stored_latents="true",
        train="[jscc_encoder,jscc_decoder]",
        roi__fraction=0,
        loss__lpips=0.6,
        steps=1,
    )


def test_lpips_of_a_stage_on_stored_latents_follows_the_networks(frozen: list[str]) -> None:
    task = CodecTask(stage(frozen))
    assert task.lpips is not None
    task.step.to("meta")
    assert {t.device.type for t in (*task.lpips.parameters(), *task.model.parameters())} == {"meta"}


def test_latents_are_stored_where_the_networks_train(
    frozen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def opened(model: Lrisc, *_: object) -> NoReturn:
        seen.append(next(model.parameters()).device.type)
        raise InputError("enough")

    monkeypatch.setattr("lrisc.training.tasks.codec.open_latents", opened)
    accelerator: Any = SimpleNamespace(
        device=torch.device("meta"), local_main_process_first=nullcontext
    )
    with pytest.raises(InputError, match="enough"):
        Trainer(stage(frozen), accelerator)
    assert seen == ["meta"]


def test_a_new_way_starts_where_the_networks_are() -> None:
    """The pictures, which are on the CPU, go to the networks."""
    model = Lrisc(PRESETS["tiny"]).to("meta")
    seen: list[str] = []
    handle = model.analysis.register_forward_pre_hook(
        lambda _, args: seen.append(args[0].device.type)
    )
    start_way(model, np.zeros((2, 64, 64, 3), np.uint8))
    handle.remove()
    assert set(seen) == {"meta"}


@pytest.mark.gpu
def test_it_trains_and_validates_on_stored_latents_on_a_gpu(frozen: list[str]) -> None:
    assert run(TINY / "stage3.yaml", frozen) == "finished"


@pytest.mark.gpu
def test_new_networks_start_on_a_gpu(short: Overrides) -> None:
    assert run(TINY / "stage3.yaml", short(steps=1)) == "finished"


@pytest.fixture
def fresh_accelerate() -> Iterator[None]:
    """Accelerate keeps what it read of the environment for the life of the process."""
    states: tuple[Any, ...] = (AcceleratorState, PartialState, GradientState)
    for state in states:
        state._reset_state()
    yield
    for state in states:
        state._reset_state()


@pytest.mark.usefixtures("fresh_accelerate")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GRADIENT_ACCUMULATION_STEPS", "4"),
        ("MIXED_PRECISION", "bf16"),
        ("DYNAMO_BACKEND", "EAGER"),
    ],
)
def test_the_config_alone_says_how_gradients_are_made(
    short: Overrides, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """``accelerate launch`` tells its own settings by the environment."""
    monkeypatch.setenv(f"ACCELERATE_{name}", value)
    accelerator = make_accelerator(stage(short(device="cpu")))
    layer = torch.nn.Linear(3, 1, bias=False)
    wrapped = accelerator.prepare_model(layer)
    assert wrapped is layer
    picture = torch.tensor([[1.0, 0.1, 1e-3]])
    accelerator.backward(wrapped(picture).sum())
    assert layer.weight.grad is not None
    assert torch.equal(layer.weight.grad, picture)


@pytest.mark.usefixtures("fresh_accelerate")
def test_processes_wait_for_the_one_that_decodes(
    short: Overrides, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first makes squares and latents, validates and exports; 10 minutes may not do."""
    given: dict[str, Any] = {}
    ranks = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    for name, value in {**ranks, "MASTER_PORT": "1", "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda **how: given.update(how))
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    make_accelerator(stage(short(device="cpu")))
    assert given["timeout"] >= timedelta(hours=12)
