"""The tensors of an AutoencoderKL by its configuration, under their names in diffusers and in LDM checkpoints. Pure.

LDM counts the decoder's resolutions from the finest, diffusers from the coarsest; LDM's attention is made of 1×1 convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from service.importing.weights import Weight, convolution, linear, norm


def vae_weights(config: Mapping[str, Any]) -> Iterator[Weight]:
    """`config` is a `vae/config.json`."""
    widths: Sequence[int] = config["block_out_channels"]
    latents: int = config["latent_channels"]
    yield from _encoder(config, widths, latents)
    yield from _decoder(config, widths, latents)
    yield from convolution("quant_conv", "quant_conv", 2 * latents, 2 * latents, side=1)
    yield from convolution("post_quant_conv", "post_quant_conv", latents, latents, side=1)


def _encoder(config: Mapping[str, Any], widths: Sequence[int], latents: int) -> Iterator[Weight]:
    yield from convolution("encoder.conv_in", "encoder.conv_in", config["in_channels"], widths[0])
    before = widths[0]
    for i, width in enumerate(widths):
        source, target = f"encoder.down.{i}", f"encoder.down_blocks.{i}"
        for j in range(config["layers_per_block"]):
            yield from _residual(f"{source}.block.{j}", f"{target}.resnets.{j}", before, width)
            before = width
        if i < len(widths) - 1:
            yield from convolution(f"{source}.downsample.conv", f"{target}.downsamplers.0.conv", width, width)
    yield from _middle("encoder", widths[-1])
    yield from norm("encoder.norm_out", "encoder.conv_norm_out", widths[-1])
    yield from convolution("encoder.conv_out", "encoder.conv_out", widths[-1], 2 * latents)


def _decoder(config: Mapping[str, Any], widths: Sequence[int], latents: int) -> Iterator[Weight]:
    yield from convolution("decoder.conv_in", "decoder.conv_in", latents, widths[-1])
    yield from _middle("decoder", widths[-1])
    before = widths[-1]
    for i, width in enumerate(reversed(widths)):
        source, target = f"decoder.up.{len(widths) - 1 - i}", f"decoder.up_blocks.{i}"
        for j in range(config["layers_per_block"] + 1):
            yield from _residual(f"{source}.block.{j}", f"{target}.resnets.{j}", before, width)
            before = width
        if i < len(widths) - 1:
            yield from convolution(f"{source}.upsample.conv", f"{target}.upsamplers.0.conv", width, width)
    yield from norm("decoder.norm_out", "decoder.conv_norm_out", widths[0])
    yield from convolution("decoder.conv_out", "decoder.conv_out", widths[0], config["out_channels"])


def _middle(side: str, width: int) -> Iterator[Weight]:
    yield from _residual(f"{side}.mid.block_1", f"{side}.mid_block.resnets.0", width, width)
    source, target = f"{side}.mid.attn_1", f"{side}.mid_block.attentions.0"
    yield from norm(f"{source}.norm", f"{target}.group_norm", width)
    for name, layer in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0")):
        yield from linear(f"{source}.{name}", f"{target}.{layer}", width, width)
    yield from _residual(f"{side}.mid.block_2", f"{side}.mid_block.resnets.1", width, width)


def _residual(source: str, target: str, inputs: int, outputs: int) -> Iterator[Weight]:
    yield from norm(f"{source}.norm1", f"{target}.norm1", inputs)
    yield from convolution(f"{source}.conv1", f"{target}.conv1", inputs, outputs)
    yield from norm(f"{source}.norm2", f"{target}.norm2", outputs)
    yield from convolution(f"{source}.conv2", f"{target}.conv2", outputs, outputs)
    if inputs != outputs:
        yield from convolution(f"{source}.nin_shortcut", f"{target}.conv_shortcut", inputs, outputs, side=1)
