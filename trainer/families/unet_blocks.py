"""The blocks of Stable Diffusion's UNet (`unet`): time, residual blocks, transformers, and the levels that they make up.

Shapes: B examples, C channels, h and w of the latents, N = h · w places, T words, D their width, E width of the time embedding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.families.unet_config import UNetConfig


def sinusoids(times: Tensor, width: int, *, cosines_first: bool, shift: float) -> Tensor:
    """(B,) → (B, width), fp32: sines and cosines of frequencies from 1 down to 1/10000 (Vaswani et al., arXiv 1706.03762, sec.
    3.5)."""
    half = width // 2
    exponent = -math.log(10000) * torch.arange(half, dtype=torch.float32, device=times.device)
    angles = times[:, None].float() * torch.exp(exponent / (half - shift))[None, :]
    parts = [torch.sin(angles), torch.cos(angles)]
    return torch.cat(parts[::-1] if cosines_first else parts, dim=-1)


class Recomputable(nn.Module):
    """A block that can forget what happens in it, and do it again backwards."""

    recomputes = False

    def run(self, *inputs: Tensor) -> Tensor:
        """The block's result."""
        if self.recomputes and torch.is_grad_enabled():
            from torch.utils.checkpoint import checkpoint

            found: Tensor = checkpoint(self, *inputs, use_reentrant=False)
            return found
        result: Tensor = self(*inputs)
        return result


class Embedding(nn.Module):
    """(B, I) → (B, E)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(inputs, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear_2(functional.silu(self.linear_1(x)))
        return out


class Residual(Recomputable):
    """Two convolutions beside a shortcut; between them the time is added. (B, C, h, w) → (B, C', h, w)."""

    def __init__(self, config: UNetConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        groups, eps = config.norm_num_groups, config.norm_eps
        self.norm1 = nn.GroupNorm(groups, inputs, eps)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time_emb_proj = nn.Linear(config.time_width, outputs)
        self.norm2 = nn.GroupNorm(groups, outputs, eps)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor, active_time: Tensor) -> Tensor:
        """`active_time` (B, E) has been through its activation."""
        inner = self.conv1(functional.silu(self.norm1(x)))
        inner = inner + self.time_emb_proj(active_time)[:, :, None, None]
        inner = self.conv2(functional.silu(self.norm2(inner)))
        beside: Tensor = x if self.conv_shortcut is None else self.conv_shortcut(x)
        out: Tensor = beside + inner
        return out


class Attention(nn.Module):
    """Of places among themselves, or to words."""

    def __init__(self, width: int, heads: int, words: int | None = None) -> None:
        super().__init__()
        self.heads, self.head_width = heads, width // heads
        inner = heads * self.head_width
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_k = nn.Linear(words or width, inner, bias=False)
        self.to_v = nn.Linear(words or width, inner, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(inner, width)])

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, N, width) and (B, T, D) → (B, N, width)."""
        count = len(x)
        query, key, value = (
            part.view(count, -1, self.heads, self.head_width).transpose(1, 2)
            for part in (self.to_q(x), self.to_k(context), self.to_v(context))
        )
        attended = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.to_out[0](attended.transpose(1, 2).reshape(count, -1, self.heads * self.head_width))
        return out


class Gate(nn.Module):
    """GEGLU (Shazeer, arXiv 2002.05202, sec. 2): half of the features gates the other half."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner)

    def forward(self, x: Tensor) -> Tensor:
        features, gate = self.proj(x).chunk(2, dim=-1)
        gated: Tensor = features * functional.gelu(gate)
        return gated


