"""Where each value of a resolved spec came from. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import Message

from loramill import v1

OF_ADAPTERS = frozenset(
    {
        "adapter.rank",
        "adapter.alpha",
        "adapter.conv_rank",
        "adapter.conv_alpha",
        "adapter.targets",
        "unet.learning_rate",
        "text_encoder.learning_rate",
        "text_encoder_2.learning_rate",
        "optimization.steps",
        "noise.offset",
    }
)
"""Fields that the row of family, type and purpose fills in."""

OF_PICTURES = frozenset({"optimization.batch_size", "loss.min_snr_gamma", "previews.guidance_scale"})
"""Fields that the pictures' size decides."""

OF_OPTIMIZERS = frozenset(
    {"optimization.weight_decay", "optimization.beta1", "optimization.beta2", "optimization.schedule"}
)
"""Fields that the optimizer decides."""

_ELSEWHERE = {
    "optimization.seed": "drawn when the job was accepted",
    "compute_class": "chosen by the operator's rules",
    "compute_fallback.compute_classes": "chosen by the operator's rules",
    "dataset.resolution": "base model",
    "loss.prediction_type": "base model",
    "zero_terminal_snr": "base model",
    "clip_skip": "family",
}
_RATES = tuple(f"{network}.learning_rate" for network in ("unet", "text_encoder", "text_encoder_2"))


def sources_of(
    asked: v1.TrainingSpec, resolved: v1.TrainingSpec, family: str, adapter_source: str, optimizer_source: str
) -> list[v1.FieldSource]:
    """By field, in the order of the spec; the sources are those of the presets' rows."""
    given = set(_fields(asked, ""))
    row = f"preset {family}/{_word(v1.AdapterType, resolved.adapter.type)}/{_word(v1.Purpose, resolved.purpose)}"
    optimizer = f"preset of optimizer {_word(v1.Optimizer, resolved.optimization.optimizer)} ({optimizer_source})"

    def source(field: str) -> str:
        if field in given:
            return "given"
        if optimizer_source and field in (OF_OPTIMIZERS | set(_RATES)):
            return optimizer
        if field in OF_ADAPTERS:
            return f"{row} ({adapter_source})"
        if field in OF_PICTURES:
            return f"preset for pictures of {resolved.dataset.resolution} pixels"
        return _ELSEWHERE.get(field, "default")

    return [v1.FieldSource(field=field, source=source(field)) for field in _fields(resolved, "")]


def _fields(message: Message, prefix: str) -> Iterator[str]:
    """Paths of the fields that are set; a repeated one counts as one."""
    for field, value in message.ListFields():
        path = f"{prefix}{field.name}"
        if path == "sources":
            continue
        if (
            field.message_type is not None
            and not field.is_repeated
            and field.message_type.file.package == "loramill.v1"
        ):
            yield from _fields(value, f"{path}.")
        else:
            yield path


def _word(enum: object, number: int) -> str:
    name: str = enum.Name(number)  # type: ignore[attr-defined]
    prefix: str = enum.Name(0).removesuffix("UNSPECIFIED")  # type: ignore[attr-defined]
    return name.removeprefix(prefix).lower()
