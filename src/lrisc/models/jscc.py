"""f_e and f_d: the rate-adaptive transformer codec between latent and channel symbols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrisc.models.config import ModelConfig
from lrisc.models.snr import SlotGains, SnrAdaptive


class WindowAttention(nn.Module):
    """Multi-head attention inside windows with a learned relative position bias (Swin).

    Every other block shifts its windows by half a window. A grid smaller than a window is one
    window; a grid that is not a multiple is padded, and padding is never attended to.
    """

    position_index: Tensor

    def __init__(self, channels: int, heads: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.heads, self.window, self.shifted = heads, window, shifted
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.position_bias = nn.Parameter(torch.zeros(heads, (2 * window - 1) ** 2))
        at = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij"))
        at = at.flatten(1)
        offset = at[:, :, None] - at[:, None, :] + window - 1
        index = offset[0] * (2 * window - 1) + offset[1]
        self.register_buffer("position_index", index, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, h, w, C)."""
        b, h, w, c = x.shape
        m = self.window
        shift_h = m // 2 if self.shifted and h > m else 0
        shift_w = m // 2 if self.shifted and w > m else 0
        # Pad in front by the shift and behind up to a whole window: a shift without wrap-around.
        pads = (shift_w, -(w + shift_w) % m, shift_h, -(h + shift_h) % m)
        x = F.pad(x, (0, 0, *pads))
        real = F.pad(x.new_ones(1, h, w, 1), (0, 0, *pads)) > 0
        rows, columns = x.shape[1] // m, x.shape[2] // m

        def windows(t: Tensor) -> Tensor:
            t = t.reshape(t.shape[0], rows, m, columns, m, t.shape[-1])
            return t.transpose(2, 3).reshape(-1, m * m, t.shape[-1])

        q, k, v = (self.qkv(windows(x)).reshape(-1, m * m, 3, self.heads, c // self.heads)).permute(
            2, 0, 3, 1, 4
        )
        bias = self.position_bias[:, self.position_index].to(q.dtype)
        blocked = ~windows(real)[:, None, None, :, 0]
        mask = bias[None] + torch.zeros_like(blocked, dtype=q.dtype).masked_fill(blocked, -1e4)
        mask = mask.repeat(b, 1, 1, 1)
        # Written out: in bfloat16 scaled_dot_product_attention takes five times as long on a CPU.
        y = (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2) + mask).softmax(-1).to(v.dtype) @ v
        y = self.out(y.transpose(1, 2).reshape(-1, m * m, c))
        y = y.reshape(b, rows, columns, m, m, c).transpose(2, 3)
        y = y.reshape(b, rows * m, columns * m, c)
        return y[:, shift_h : shift_h + h, shift_w : shift_w + w]


class TransformerBlock(nn.Module):
    """Pre-norm windowed attention and a two-layer perceptron, each with a skip."""

    def __init__(self, channels: int, heads: int, window: int, shifted: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, heads, window, shifted)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 3 * channels), nn.GELU(), nn.Linear(3 * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, h, w, C)."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def _blocks(config: ModelConfig) -> nn.Sequential:
    return nn.Sequential(
        *(
            TransformerBlock(
                config.latent_channels, config.jscc_heads, config.jscc_window, shifted=i % 2 == 1
            )
            for i in range(config.jscc_blocks)
        )
    )


def slot_gains(config: ModelConfig) -> SlotGains | None:
    """Gains for all real and imaginary parts, if the config has them."""
    if not config.snr_gains:
        return None
    return SlotGains(len(config.rate_values), 2 * config.max_symbols)


def symbol_mask(levels: Tensor, rate_values: tuple[int, ...]) -> Tensor:
    """Which of the ``max(V)`` symbol slots each embedding really sends.

    Args:
        levels: index into V per embedding, (..., n) int64.
        rate_values: V.

    Returns:
        (..., n, max(V)) bool, True for the first k_i slots.
    """
    counts = torch.tensor(rate_values, device=levels.device)[levels]
    slots = torch.arange(rate_values[-1], device=levels.device)
    return slots < counts.unsqueeze(-1)


class RateLayers(nn.Module):
    """One FC layer per rate v_q, between embeddings and the 2 v_q real parts of their symbols.

    What a layer does not take of its input is ignored, and what it does not give is 0.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Take (inputs, outputs) for the levels from 1 on; level 0 has no symbols."""
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*size) for size in sizes)
        self.width = max(outputs for _, outputs in sizes)

    def forward(self, x: Tensor, levels: Tensor) -> Tensor:
        """(B, n, inputs) and levels (B, n) to (B, n, most outputs)."""
        y = x.new_zeros(*x.shape[:-1], self.width)
        for level, layer in enumerate(cast(Sequence[nn.Linear], self.layers), 1):
            chosen = levels == level
            made = layer(x[chosen][:, : layer.in_features])
            y[chosen] = F.pad(made, (0, self.width - layer.out_features)).to(y.dtype)
        return y


