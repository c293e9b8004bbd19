"""Assignment → which of the base's networks are trained, and how the base is read: what goes with a family."""

from __future__ import annotations

from typing import NamedTuple

from loramill import v1
from trainer.config import NetworkConfig, PredictionTypeName
from trainer.spec_reader import Reader

_PREDICTION_TYPES: dict[int, PredictionTypeName] = {
    v1.PREDICTION_TYPE_EPSILON: "epsilon",
    v1.PREDICTION_TYPE_V_PREDICTION: "v_prediction",
}


class Networks(NamedTuple):
    """The networks that adapters can be put into."""

    unet: NetworkConfig
    text_encoder: NetworkConfig
    text_encoder_2: NetworkConfig


def networks(spec: v1.TrainingSpec, read: Reader) -> Networks:
    """What is trained, with its rate."""
    found = Networks(
        unet=NetworkConfig(
            train=spec.unet.train if spec.unet.HasField("train") else True,
            learning_rate=read.number(spec.unet, "unet.learning_rate"),
        ),
        text_encoder=_text_encoder(spec.text_encoder, "text_encoder", read),
        text_encoder_2=_text_encoder(spec.text_encoder_2, "text_encoder_2", read),
    )
    if not any(network.train for network in found):
        read.problems.append(
            "Neither unet.train nor text_encoder.train nor text_encoder_2.train is set, so nothing would be trained; set one."
        )
    return found


def _text_encoder(given: v1.TargetSpec, name: str, read: Reader) -> NetworkConfig:
    rate = read.number(given, f"{name}.learning_rate") if given.train else 0
    return NetworkConfig(train=given.train, learning_rate=rate)


def prediction_type(assignment: v1.Assignment, read: Reader) -> PredictionTypeName | None:
    """As the spec says, else as was found when the base model was imported; None leaves it to the base's own files."""
    said = assignment.spec.loss.prediction_type
    if said != v1.PREDICTION_TYPE_UNSPECIFIED:
        return read.choice(said, "loss.prediction_type", _PREDICTION_TYPES)
    return next((name for name in _PREDICTION_TYPES.values() if name == assignment.base_model.prediction_type), None)


def zero_terminal_snr(assignment: v1.Assignment) -> bool | None:
    """As the spec says, else as was found when the base model was imported; None leaves it to the base's own schedule."""
    if assignment.spec.HasField("zero_terminal_snr"):
        return assignment.spec.zero_terminal_snr
    return assignment.base_model.zero_terminal_snr or None
