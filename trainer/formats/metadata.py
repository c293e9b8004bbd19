"""The header of an adapter's file: `modelspec` 1.0.1, the `ss_*` keys that tools read, and all that the adapter came from, so
that it can be trained again. Every value is a string.

All of it follows from the job and the code, none from the clock or the machine, so that a resumed job writes the same bytes.
Captions and tags of the data stand in it only where the spec allows it.

| key | what it says |
|---|---|
| `loramill_spec` | the resolved spec, ProtoJSON |
| `loramill_spec_withheld` | fields that are left out of it because they tell of the data |
| `loramill_base_digest`, `loramill_dataset_digest` | of the base model's and the dataset's manifest |
| `loramill_initial_adapter_sha256` | of the file that the training went on from, if it did |
| `loramill_code_digest` | of the trainer's source (`formats.code`) |
"""

from __future__ import annotations

import base64
import copy
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.adapters.weights import LayerWeights
from trainer.config import AdapterConfig, TrainConfig
from trainer.config_fitting import OptimizerName
from trainer.data.captions import tags_of
from trainer.data.dataset import Example
from trainer.families.facts import FamilyFacts
from trainer.formats.code import code_digest
from trainer.formats.network_keys import network_keys


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What an adapter came from."""

    base_name: str
    base_digest: str
    dataset_digest: str
    initial_adapter_sha256: str
    """Of the file that the training went on from; empty where it began anew."""
    family: FamilyFacts
    prediction_type: str
    clip_skip: int
    """The layer of the text encoders that was read, counted from the last, which is 1."""
    steps: int
    """Optimizer steps behind this file."""
    total_steps: int
    epochs: int
    thumbnail: bytes | None
    """JPEG."""


def model_spec(config: TrainConfig, provenance: Provenance, content_sha256: str) -> dict[str, str]:
    """`modelspec.*` (Stability AI's Model Metadata Standard 1.0.1)."""
    side = config.pictures.resolution
    entries = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": provenance.family.architecture,
        "modelspec.implementation": "diffusers",
        "modelspec.title": config.title or config.output_name,
        "modelspec.date": config.created.strftime("%Y-%m-%dT%H:%M:%S"),
        "modelspec.resolution": f"{side}x{side}",
        "modelspec.prediction_type": "v" if provenance.prediction_type == "v_prediction" else "epsilon",
        "modelspec.hash_sha256": f"0x{content_sha256}",
    }
    if config.activation_tags:
        entries["modelspec.trigger_phrase"] = ", ".join(config.activation_tags)
        entries["modelspec.usage_hint"] = f"Put {' or '.join(config.activation_tags)} first in the prompt."
    if provenance.thumbnail is not None:
        entries["modelspec.thumbnail"] = "data:image/jpeg;base64," + base64.b64encode(provenance.thumbnail).decode()
    return entries


def _tag_frequency(config: TrainConfig, examples: Sequence[Example]) -> dict[str, dict[str, int]]:
    frequency: dict[str, Counter[str]] = {}
    for example in examples:
        name = config.subsets[example.subset].path_prefix.strip("/") or "dataset"
        frequency.setdefault(name, Counter()).update(tags_of(example.caption, config.subsets[example.subset].captions))
    return {name: dict(sorted(counter.items())) for name, counter in sorted(frequency.items())}


def _text_encoder_rates(config: TrainConfig) -> object:
    """kohya's way to say them: one number, or a list where there are two encoders."""
    rates = [network.learning_rate for network in (config.text_encoder, config.text_encoder_2) if network.train]
    if config.family != "sdxl":
        return rates[0] if rates else None
    return [config.text_encoder.learning_rate, config.text_encoder_2.learning_rate] if rates else None


_OPTIMIZERS: dict[OptimizerName, str] = {
    "adamw": "torch.optim.AdamW",
    "adamw_8bit": "bitsandbytes.optim.AdamW8bit",
    "adafactor": "torch.optim.Adafactor",
    "lion": "lion_pytorch.Lion",
    "prodigy": "prodigyopt.Prodigy",
    "schedule_free_adamw": "schedulefree.AdamWScheduleFree",
    "preconditioned_adamw": "preconditioned torch.optim.AdamW",
}


