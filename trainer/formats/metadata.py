"""The header of an adapter's file: `modelspec` 1.0.1 and the `ss_*` keys that tools read. Every value is a string.

All of it follows from the job, none from the clock or the machine, so that a resumed job writes the same bytes. Captions and
tags of the data stand in it only where the spec allows it.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.config import TrainConfig
from trainer.data.dataset import Example

_BASE_VERSIONS = {"sd15": ("sd_v1", "False")}
"""Family: `ss_base_model_version`, `ss_v2`."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What an adapter came from."""

    base_name: str
    base_digest: str
    dataset_digest: str
    architecture: str
    prediction_type: str
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
        "modelspec.architecture": provenance.architecture,
        "modelspec.implementation": "diffusers",
        "modelspec.title": config.title or config.output_name,
        "modelspec.date": config.created.strftime("%Y-%m-%dT%H:%M:%S"),
        "modelspec.resolution": f"{side}x{side}",
        "modelspec.prediction_type": "v" if provenance.prediction_type == "v_prediction" else "epsilon",
        "modelspec.hash_sha256": f"0x{content_sha256}",
    }
    if config.activation_tag:
        entries["modelspec.trigger_phrase"] = config.activation_tag
        entries["modelspec.usage_hint"] = f"Put {config.activation_tag} first in the prompt."
    if provenance.thumbnail is not None:
        entries["modelspec.thumbnail"] = "data:image/jpeg;base64," + base64.b64encode(provenance.thumbnail).decode()
    return entries


def _tag_frequency(config: TrainConfig, examples: Sequence[Example]) -> dict[str, dict[str, int]]:
    frequency: dict[str, Counter[str]] = {}
    for example in examples:
        name = config.subsets[example.subset].path_prefix.strip("/") or "dataset"
        tags = [tag.strip() for tag in example.caption.split(",") if tag.strip()]
        frequency.setdefault(name, Counter()).update(tags)
    return {name: dict(sorted(counter.items())) for name, counter in sorted(frequency.items())}


def training_keys(config: TrainConfig, provenance: Provenance, examples: Sequence[Example]) -> dict[str, str]:
    """`ss_*`: what LoRA browsers of A1111 and Forge show."""
    optimization, version = config.optimization, _BASE_VERSIONS[config.family]
    buckets = Counter((example.bucket.width, example.bucket.height) for example in examples)
    sizes: Counter[str] = Counter(
        config.subsets[example.subset].path_prefix.strip("/") or "dataset" for example in examples
    )
    entries: dict[str, object] = {
        "ss_output_name": config.output_name,
        "ss_sd_model_name": provenance.base_name,
        "ss_sd_model_hash": provenance.base_digest[:8],
        "ss_new_sd_model_hash": provenance.base_digest,
        "ss_base_model_version": version[0],
        "ss_v2": version[1],
        "ss_clip_skip": "None",
        "ss_network_module": "networks.lora",
        "ss_network_dim": config.adapter.rank,
        "ss_network_alpha": config.adapter.alpha,
        "ss_network_dropout": config.adapter.dropout or None,
        "ss_network_args": json.dumps(
            {"conv_dim": str(config.adapter.conv_rank), "conv_alpha": str(config.adapter.conv_alpha)}
            if config.adapter.targets == "all"
            else {}
        ),
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
        "ss_learning_rate": config.unet.learning_rate if config.unet.train else config.text_encoder.learning_rate,
        "ss_unet_lr": config.unet.learning_rate if config.unet.train else None,
        "ss_text_encoder_lr": config.text_encoder.learning_rate if config.text_encoder.train else None,
        "ss_optimizer": f"torch.optim.AdamW(weight_decay={optimization.weight_decay})",
        "ss_lr_scheduler": optimization.schedule,
        "ss_lr_warmup_steps": optimization.warmup_steps,
        "ss_min_snr_gamma": optimization.min_snr_gamma or None,
        "ss_max_grad_norm": optimization.max_gradient_norm,
        "ss_mixed_precision": {"bf16": "bf16", "fp32": "no", None: "no"}.get(optimization.precision, "no"),
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


def public_spec(config: TrainConfig) -> str:
    """The resolved spec as JSON; without captions, prompts and folder names of the data unless they are allowed."""
    spec = json.loads(json.dumps(config.spec))
    if not config.captions_in_metadata:
        for subset in spec.get("dataset", {}).get("subsets", []):
            subset.pop("path_prefix", None)
            for text in ("text", "prefix", "suffix"):
                subset.get("captions", {}).pop(text, None)
        spec.get("concept", {}).get("prior_preservation", {}).pop("captions", None)
        spec.pop("previews", None)
    return json.dumps(spec, sort_keys=True)


def adapter_metadata(
    config: TrainConfig, provenance: Provenance, examples: Sequence[Example], content_sha256: str
) -> dict[str, str]:
    """The whole header, in order of key. `content_sha256` is of the file that it is for (`files.content_sha256`)."""
    entries = {
        "format": "pt",
        **model_spec(config, provenance, content_sha256),
        **training_keys(config, provenance, examples),
        "sshs_model_hash": content_sha256,
        "loramill_spec": public_spec(config),
        "loramill_base_digest": provenance.base_digest,
        "loramill_dataset_digest": provenance.dataset_digest,
    }
    return dict(sorted(entries.items()))
