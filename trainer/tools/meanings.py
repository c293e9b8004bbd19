"""What the entries of an adapter's header mean, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping

_WORDS = {
    "format": "the library that the tensors are of: pt is PyTorch",
    "modelspec.sai_model_spec": "version of Stability AI's metadata standard",
    "modelspec.architecture": "what it is, and of which base model",
    "modelspec.implementation": "whose code loads the base model",
    "modelspec.title": "name for people",
    "modelspec.author": "who made it",
    "modelspec.description": "what it is for",
    "modelspec.license": "how it may be used",
    "modelspec.tags": "what it is sorted by",
    "modelspec.date": "when its training was asked for",
    "modelspec.resolution": "side of the pictures that it was trained on, in pixels",
    "modelspec.prediction_type": "what the base model predicts",
    "modelspec.timestep_range": "timesteps that it was trained at",
    "modelspec.encoder_layer": "layer of the text encoder that words are taken from",
    "modelspec.hash_sha256": "SHA-256 of the file behind its header",
    "modelspec.trigger_phrase": "what calls it in a prompt",
    "modelspec.usage_hint": "how it is used",
    "modelspec.thumbnail": "a small picture of what it makes",
    "modelspec.merged_from": "what it was merged from",
    "sshs_model_hash": "SHA-256 of the file behind its header, as kohya's tools compute it",
    "sshs_legacy_hash": "an older hash, of a part of the file",
    "ss_output_name": "file name when it was trained",
    "ss_sd_model_name": "base model",
    "ss_sd_model_hash": "short hash of the base model",
    "ss_new_sd_model_hash": "digest of the base model",
    "ss_sd_scripts_commit_hash": "version of kohya's trainer",
    "ss_base_model_version": "family of the base model",
    "ss_v2": "whether the base is Stable Diffusion 2",
    "ss_clip_skip": "the layer of the text encoders that was read, counted from the last, which is 1",
    "ss_v_parameterization": "whether the base predicts the velocity",
    "ss_zero_terminal_snr": "whether the noise schedule was rescaled to end in pure noise",
    "ss_network_module": "code that knows its type",
    "ss_network_dim": "rank",
    "ss_network_alpha": "alpha; strength is alpha / rank",
    "ss_network_args": "options of its type",
    "ss_network_dropout": "share of the inputs that were dropped in training",
    "ss_resolution": "width and height of an area that pictures were trained at",
    "ss_enable_bucket": "whether pictures kept their aspect ratio",
    "ss_bucket_info": "pictures by width and height",
    "ss_num_train_images": "pictures in an epoch, repeats counted",
    "ss_num_reg_images": "pictures that keep what the base knows",
    "ss_num_epochs": "passes through the dataset",
    "ss_num_batches_per_epoch": "batches in an epoch",
    "ss_batch_size_per_device": "pictures in a batch",
    "ss_total_batch_size": "pictures behind each step",
    "ss_gradient_accumulation_steps": "batches behind each step",
    "ss_gradient_checkpointing": "whether activations were computed twice to save memory",
    "ss_steps": "steps behind this file",
    "ss_max_train_steps": "steps of the whole training",
    "ss_learning_rate": "learning rate",
    "ss_unet_lr": "learning rate of the UNet; None if it was not trained",
    "ss_text_encoder_lr": "learning rate of the text encoder; None if it was not trained",
    "ss_optimizer": "optimizer",
    "ss_lr_scheduler": "how the learning rate falls",
    "ss_lr_warmup_steps": "steps in which the learning rate rises",
    "ss_min_snr_gamma": "bound of the loss weight by signal-to-noise ratio; None for no weighting",
    "ss_noise_offset": "offset of the noise of each channel",
    "ss_max_grad_norm": "norm that gradients were cut to",
    "ss_max_token_length": "tokens of a caption",
    "ss_mixed_precision": "number type of the training",
    "ss_full_fp16": "whether weights and gradients were fp16",
    "ss_cache_latents": "whether pictures were encoded once",
    "ss_seed": "seed of every random draw",
    "ss_session_id": "number of the training session",
    "ss_training_comment": "the trainer's own words",
    "ss_training_started_at": "when training began, in seconds since 1970",
    "ss_training_finished_at": "when training ended, in seconds since 1970",
    "ss_dataset_dirs": "folders of the dataset, with pictures and repeats",
    "ss_datasets": "the datasets and their settings",
    "ss_reg_dataset_dirs": "folders of the pictures that keep what the base knows",
    "ss_tag_frequency": "tags and captions of the dataset, with how often each is there",
    "lora_adapter_metadata": "ranks and alphas for diffusers",
    "loramill_spec": "the resolved training spec",
    "loramill_spec_withheld": "fields left out of the spec because they tell of the data",
    "loramill_base_digest": "digest of the base model's manifest",
    "loramill_dataset_digest": "digest of the dataset's manifest",
    "loramill_code_digest": "digest of the trainer's source",
    "loramill_initial_adapter_sha256": "SHA-256 of the adapter that the training went on from",
    "loramill_tool": "what tools made of it, the oldest first",
}

_EMPTY = ("", "{}", "[]", "null", "None")
_CAPTIONS = ("ss_tag_frequency", "ss_dataset_dirs", "ss_reg_dataset_dirs", "ss_datasets")
"""Entries that tell captions, tags or folder names of the data."""

LONGEST = 72
"""Signs of an entry that are shown to people."""


def meaning(key: str) -> str:
    """What an entry means; empty for one that is not known."""
    return _WORDS.get(key, "")


def shown(key: str, value: str) -> str:
    """An entry's value for people: short."""
    if key == "modelspec.thumbnail":
        return f"{value.partition(';')[0].removeprefix('data:')}, {len(value.partition(',')[2]) * 3 // 4} bytes"
    return value if len(value) <= LONGEST else f"{value[: LONGEST - 1]}…"


def tells_of_the_data(metadata: Mapping[str, str]) -> list[str]:
    """Keys of entries that hold captions, tags, prompts or folder names of the data."""
    found = [key for key in _CAPTIONS if metadata.get(key, "") not in _EMPTY]
    return found + (["loramill_spec"] if _spec_tells(metadata.get("loramill_spec", "{}")) else [])


def _spec_tells(spec: str) -> bool:
    """Whether captions and prompts were allowed to stand in the spec."""
    try:
        outputs = json.loads(spec).get("outputs", {})
        return bool(outputs.get("captions_in_metadata", False))
    except (ValueError, AttributeError, RecursionError):
        return False
