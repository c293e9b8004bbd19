"""The UNet of Stable Diffusion 1.x, 2.x (Rombach et al., arXiv 2112.10752, sec. 3.3) and XL (Podell et al., arXiv 2307.01952,
sec. 2), in plain torch: training waits neither for diffusers to be imported, nor for what its modules do beside their layers.

Modules have the names and the order of diffusers' UNet2DConditionModel, so that the same files fit, and do the same operations
in the same order, so that the same bits come out. diffusers' pipelines draw with it as with theirs.

Shapes: B examples, C channels, h and w of the latents, T words, D their width, E width of the time embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.families.unet_blocks import Down, Embedding, Middle, Recomputable, Up, sinusoids
from trainer.families.unet_config import UNetConfig, Written


class UNet(nn.Module):
    """Predicts the noise in latents, or their velocity."""

    def __init__(self, config: UNetConfig, written: Written) -> None:
        """`written` is the configuration as diffusers' pipelines ask for it."""
        super().__init__()
        self.config, self._built = written, config
        levels, first = config.levels, config.levels[0].channels
        self.conv_in = nn.Conv2d(config.in_channels, first, 3, padding=1)
        self.time_embedding = Embedding(first, config.time_width)
        if config.told_width is not None:
            self.add_embedding = Embedding(config.told_width, config.time_width)
        self.down_blocks = nn.ModuleList(_downs(config))
        self.up_blocks = nn.ModuleList(_ups(config))
        last = levels[-1]
        self.mid_block = Middle(config, last.channels, last.heads, last.blocks)
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, first, config.norm_eps)
        self.conv_out = nn.Conv2d(first, config.out_channels, 3, padding=1)

    @property
    def dtype(self) -> torch.dtype:
        return self.conv_in.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.conv_in.weight.device

    def enable_gradient_checkpointing(self) -> None:
        """Blocks keep their inputs only, and are computed again backwards."""
        for module in self.modules():
            if isinstance(module, Recomputable):
                module.recomputes = True

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        *,
        added_cond_kwargs: Mapping[str, Tensor] | None = None,
        **_of_pipelines: Any,
    ) -> tuple[Tensor]:
        """Latents (B, C, h, w), times (B,) or one for all, words (B, T, D) → prediction (B, C, h, w).

        Names, and that it comes in a tuple, are as diffusers' pipelines have them. `added_cond_kwargs` holds `text_embeds` (B, P)
        and `time_ids` (B, 6) where a UNet is told of sizes.
        """
        time = functional.silu(self._time(sample, timestep, added_cond_kwargs))
        x = self.conv_in(sample)
        skips = [x]
        for down in self.down_blocks:
            x = down(x, time, encoder_hidden_states, skips)
        x = self.mid_block(x, time, encoder_hidden_states)
        # Sides that cannot be halved all the way come back at the sizes that they had.
        halvings = 2 ** (len(self._built.levels) - 1)
        sized = any(side % halvings for side in sample.shape[-2:])
        for up in self.up_blocks:
            x = up(x, time, encoder_hidden_states, skips, sized=sized)
        return (self.conv_out(functional.silu(self.conv_norm_out(x))),)

    def _time(self, sample: Tensor, timestep: Tensor | float, told: Mapping[str, Tensor] | None) -> Tensor:
        """(B, E): time, and what else is told beside the words."""
        config, count = self._built, len(sample)
        times = torch.as_tensor(timestep, device=sample.device).reshape(-1).expand(count)
        width = config.levels[0].channels
        embedded: Tensor = self.time_embedding(self._sinusoids(times, width).to(sample.dtype))
        if config.size_width is None:
            return embedded
        assert told is not None, "a UNet of sdxl is told sizes"
        sizes = self._sinusoids(told["time_ids"].flatten(), config.size_width).reshape(count, -1)
        joined = torch.cat([told["text_embeds"], sizes], dim=-1).to(embedded.dtype)
        beside: Tensor = self.add_embedding(joined)
        return embedded + beside

    def _sinusoids(self, numbers: Tensor, width: int) -> Tensor:
        return sinusoids(numbers, width, cosines_first=self._built.cosines_first, shift=self._built.frequency_shift)


def _downs(config: UNetConfig) -> list[Down]:
    levels, found = config.levels, []
    before = levels[0].channels
    for place, level in enumerate(levels):
        widths = [(before, level.channels), *[(level.channels, level.channels)] * (level.layers - 1)]
        blocks = level.blocks if level.attends_down else 0
        found.append(Down(config, widths, level.heads, blocks, is_last=place == len(levels) - 1))
        before = level.channels
    return found


def _ups(config: UNetConfig) -> list[Up]:
    """Each block of a level also takes what one of the way down handed on: its layers in turn, and what came into the level."""
    found, upwards = [], config.levels[::-1]
    before = upwards[0].channels
    for place, level in enumerate(upwards):
        entered = upwards[min(place + 1, len(upwards) - 1)].channels
        handed_on = [level.channels] * level.layers + [entered]
        inputs = [before, *[level.channels] * level.layers]
        widths = [(one + other, level.channels) for one, other in zip(inputs, handed_on, strict=True)]
        blocks = level.blocks if level.attends_up else 0
        found.append(Up(config, widths, level.heads, blocks, is_last=place == len(upwards) - 1))
        before = level.channels
    return found
