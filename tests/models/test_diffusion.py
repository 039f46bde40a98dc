import pytest
import torch

from lrisc.models.diffusion import add_noise, alpha, ddim, loss_weight


def test_the_schedule_runs_from_clean_to_noise() -> None:
    a = alpha(torch.linspace(0, 1, 101))
    assert float(a[0]) == 1.0
    assert float(a[-1]) < 1e-6
    assert bool((a[1:] < a[:-1]).all())


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 50])
def test_ddim_with_an_oracle_returns_the_picture_exactly(steps: int) -> None:
    torch.manual_seed(0)
    truth = torch.rand(2, 3, 16, 16) * 2 - 1
    seen: list[float] = []

    def oracle(x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        seen.append(float(time[0]))
        return truth

    assert torch.equal(ddim(oracle, torch.randn(2, 3, 16, 16), steps), truth)
    assert len(seen) == steps
    assert seen[0] == 1.0
    assert seen == sorted(seen, reverse=True)


def test_ddim_visits_the_noise_levels_of_the_forward_process() -> None:
    """With the oracle, every intermediate x_n is the forward process's with the same epsilon."""
    torch.manual_seed(0)
    truth, noise = torch.rand(1, 3, 8, 8) * 2 - 1, torch.randn(1, 3, 8, 8)
    start = add_noise(truth, noise, torch.ones(1))

    def oracle(x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        torch.testing.assert_close(x, add_noise(truth, noise, time), rtol=1e-3, atol=1e-3)
        return truth

    ddim(oracle, start, 5)


def test_predictions_are_clamped() -> None:
    out = ddim(lambda x, time: torch.full_like(x, 7.0), torch.zeros(1, 3, 8, 8), 3)
    assert torch.equal(out, torch.ones(1, 3, 8, 8))


def test_zero_steps_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ddim(lambda x, time: x, torch.zeros(1, 3, 8, 8), 0)


def test_the_weight_is_the_clipped_signal_to_noise_ratio() -> None:
    time = torch.tensor([0.01, 0.5, 1.0])
    weight = loss_weight(time)
    a = alpha(time)
    assert float(weight[0]) == 5.0
    assert float(weight[1]) == pytest.approx(float(a[1] / (1 - a[1])))
    assert float(weight[2]) < 1e-5
