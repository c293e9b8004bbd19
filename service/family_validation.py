"""What a spec asks of its base model's family: the second text encoder, the layer that is read, the noise schedule. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from loramill import v1
from service.errors import Violation

PREDICTIONS = {"epsilon": v1.PREDICTION_TYPE_EPSILON, "v_prediction": v1.PREDICTION_TYPE_V_PREDICTION}
"""The contract's value by the word that base models have."""

_TWO_TEXT_ENCODERS = ("sdxl",)


def has_second_text_encoder(family: str) -> bool:
    return family in _TWO_TEXT_ENCODERS


def usual_clip_skip(family: str) -> int:
    """Which layer of the text encoders the family was made with, counted from the last, which is 1 (sdxl: Podell et al.,
    arXiv 2307.01952, sec. 2.1, the last but one)."""
    return 2 if has_second_text_encoder(family) else 1


def violations_of_family(spec: v1.TrainingSpec, base: v1.BaseModel, path: str) -> Iterator[Violation]:
    """`base` is what the spec names."""
    if spec.HasField("text_encoder_2") and not has_second_text_encoder(base.family):
        field = f"{path}.text_encoder_2"
        text = f"{field} is set, but {base.name} is of family {base.family}, which has one text encoder; leave it out."
        yield Violation(field, text, "CONFLICT")
    least = usual_clip_skip(base.family)
    if 1 <= spec.clip_skip < least:
        field = f"{path}.clip_skip"
        text = (
            f"{field} is {spec.clip_skip}, but {base.name} is of family {base.family}, which was made with layer {least} from "
            f"the end; choose {least} to 12, or leave it out."
        )
        yield Violation(field, text, "CONFLICT")
    predicts = spec.loss.prediction_type or PREDICTIONS.get(base.prediction_type, v1.PREDICTION_TYPE_EPSILON)
    if spec.zero_terminal_snr and predicts == v1.PREDICTION_TYPE_EPSILON:
        field = f"{path}.zero_terminal_snr"
        text = (
            f"{field} is true, but {base.name} predicts the noise, which pure noise gives away; leave it out, or choose "
            "a base that predicts the velocity."
        )
        yield Violation(field, text, "CONFLICT")
