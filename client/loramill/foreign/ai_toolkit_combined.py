"""ai-toolkit: what follows from several keys together. Pure."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from loramill.foreign.rows import Unlike
from loramill.foreign.schedules import set_schedule
from loramill.foreign.values import optimizer, truth

if TYPE_CHECKING:
    from loramill.foreign.draft import Draft

_TRIGGER = "[trigger]"


def combine(draft: Draft) -> None:
    _network(draft)
    _rates(draft)
    _optimizer(draft)
    params = "train.lr_scheduler_params"
    set_schedule(draft, "train.lr_scheduler", f"{params}.num_warmup_steps", f"{params}.num_cycles", f"{params}.power")
    accumulation = (
        "gradient_accumulation" if draft.given("train.gradient_accumulation") else "gradient_accumulation_steps"
    )
    draft.set(
        "optimization.gradient_accumulation", max(1, int(draft.get(f"train.{accumulation}"))), f"train.{accumulation}"
    )
    if truth(draft.values.get("train.ema_config.use_ema", False)):
        draft.set("optimization.ema_decay", draft.get("train.ema_config.ema_decay"), "train.ema_config.ema_decay")
    _datasets(draft)
    _concept(draft)
    _previews(draft)
    base = draft.values.get("model.name_or_path")
    draft.advice.insert(
        0, f"base_model: name an imported base (loramill base list){f'; it was {base}' if base else ''}."
    )
    if draft.given("model.lora_path"):
        draft.advice.append("adapter.initial_adapter: upload the file (loramill adapter upload), and give its id.")


def _network(draft: Draft) -> None:
    """`linear` is the rank of everything but 3x3 convolutions; `conv` adds those."""
    kind = str(draft.get("network.type")).lower()
    rank_key = "network.rank" if draft.given("network.rank") else "network.linear"
    rank, conv = draft.values.get(rank_key), draft.values.get("network.conv")
    alpha_key = "network.linear_alpha" if draft.given("network.linear_alpha") else "network.alpha"
    if kind not in ("lora", "locon", "lokr"):
        draft.told("network.type", "unsupported", f"is {kind}; nearest is adapter.type: lora.")
        return
    chosen = "lokr" if kind == "lokr" else "locon" if conv else "lora"
    draft.set("adapter.type", chosen, "network.type")
    draft.set("adapter.targets", "all" if conv else "transformer", "network.conv" if conv else "network.type")
    if chosen == "lokr":
        draft.set("adapter.lokr.factor", draft.get("network.lokr_factor"), "network.lokr_factor")
        full = truth(draft.values.get("network.lokr_full_rank", False))
        draft.set("adapter.lokr.full_matrix", full, "network.lokr_full_rank")
        if full:
            return
    if rank is not None:
        draft.set("adapter.rank", rank, rank_key)
        draft.set("adapter.alpha", draft.get(alpha_key), alpha_key)
    if conv:
        draft.set("adapter.conv_rank", conv, "network.conv")
        draft.set("adapter.conv_alpha", draft.values.get("network.conv_alpha", conv), "network.conv_alpha")


def _rates(draft: Draft) -> None:
    overall = draft.get("train.lr")
    key = "train.unet_lr" if draft.given("train.unet_lr") else "train.lr"
    draft.set("unet.learning_rate", draft.values.get("train.unet_lr", overall), key)
    trained = truth(draft.get("train.train_text_encoder"))
    draft.set("text_encoder.train", trained, "train.train_text_encoder")
    if trained:
        key = "train.text_encoder_lr" if draft.given("train.text_encoder_lr") else "train.lr"
        draft.set("text_encoder.learning_rate", draft.values.get("train.text_encoder_lr", overall), key)
        if truth(draft.values.get("model.is_xl", False)) or draft.values.get("model.arch") == "sdxl":
            draft.set("text_encoder_2.train", True, "train.train_text_encoder")
            draft.set("text_encoder_2.learning_rate", draft.values.get("train.text_encoder_lr", overall), key)


def _optimizer(draft: Draft) -> None:
    try:
        chosen = optimizer(draft.get("train.optimizer"))
    except Unlike as error:
        draft.told("train.optimizer", "unsupported", f"{error}.")
        return
    draft.set("optimization.optimizer", chosen, "train.optimizer")
    decay = draft.values.get("train.optimizer_params.weight_decay")
    if decay is not None:
        draft.set("optimization.weight_decay", decay, "train.optimizer_params.weight_decay")
    betas = draft.values.get("train.optimizer_params.betas")
    if isinstance(betas, list) and len(betas) >= 2:
        draft.set("optimization.beta1", betas[0], "train.optimizer_params.betas")
        draft.set("optimization.beta2", betas[1], "train.optimizer_params.betas")


def _datasets(draft: Draft) -> None:
    """A subset for each; several folders are uploaded as one dataset, each under its own name."""
    indexes = sorted({key.partition("]")[0] + "]" for key in draft.values if key.startswith("datasets[")})
    sides: list[int] = []
    folders = []
    for index in indexes:
        number = index[len("datasets[") : -1]
        key = f"{index}.folder_path" if draft.given(f"{index}.folder_path") else f"{index}.dataset_path"
        folder = str(draft.values.get(key, ""))
        folders.append(folder)
        name = PurePosixPath(folder.replace("\\", "/")).name
        draft.set(f"dataset.subsets[{number}].path_prefix", f"{name}/" if len(indexes) > 1 else "", key)
        resolution = draft.get(f"{index}.resolution")
        sides += resolution if isinstance(resolution, list) else [resolution]
        caption = draft.values.get(f"{index}.default_caption")
        if caption:
            draft.set(f"dataset.subsets[{number}].captions.source", "file_or_fixed", f"{index}.default_caption")
            text = str(caption).replace(_TRIGGER, str(draft.values.get("trigger_word", ""))).strip(" ,")
            draft.set(f"dataset.subsets[{number}].captions.text", text, f"{index}.default_caption")
    if sides:
        largest = max(64, round(max(map(int, sides)) / 64) * 64)
        says = (
            "" if len(set(sides)) == 1 else f"of {', '.join(map(str, sorted(set(sides))))} the largest: a job has one"
        )
        draft.set("dataset.resolution", largest, f"{indexes[0]}.resolution", says)
    places = ", ".join(filter(None, folders))
    together = " together as one folder" if len(folders) > 1 else ""
    draft.advice.append(
        f"dataset.dataset: upload the data first{together} (loramill dataset create{f'; it was {places}' if places else ''}), "
        "and give its id."
    )


def _concept(draft: Draft) -> None:
    if draft.given("trigger_word"):
        draft.set("concept.activation_tag", draft.values["trigger_word"], "trigger_word")
    _further_concepts(draft)
    if truth(draft.values.get("train.diff_output_preservation", False)):
        words = draft.values.get("train.diff_output_preservation_class", "")
        draft.set("concept.class_words", words, "train.diff_output_preservation_class")
        draft.set("concept.prior_preservation.enabled", True, "train.diff_output_preservation")
        key = "train.diff_output_preservation_multiplier"
        draft.set("concept.prior_preservation.weight", draft.get(key), key)
    elif draft.given("train.reg_weight"):
        draft.set("concept.prior_preservation.weight", draft.values["train.reg_weight"], "train.reg_weight")


def _further_concepts(draft: Draft) -> None:
    """A dataset's own trigger word is a concept of its own, unless it is the only one."""
    for key, word in draft.values.items():
        if not re.fullmatch(r"datasets\[\d+\]\.trigger_word", key) or not word:
            continue
        if draft.spec.concept.activation_tag in ("", word):
            draft.set("concept.activation_tag", word, key)
            continue
        if word not in [concept.activation_tag for concept in draft.spec.concepts]:
            draft.spec.concepts.add(activation_tag=str(word))
        number = key[len("datasets[") : key.index("]")]
        draft.set(f"dataset.subsets[{number}].concept", word, key)


def _previews(draft: Draft) -> None:
    """`[trigger]` is `[tag]` here, and stands for nothing without a trigger word."""
    for key, value in draft.values.items():
        if key.startswith("sample.samples[") and key.endswith("].prompt"):
            draft.spec.previews.prompts.add(prompt=str(value))
            draft.told(key, "mapped", "previews.prompts")
    tag = "[tag]" if draft.given("trigger_word") else ""
    walks = truth(draft.values.get("sample.walk_seed", False))
    for place, prompt in enumerate(draft.spec.previews.prompts):
        prompt.prompt = prompt.prompt.replace(_TRIGGER, tag).strip(" ,")
        prompt.seed = int(draft.get("sample.seed")) + (place if walks else 0)
        if isinstance(draft.values.get("sample.neg"), str):
            prompt.negative_prompt = draft.values["sample.neg"]
    for key in ("sample.seed", "sample.neg", "sample.walk_seed"):
        if key in draft.values and draft.spec.previews.prompts:
            draft.told(key, "mapped", "previews.prompts")
