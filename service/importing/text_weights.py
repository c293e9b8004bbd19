"""The tensors of CLIP text encoders by their configuration, under their names in transformers and in checkpoints. Pure.

sd15 and SDXL's first encoder are stored as transformers has them; sd2 and SDXL's second one as OpenCLIP has them, with queries,
keys and values in one tensor and the projection the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from service.importing.weights import Weight, below, linear, norm

_LAYERS = (
    ("self_attn.q_proj", "attn.in_proj_", 0),
    ("self_attn.k_proj", "attn.in_proj_", 1),
    ("self_attn.v_proj", "attn.in_proj_", 2),
)


def clip_weights(config: Mapping[str, Any]) -> Iterator[Weight]:
    """Stored as transformers has them; `config` is a `text_encoder/config.json`."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    yield from _named("text_model.embeddings.token_embedding.weight", (config["vocab_size"], width))
    yield from _named("text_model.embeddings.position_embedding.weight", (config["max_position_embeddings"], width))
    for number in range(config["num_hidden_layers"]):
        layer = f"text_model.encoder.layers.{number}."
        yield from below(layer, layer, _clip_layer(width, inner))
    yield from norm("text_model.final_layer_norm", "text_model.final_layer_norm", width)


def open_clip_weights(config: Mapping[str, Any]) -> Iterator[Weight]:
    """Stored as OpenCLIP has them; with the projection if the configuration is of a CLIPTextModelWithProjection."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    vocabulary, positions = (config["vocab_size"], width), (config["max_position_embeddings"], width)
    yield Weight("token_embedding.weight", "text_model.embeddings.token_embedding.weight", vocabulary)
    yield Weight("positional_embedding", "text_model.embeddings.position_embedding.weight", positions)
    for number in range(config["num_hidden_layers"]):
        source, target = f"transformer.resblocks.{number}.", f"text_model.encoder.layers.{number}."
        yield from below(source, target, _open_clip_layer(width, inner))
    yield from norm("ln_final", "text_model.final_layer_norm", width)
    if has_projection(config):
        yield Weight("text_projection", "text_projection.weight", (config["projection_dim"], width), transposed=True)


def has_projection(config: Mapping[str, Any]) -> bool:
    return "CLIPTextModelWithProjection" in config.get("architectures", ())


def _named(name: str, shape: tuple[int, ...]) -> Iterator[Weight]:
    yield Weight(name, name, shape)


def _clip_layer(width: int, inner: int) -> Iterator[Weight]:
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        yield from linear(f"self_attn.{name}", f"self_attn.{name}", width, width)
    yield from norm("layer_norm1", "layer_norm1", width)
    yield from linear("mlp.fc1", "mlp.fc1", width, inner)
    yield from linear("mlp.fc2", "mlp.fc2", inner, width)
    yield from norm("layer_norm2", "layer_norm2", width)


def _open_clip_layer(width: int, inner: int) -> Iterator[Weight]:
    for target, source, part in _LAYERS:
        yield Weight(f"{source}weight", f"{target}.weight", (width, width), part)
        yield Weight(f"{source}bias", f"{target}.bias", (width,), part)
    yield from linear("attn.out_proj", "self_attn.out_proj", width, width)
    yield from norm("ln_1", "layer_norm1", width)
    yield from linear("mlp.c_fc", "mlp.fc1", width, inner)
    yield from linear("mlp.c_proj", "mlp.fc2", inner, width)
    yield from norm("ln_2", "layer_norm2", width)
