"""Layers of a file against those of a base model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.trainer.formats.drawn import KINDS_AND_OPTIONS, SOME_LAYERS, drawn_layers
from tests.trainer.tiny_base import tiny_unet
from trainer.adapters.targets import Layer, layers_of
from trainer.adapters.weights import LayerWeights
from trainer.errors import UserError
from trainer.formats.matching import matched

POINTWISE = "down_blocks.0.attentions.0.proj_in"


@pytest.fixture(scope="module")
def base() -> dict[str, dict[str, Layer]]:
    return {"unet": layers_of(tiny_unet())}


def drawn(kind: str = "lora", **options: object) -> list[LayerWeights]:
    return drawn_layers(tiny_unet(), "unet", SOME_LAYERS, kind, **options)


def test_what_fits_is_left_as_it_is(base: dict[str, dict[str, Layer]]) -> None:
    layers = drawn()
    found = matched(layers, base)
    assert [(one.name, one.layer, one.alpha) for one in found] == [(one.name, one.layer, one.alpha) for one in layers]
    assert all(one.tensors is other.tensors for one, other in zip(found, layers, strict=True))


@pytest.mark.parametrize("case", KINDS_AND_OPTIONS)
@pytest.mark.parametrize("kernel", [None, (1, 1)])
def test_a_linear_layer_does_what_a_pointwise_convolution_does(case: str, kernel: tuple[int, int] | None) -> None:
    """In both directions: the change is the same, in the shape that the base has."""
    kind, options = KINDS_AND_OPTIONS[case]
    convolution = layers_of(tiny_unet())[POINTWISE]
    linear = Layer(convolution.outputs, convolution.inputs)
    asked, given = (linear, convolution) if kernel is None else (convolution, linear)
    (one,) = matched([_made_for(given, kind, **options)], {"unet": {POINTWISE: asked}})
    assert one.layer == asked
    assert one.delta().shape == asked.shape
    torch.testing.assert_close(one.delta().flatten(), _made_for(given, kind, **options).delta().flatten())
    x = torch.ones(1, asked.inputs, 2, 2) if asked.kernel else torch.ones(1, asked.inputs)
    assert one.kind.forward(x, one.tensors, one.layer, one.scale).shape[1] == asked.outputs


def _made_for(layer: Layer, kind: str, **options: object) -> LayerWeights:
    network = torch.nn.Sequential(
        torch.nn.Conv2d(layer.inputs, layer.outputs, 1)
        if layer.kernel
        else torch.nn.Linear(layer.inputs, layer.outputs)
    )
    (drawn_one,) = drawn_layers(network, "unet", ["0"], kind, **options)
    return replace(drawn_one, path=POINTWISE)


def test_every_layer_that_does_not_fit_is_named(base: dict[str, dict[str, Layer]]) -> None:
    layers = drawn()
    strange = [
        replace(layers[0], path="up_blocks.7.attentions.0.proj_in"),
        replace(layers[1], network="text_encoder_2"),
        replace(layers[2], path=layers[4].path),
        *layers[5:],
    ]
    with pytest.raises(UserError) as caught:
        matched(strange, base)
    lacking, different, remedy = caught.value.problems
    assert lacking == (
        "The base model lacks 2 of the adapter's 6 layers: unet.up_blocks.7.attentions.0.proj_in, "
        "text_encoder_2.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q."
    )
    assert different == (
        "1 layers are of another shape in the base model: unet.down_blocks.0.downsamplers.0.conv "
        "(32 x 32 in the file, 32 x 32 x 3 x 3 in the base)."
    )
    assert remedy == "Use the base model, or one of the family, that the adapter was made for."
