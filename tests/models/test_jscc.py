from dataclasses import replace

import torch

from lrisc.models.config import PRESETS
from lrisc.models.jscc import JsccDecoder, JsccEncoder, WindowAttention, symbol_mask

CONFIG = PRESETS["tiny"]


def test_mask_keeps_the_first_k_slots() -> None:
    mask = symbol_mask(torch.tensor([[0, 1, 3]]), (0, 2, 4, 6))
    assert mask.sum(-1).tolist() == [[0, 2, 6]]
    assert mask[0, 1].tolist() == [True, True, False, False, False, False]


def sees(row: int, column: int, *, shifted: bool) -> torch.Tensor:
    """Places of an 8×8 grid whose attention depends on one of them, bool (8, 8)."""
    torch.manual_seed(0)
    attention = WindowAttention(8, 2, 4, shifted=shifted)
    x = torch.randn(1, 8, 8, 8)
    y = x.clone()
    y[0, row, column] += 1
    return (attention(x) - attention(y)).abs().sum(-1)[0] > 1e-6


def test_attention_sees_only_its_window() -> None:
    changed = sees(0, 0, shifted=False)
    assert bool(changed[:4, :4].all())
    assert not bool(changed[4:].any())
    assert not bool(changed[:, 4:].any())


def test_shifted_windows_cross_the_border_between_windows() -> None:
    changed = sees(3, 3, shifted=True)
    assert bool(changed[2:6, 2:6].all())
    assert int(changed.sum()) == 16


def test_padding_of_a_ragged_grid_is_never_attended_to() -> None:
    """A grid smaller than the window gives what full attention over it gives."""
    torch.manual_seed(0)
    attention = WindowAttention(8, 2, 4, shifted=False)
    x = torch.randn(1, 3, 4, 8)
    inside = attention(x)
    torch.nn.init.constant_(attention.qkv.bias, 5.0)
    assert inside.shape == x.shape
    q, k, v = attention.qkv(x.reshape(1, 12, 8)).reshape(1, 12, 3, 2, 4).permute(2, 0, 3, 1, 4)
    full = torch.softmax(q @ k.transpose(-1, -2) / 2, -1) @ v
    full = attention.out(full.transpose(1, 2).reshape(1, 3, 4, 8))
    torch.testing.assert_close(attention(x), full, rtol=1e-5, atol=1e-5)


def test_rates_are_a_nested_prefix_of_one_head() -> None:
    """The first k outputs of one matrix: rows beyond k change nothing that is sent."""
    torch.manual_seed(0)
    encoder, decoder = JsccEncoder(CONFIG), JsccDecoder(CONFIG)
    levels = torch.randint(0, 16, (1, 4, 6)).clamp(max=7)
    latent, snr = torch.randn(1, 48, 4, 6), torch.tensor([10.0])
    mask = symbol_mask(levels.flatten(1), CONFIG.rate_values)
    sent = encoder(latent, levels, snr)[mask]
    with torch.no_grad():
        encoder.get_parameter("head.weight")[2 * CONFIG.rate_values[7] :] += 1
    assert torch.equal(encoder(latent, levels, snr)[mask], sent)
    symbols = torch.zeros(1, 24, 128, 2)
    symbols[mask] = sent
    estimate = decoder(symbols, levels, torch.full((1, 24), 10.0))
    assert estimate.shape == (1, 48, 4, 6)


def test_every_embedding_uses_its_own_snr() -> None:
    torch.manual_seed(0)
    decoder = JsccDecoder(CONFIG)
    torch.nn.init.orthogonal_(decoder.snr.trunk[-1].get_parameter("weight"))
    levels = torch.full((1, 1, 2), 5)
    symbols = torch.randn(1, 2, 128, 2)
    same = decoder(symbols, levels, torch.tensor([[10.0, 10.0]]))
    other = decoder(symbols, levels, torch.tensor([[10.0, 0.0]]))
    assert float((same - other).detach().abs().max()) > 1e-6


def test_every_rate_has_a_layer_of_its_own_where_the_config_says_so() -> None:
    torch.manual_seed(0)
    config = replace(CONFIG, rate_layers=True)
    encoder, decoder = JsccEncoder(config), JsccDecoder(config)
    levels = torch.tensor([[[0, 3, 7]]])
    latent, snr = torch.randn(1, 48, 1, 3), torch.full((1, 3), 10.0)
    mask = symbol_mask(levels.flatten(1), config.rate_values)
    sent = encoder(latent, levels, snr[:, 0]) * mask[..., None]
    estimate = decoder(sent, levels, snr)
    outputs = [encoder.get_parameter(f"head.layers.{i}.weight").shape[0] for i in range(15)]
    assert outputs == [2 * v for v in config.rate_values[1:]]
    with torch.no_grad():
        for layers in (encoder.get_submodule("head.layers"), decoder.get_submodule("stem.layers")):
            layers.get_parameter("6.bias").add_(1)
    changed = (encoder(latent, levels, snr[:, 0]) * mask[..., None] - sent).abs().sum((0, 2, 3))
    assert (changed > 0).tolist() == [False, False, True]
    assert not torch.allclose(decoder(sent, levels, snr), estimate)
    decoder(sent, levels, snr).sum().backward()
    used, unused = (decoder.get_parameter(f"stem.layers.{i}.weight").grad for i in (2, 3))
    assert used is not None
    assert unused is not None
    assert used.abs().sum() > 0
    assert unused.abs().sum() == 0  # nothing had this rate
