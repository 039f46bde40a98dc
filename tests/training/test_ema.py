"""The average of the weights."""

import torch
from torch import nn

from lrisc.training.ema import Ema


def test_it_follows_trained_weights_and_statistics_faster_at_first() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model[0].bias.requires_grad_(False)
    ema = Ema(model, 0.9)
    start = {name: tensor.clone() for name, tensor in ema.model.state_dict().items()}
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(1)
    ema.update(0)
    average = ema.model.state_dict()
    for name in ("0.weight", "1.weight", "1.running_mean"):
        torch.testing.assert_close(average[name], start[name] + 0.95)
    for name in ("0.bias", "1.num_batches_tracked"):
        assert torch.equal(average[name], start[name])
    ema.update(10**6)
    torch.testing.assert_close(average["0.weight"], start["0.weight"] + 0.95 + 0.1 * 0.05)
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())
