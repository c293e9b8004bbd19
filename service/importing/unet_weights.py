"""The tensors of a UNet2DConditionModel by its configuration, under their names in diffusers and in LDM checkpoints. Pure.

LDM (Rombach et al. 2022, and SDXL's generative-models) numbers its blocks through: `input_blocks` 0 is the first convolution,
then every residual block, with its transformer, and every change of resolution counts as one; `output_blocks` the same without
the changes of resolution, which belong to the block before them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from service.importing.weights import Weight, below, convolution, linear, norm

_FEED_FORWARD = 4
"""Width of a transformer's feed-forward layer, in its own width."""


def unet_weights(config: Mapping[str, Any]) -> Iterator[Weight]:
    """`config` is a `unet/config.json` of sd15, sd2 or sdxl."""
    widths: Sequence[int] = config["block_out_channels"]
    embedding = 4 * widths[0]
    yield from linear("time_embed.0", "time_embedding.linear_1", widths[0], embedding)
    yield from linear("time_embed.2", "time_embedding.linear_2", embedding, embedding)
    if config.get("addition_embed_type") == "text_time":
        inputs = config["projection_class_embeddings_input_dim"]
        yield from linear("label_emb.0.0", "add_embedding.linear_1", inputs, embedding)
        yield from linear("label_emb.0.2", "add_embedding.linear_2", embedding, embedding)
    yield from convolution("input_blocks.0.0", "conv_in", config["in_channels"], widths[0])
    yield from _down(config, widths, embedding)
    yield from _middle(config, widths[-1], embedding)
    yield from _up(config, widths, embedding)
    yield from norm("out.0", "conv_norm_out", widths[0])
    yield from convolution("out.2", "conv_out", widths[0], config["out_channels"])


def _down(config: Mapping[str, Any], widths: Sequence[int], embedding: int) -> Iterator[Weight]:
    number, before = 1, widths[0]
    for i, width in enumerate(widths):
        target = f"down_blocks.{i}"
        for j in range(config["layers_per_block"]):
            source = f"input_blocks.{number}"
            yield from _residual(f"{source}.0", f"{target}.resnets.{j}", before, width, embedding)
            if "CrossAttn" in config["down_block_types"][i]:
                depth = _depths(config)[i]
                yield from _transformer(f"{source}.1", f"{target}.attentions.{j}", width, depth, config)
            number, before = number + 1, width
        if i < len(widths) - 1:
            yield from convolution(f"input_blocks.{number}.0.op", f"{target}.downsamplers.0.conv", width, width)
            number += 1


def _middle(config: Mapping[str, Any], width: int, embedding: int) -> Iterator[Weight]:
    yield from _residual("middle_block.0", "mid_block.resnets.0", width, width, embedding)
    yield from _transformer("middle_block.1", "mid_block.attentions.0", width, _depths(config)[-1], config)
    yield from _residual("middle_block.2", "mid_block.resnets.1", width, width, embedding)


def _up(config: Mapping[str, Any], widths: Sequence[int], embedding: int) -> Iterator[Weight]:
    number, before, layers = 0, widths[-1], config["layers_per_block"] + 1
    for i, width in enumerate(reversed(widths)):
        target, down = f"up_blocks.{i}", len(widths) - 1 - i
        attends = "CrossAttn" in config["up_block_types"][i]
        for j in range(layers):
            source = f"output_blocks.{number}"
            skipped = widths[max(down - 1, 0)] if j == layers - 1 else width
            yield from _residual(f"{source}.0", f"{target}.resnets.{j}", before + skipped, width, embedding)
            if attends:
                depth = _depths(config)[down]
                yield from _transformer(f"{source}.1", f"{target}.attentions.{j}", width, depth, config)
            if j == layers - 1 and i < len(widths) - 1:
                place = 2 if attends else 1
                yield from convolution(f"{source}.{place}.conv", f"{target}.upsamplers.0.conv", width, width)
            number, before = number + 1, width


def _depths(config: Mapping[str, Any]) -> list[int]:
    """Layers of the transformers at each resolution, the finest first."""
    depth = config.get("transformer_layers_per_block", 1)
    return list(depth) if isinstance(depth, list) else [depth] * len(config["block_out_channels"])


def _residual(source: str, target: str, inputs: int, outputs: int, embedding: int) -> Iterator[Weight]:
    yield from norm(f"{source}.in_layers.0", f"{target}.norm1", inputs)
    yield from convolution(f"{source}.in_layers.2", f"{target}.conv1", inputs, outputs)
    yield from linear(f"{source}.emb_layers.1", f"{target}.time_emb_proj", embedding, outputs)
    yield from norm(f"{source}.out_layers.0", f"{target}.norm2", outputs)
    yield from convolution(f"{source}.out_layers.3", f"{target}.conv2", outputs, outputs)
    if inputs != outputs:
        yield from convolution(f"{source}.skip_connection", f"{target}.conv_shortcut", inputs, outputs, side=1)


def _transformer(source: str, target: str, width: int, depth: int, config: Mapping[str, Any]) -> Iterator[Weight]:
    """Both sides call its parts the same."""
    yield from below(f"{source}.", f"{target}.", _of_transformer(width, depth, config))


def _of_transformer(width: int, depth: int, config: Mapping[str, Any]) -> Iterator[Weight]:
    yield from norm("norm", "norm", width)
    flat = config.get("use_linear_projection", False)
    for name in ("proj_in", "proj_out"):
        yield from linear(name, name, width, width) if flat else convolution(name, name, width, width, side=1)
    for number in range(depth):
        block = f"transformer_blocks.{number}"
        for attention, words in (("attn1", width), ("attn2", config["cross_attention_dim"])):
            for name, inputs in (("to_q", width), ("to_k", words), ("to_v", words)):
                layer = f"{block}.{attention}.{name}"
                yield from linear(layer, layer, inputs, width, bias=False)
            layer = f"{block}.{attention}.to_out.0"
            yield from linear(layer, layer, width, width)
        inner = _FEED_FORWARD * width  # GEGLU (Shazeer 2020) makes a value and its gate: twice as many
        yield from linear(f"{block}.ff.net.0.proj", f"{block}.ff.net.0.proj", width, 2 * inner)
        yield from linear(f"{block}.ff.net.2", f"{block}.ff.net.2", inner, width)
        for name in ("norm1", "norm2", "norm3"):
            yield from norm(f"{block}.{name}", f"{block}.{name}", width)