def _by_rate(layer: nn.Module, x: Tensor, levels: Tensor) -> Tensor:
    """(B, n, inputs) through the layer of each embedding's rate, levels (B, h, w), or all's."""
    return layer(x, levels.flatten(1)) if isinstance(layer, RateLayers) else layer(x)


class JsccEncoder(nn.Module):
    """f_e: rate tokens, N_e transformer blocks, SNR-adaptive model, rate head (Fig. 2).

    Unless the config says ``rate_layers``, one matrix serves every rate: an embedding that gets
    k_i symbols sends the first k_i outputs.
    The latent's linear channels have a way past the transformer as well, in f_d too.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c = config.latent_channels
        self.rate_tokens = nn.Embedding(len(config.rate_values), c)
        nn.init.normal_(self.rate_tokens.weight, std=0.02)
        self.blocks = _blocks(config)
        self.snr = SnrAdaptive(c, config.snr_layers, config.snr_hidden)
        self.head = (
            RateLayers([(c, 2 * v) for v in config.rate_values[1:]])
            if config.rate_layers
            else nn.Linear(c, 2 * config.max_symbols)
        )
        n = config.linear_channels
        self.linear = nn.Linear(n, 2 * config.max_symbols, bias=False) if n else None
        if self.linear is not None:
            nn.init.zeros_(self.linear.weight)
        self.gains = slot_gains(config)

    def forward(
        self, latent: Tensor, levels: Tensor, snr_db: Tensor, *, adapt: bool = True
    ) -> Tensor:
        """Symbols before packing and power normalisation.

        Args:
            latent: z', (B, C, h, w).
            levels: index into V per embedding, (B, h, w) int64.
            snr_db: the channel's SNR in dB, (B,).
            adapt: whether the SNR-adaptive model takes part (training stage 2a: no).

        Returns:
            (B, h·w, max(V), 2) real and imaginary parts; slots beyond k_i are not to be sent.
        """
        x = latent.permute(0, 2, 3, 1) + self.rate_tokens(levels)
        x = self.blocks(x).flatten(1, 2)
        snr_db = snr_db[:, None].expand(x.shape[:2])
        if adapt:
            x = self.snr(x, snr_db)
        symbols = _by_rate(self.head, x, levels)
        if self.linear is not None:
            last = latent[:, -self.linear.in_features :]
            symbols = symbols + self.linear(last.flatten(2).transpose(1, 2))
        if adapt and self.gains is not None:
            symbols = symbols * self.gains(snr_db, levels.flatten(1))
        return symbols.unflatten(-1, (-1, 2))


class JsccDecoder(nn.Module):
    """f_d: the mirror image of f_e; each embedding brings the SNR its own symbols saw."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c = config.latent_channels
        self.stem = (
            RateLayers([(2 * v, c) for v in config.rate_values[1:]])
            if config.rate_layers
            else nn.Linear(2 * config.max_symbols, c)
        )
        self.rate_tokens = nn.Embedding(len(config.rate_values), c)
        nn.init.normal_(self.rate_tokens.weight, std=0.02)
        self.snr = SnrAdaptive(c, config.snr_layers, config.snr_hidden)
        self.blocks = _blocks(config)
        self.head = nn.Linear(c, c)
        n = config.linear_channels
        self.linear = nn.Linear(2 * config.max_symbols, n, bias=False) if n else None
        if self.linear is not None:
            nn.init.zeros_(self.linear.weight)
        self.gains = slot_gains(config)

    def forward(
        self, symbols: Tensor, levels: Tensor, snr_db: Tensor, *, adapt: bool = True
    ) -> Tensor:
        """Received symbols to the latent's estimate.

        Args:
            symbols: equalised, (B, h·w, max(V), 2), zero where nothing was sent.
            levels: index into V per embedding, (B, h, w) int64.
            snr_db: SNR_i in dB, (B, h·w).
            adapt: whether the SNR-adaptive model takes part (training stage 2a: no).

        Returns:
            ẑ, (B, C, h, w).
        """
        symbols = symbols.flatten(2)
        if adapt and self.gains is not None:
            symbols = symbols * self.gains(snr_db, levels.flatten(1))
        x = _by_rate(self.stem, symbols, levels)
        x = x + self.rate_tokens(levels).flatten(1, 2)
        if adapt:
            x = self.snr(x, snr_db)
        x = self.head(self.blocks(x.reshape(*levels.shape, -1)))
        if self.linear is not None:
            linear = self.linear(symbols).reshape(*levels.shape, -1)
            rest = x.shape[-1] - linear.shape[-1]
            x = torch.cat([x[..., :rest], x[..., rest:] + linear], dim=-1)
        return x.permute(0, 3, 1, 2)