def training_keys(config: TrainConfig, provenance: Provenance, examples: Sequence[Example]) -> dict[str, str]:
    """`ss_*`: what LoRA browsers of A1111 and Forge show."""
    optimization, version = config.optimization, provenance.family.kohya_version
    buckets = Counter((example.bucket.width, example.bucket.height) for example in examples)
    sizes: Counter[str] = Counter(
        config.subsets[example.subset].path_prefix.strip("/") or "dataset" for example in examples
    )
    entries: dict[str, object] = {
        "ss_output_name": config.output_name,
        "ss_sd_model_name": provenance.base_name,
        "ss_sd_model_hash": provenance.base_digest[:8],
        "ss_new_sd_model_hash": provenance.base_digest,
        "ss_base_model_version": version,
        "ss_v2": version.startswith("sd_v2"),
        "ss_v_parameterization": provenance.prediction_type == "v_prediction",
        "ss_clip_skip": provenance.clip_skip,
        "ss_zero_terminal_snr": config.zero_terminal_snr or False,
        "ss_network_dropout": config.adapter.dropout or None,
        "ss_resolution": f"({config.pictures.resolution}, {config.pictures.resolution})",
        "ss_enable_bucket": config.pictures.buckets,
        "ss_bucket_info": json.dumps(
            {
                "buckets": {
                    str(place): {"resolution": list(size), "count": count}
                    for place, (size, count) in enumerate(sorted(buckets.items()))
                }
            }
        ),
        "ss_num_train_images": sum(config.subsets[example.subset].repeats for example in examples),
        "ss_num_reg_images": config.prior.images if config.prior else 0,
        "ss_num_epochs": provenance.epochs,
        "ss_batch_size_per_device": optimization.batch_size,
        "ss_total_batch_size": optimization.batch_size * optimization.gradient_accumulation,
        "ss_gradient_accumulation_steps": optimization.gradient_accumulation,
        "ss_steps": provenance.steps,
        "ss_max_train_steps": provenance.total_steps,
        "ss_learning_rate": next(iter(config.trained.values())).learning_rate,
        "ss_unet_lr": config.unet.learning_rate if config.unet.train else None,
        "ss_text_encoder_lr": _text_encoder_rates(config),
        "ss_optimizer": f"{_OPTIMIZERS[optimization.optimizer]}(weight_decay={optimization.weight_decay})",
        "ss_lr_scheduler": optimization.schedule,
        "ss_lr_warmup_steps": optimization.warmup_steps,
        "ss_min_snr_gamma": config.loss.min_snr_gamma or None,
        "ss_debiased_estimation": config.loss.debiased,
        "ss_loss_type": config.loss.type,
        "ss_noise_offset": config.noise.offset or None,
        "ss_multires_noise_iterations": config.noise.pyramid_levels or None,
        "ss_multires_noise_discount": config.noise.pyramid_discount if config.noise.pyramid_levels else None,
        "ss_ip_noise_gamma": config.noise.input_perturbation or None,
        "ss_gradient_checkpointing": optimization.gradient_checkpointing,
        "ss_max_grad_norm": optimization.max_gradient_norm,
        "ss_mixed_precision": {"bf16": "bf16", "fp16": "fp16", "fp32": "no", None: "no"}.get(
            optimization.precision, "no"
        ),
        "ss_seed": optimization.seed,
        "ss_training_started_at": config.created.timestamp(),
        "ss_dataset_dirs": json.dumps(
            {name: {"n_repeats": 1, "img_count": count} for name, count in sorted(sizes.items())}
            if config.captions_in_metadata
            else {}
        ),
        "ss_tag_frequency": json.dumps(_tag_frequency(config, examples) if config.captions_in_metadata else {}),
    }
    return {key: str(value) for key, value in entries.items()}


def network_metadata(config: AdapterConfig, layers: Sequence[LayerWeights]) -> dict[str, str]:
    """A file that was converted to a plain LoRA says the network that it is, not the one that was trained."""
    arguments: dict[str, object] = {
        name: value
        for name, value in (("rank_dropout", config.rank_dropout), ("module_dropout", config.module_dropout))
        if value
    }
    if config.lora_plus_ratio != 1:
        arguments["loraplus_lr_ratio"] = config.lora_plus_ratio
    if {layer.kind.name for layer in layers} == {"LoKr"}:
        arguments |= {
            "factor": config.lokr.factor,
            "full_matrix": config.lokr.full_matrix,
            "decompose_both": config.lokr.decompose_both,
        }
    if config.type == "dylora":
        return network_keys(layers, arguments | {"unit": config.dylora.unit}, "networks.dylora")
    return network_keys(layers, arguments)


_OF_THE_DATA = (
    "dataset.subsets.path_prefix",
    "dataset.subsets.captions.text",
    "dataset.subsets.captions.prefix",
    "dataset.subsets.captions.suffix",
    "concept.prior_preservation.captions",
    "previews.prompts",
)
"""Fields of a spec that tell captions, prompts and folder names of the data."""


def public_spec(config: TrainConfig) -> tuple[dict[str, Any], list[str]]:
    """The resolved spec as plain data, without the fields that tell of the data unless that is allowed, and those fields."""
    spec: dict[str, Any] = copy.deepcopy(config.spec)
    if config.captions_in_metadata:
        return spec, []
    return spec, [field for field in _OF_THE_DATA if _withheld(spec, field.split("."))]


def _withheld(message: dict[str, Any], path: Sequence[str]) -> bool:
    """Takes a field out of a message, or out of each of repeated ones; whether it was there."""
    name, *rest = path
    if name not in message:
        return False
    if not rest:
        del message[name]
        return True
    within = message[name] if isinstance(message[name], list) else [message[name]]
    found = [_withheld(one, rest) for one in within]
    return any(found)


def _origin(config: TrainConfig, provenance: Provenance) -> dict[str, str]:
    """What it takes to train the adapter again."""
    spec, withheld = public_spec(config)
    entries = {
        "loramill_spec": json.dumps(spec, sort_keys=True),
        "loramill_spec_withheld": json.dumps(withheld),
        "loramill_base_digest": provenance.base_digest,
        "loramill_dataset_digest": provenance.dataset_digest,
        "loramill_code_digest": code_digest(),
    }
    if provenance.initial_adapter_sha256:
        entries["loramill_initial_adapter_sha256"] = provenance.initial_adapter_sha256
    return entries


def adapter_metadata(
    config: TrainConfig,
    provenance: Provenance,
    examples: Sequence[Example],
    layers: Sequence[LayerWeights],
    content_sha256: str,
) -> dict[str, str]:
    """The whole header, in order of key. `layers` are those of the file, `content_sha256` its own (`files.content_sha256`)."""
    entries = {
        "format": "pt",
        **model_spec(config, provenance, content_sha256),
        **training_keys(config, provenance, examples),
        **network_metadata(config.adapter, layers),
        **_origin(config, provenance),
        "sshs_model_hash": content_sha256,
    }
    return dict(sorted(entries.items()))