class FeedForward(nn.Module):
    """Widens four times, gates, and narrows."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # In the files the narrowing layer is number 2: number 1 is a dropout without weights.
        self.net = nn.ModuleList([Gate(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net[2](self.net[0](x))
        return out


class TransformerBlock(Recomputable):
    """Self-attention, attention to the words, feed-forward; (B, N, width) stays."""

    def __init__(self, config: UNetConfig, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = Attention(width, heads, config.cross_attention_dim)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        normed = self.norm1(x)
        x = self.attn1(normed, normed) + x
        x = self.attn2(self.norm2(x), words) + x
        out: Tensor = self.ff(self.norm3(x)) + x
        return out


class Transformer(nn.Module):
    """Blocks over the places of an image, (B, C, h, w) → the same."""

    def __init__(self, config: UNetConfig, channels: int, heads: int, blocks: int) -> None:
        super().__init__()
        inner = heads * (channels // heads)
        self.linear = config.use_linear_projection
        self.norm = nn.GroupNorm(config.norm_num_groups, channels, 1e-6)
        self.proj_in = nn.Linear(channels, inner) if self.linear else nn.Conv2d(channels, inner, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(config, inner, heads) for _ in range(blocks)])
        self.proj_out = nn.Linear(inner, channels) if self.linear else nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        count, _, height, width = x.shape
        inner = self.norm(x)
        if not self.linear:
            inner = self.proj_in(inner)
        inner = inner.permute(0, 2, 3, 1).reshape(count, height * width, inner.shape[1])
        if self.linear:
            inner = self.proj_in(inner)
        for block in self.transformer_blocks:
            inner = block.run(inner, words)  # type: ignore[operator]
        if self.linear:
            inner = self.proj_out(inner)
        inner = inner.reshape(count, height, width, inner.shape[-1]).permute(0, 3, 1, 2).contiguous()
        if not self.linear:
            inner = self.proj_out(inner)
        result: Tensor = inner + x
        return result


class Smaller(nn.Module):
    """(B, C, h, w) → (B, C, h/2, w/2), odd sides rounded up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class Larger(nn.Module):
    """(B, C, h, w) → (B, C, 2h, 2w), or a size that is asked for."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, size: torch.Size | None) -> Tensor:
        wider = (
            functional.interpolate(x, scale_factor=2.0, mode="nearest")
            if size is None
            else functional.interpolate(x, size=list(size), mode="nearest")
        )
        out: Tensor = self.conv(wider)
        return out


class Level(nn.Module):
    """What happens at one size: residual blocks, each with a transformer behind it where the level attends to words."""

    def __init__(self, config: UNetConfig, widths: Sequence[tuple[int, int]], heads: int, blocks: int) -> None:
        """`widths` are the channels in and out of each residual block; no `blocks`: no attention."""
        super().__init__()
        attentions = [Transformer(config, outputs, heads, blocks) for _, outputs in widths] if blocks else []
        if attentions:
            self.attentions = nn.ModuleList(attentions)
        self.resnets = nn.ModuleList([Residual(config, *channels) for channels in widths])
        self._attentions = attentions

    def _pass(self, place: int, x: Tensor, time: Tensor, words: Tensor) -> Tensor:
        x = self.resnets[place].run(x, time)  # type: ignore[operator]
        return self._attentions[place](x, words) if self._attentions else x


class Down(Level):
    """On the way to smaller sizes; hands on what it made at each place."""

    def __init__(
        self, config: UNetConfig, widths: Sequence[tuple[int, int]], heads: int, blocks: int, *, is_last: bool
    ) -> None:
        super().__init__(config, widths, heads, blocks)
        self.downsamplers = None if is_last else nn.ModuleList([Smaller(widths[-1][1])])

    def forward(self, x: Tensor, time: Tensor, words: Tensor, skips: list[Tensor]) -> Tensor:
        for place in range(len(self.resnets)):
            x = self._pass(place, x, time, words)
            skips.append(x)
        if self.downsamplers is not None:
            x = self.downsamplers[0](x)
            skips.append(x)
        return x


class Up(Level):
    """On the way back; takes what was handed on."""

    def __init__(
        self, config: UNetConfig, widths: Sequence[tuple[int, int]], heads: int, blocks: int, *, is_last: bool
    ) -> None:
        super().__init__(config, widths, heads, blocks)
        self.upsamplers = None if is_last else nn.ModuleList([Larger(widths[-1][1])])

    def forward(self, x: Tensor, time: Tensor, words: Tensor, skips: list[Tensor], *, sized: bool) -> Tensor:
        for place in range(len(self.resnets)):
            x = self._pass(place, torch.cat([x, skips.pop()], dim=1), time, words)
        if self.upsamplers is not None:
            x = self.upsamplers[0](x, skips[-1].shape[2:] if sized else None)
        return x


class Middle(nn.Module):
    """Between them, at the smallest size."""

    def __init__(self, config: UNetConfig, channels: int, heads: int, blocks: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([Transformer(config, channels, heads, blocks)])
        self.resnets = nn.ModuleList([Residual(config, channels, channels) for _ in range(2)])

    def forward(self, x: Tensor, time: Tensor, words: Tensor) -> Tensor:
        x = self.resnets[0].run(x, time)  # type: ignore[operator]
        x = self.attentions[0](x, words)
        out: Tensor = self.resnets[1].run(x, time)  # type: ignore[operator]
        return out
