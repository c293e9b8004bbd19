"""OneTrainer: what follows from several keys together. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from loramill.foreign.rows import Unlike
from loramill.foreign.values import optimizer, output_name, sampler, truth

if TYPE_CHECKING:
    from loramill.foreign.draft import Draft

_SCHEDULES = {
    "CONSTANT": "constant",
    "LINEAR": "linear",
    "COSINE": "cosine",
    "COSINE_WITH_RESTARTS": "cosine_with_restarts",
    "COSINE_WITH_HARD_RESTARTS": "cosine_with_restarts",
    "REX": "rex",
}
_LAYERS = {"full": "all", "attn-mlp": "attention_mlp", "attn-only": "attention", "": "all"}
_WEIGHTS = {"MIN_SNR_GAMMA": "loss.min_snr_gamma", "DEBIASED_ESTIMATION": "loss.debiased"}
_SDXL = "STABLE_DIFFUSION_XL_10_BASE"


def combine(draft: Draft) -> None:
    base = draft.values.get("base_model_name")
    draft.advice.append(f"base_model: name an imported base (loramill base list){f'; it was {base}' if base else ''}.")
    _adapter(draft)
    _networks(draft)
    _optimization(draft)
    _loss(draft)
    _concepts(draft)
    _outputs(draft)
    _samples(draft)


def _adapter(draft: Draft) -> None:
    method, kind = str(draft.get("training_method")), str(draft.get("peft_type"))
    if method != "LORA":
        draft.told("training_method", "unsupported", f"is {method}; only LoRA-family adapters are trained.")
    else:
        draft.told("training_method", "needless", "adapters are what is trained")
    chosen = {"LORA": "lora", "LOHA": "loha", "LOKR": "lokr"}.get(kind)
    if chosen is None:
        draft.told("peft_type", "unsupported", f"is {kind}; nearest is adapter.type: lora.")
        return
    preset_key = "layer_filter_preset" if "layer_filter_preset" in draft.values else "lora_layer_preset"
    preset = str(draft.values.get(preset_key, draft.get("layer_filter_preset")))
    targets = _LAYERS.get(preset)
    if targets is None:
        draft.told(
            preset_key, "unsupported", f"is {preset}; adapter.targets: all is taken, and adapter.rules say more."
        )
        targets = "all"
    if chosen == "lora" and targets == "all":
        chosen = "locon"
    draft.set("adapter.type", chosen, "peft_type", "of convolutions too" if chosen == "locon" else "")
    draft.set("adapter.targets", targets, preset_key)
    for key in ("layer_filter", "lora_layers"):
        if draft.given(key) and preset == "custom":
            draft.told(
                key,
                "unsupported",
                f"is {draft.values[key]}; nearest are adapter.rules with train: false for the others.",
            )
    _size(draft, chosen, targets)


def _size(draft: Draft, chosen: str, targets: str) -> None:
    """One rank and alpha for all layers, convolutions included."""
    key = "lokr_dim" if chosen == "lokr" and "lokr_dim" in draft.values else "lora_rank"
    if chosen == "lokr":
        draft.set("adapter.lokr.factor", draft.get("lokr_decompose_factor"), "lokr_decompose_factor")
        draft.set("adapter.lokr.full_matrix", truth(draft.values.get("lokr_full_matrix", False)), "lokr_full_matrix")
        if truth(draft.values.get("lokr_full_matrix", False)):
            return
        for name, path in (
            ("lokr_decompose_both", "adapter.lokr.decompose_both"),
            ("lokr_use_tucker", "adapter.tucker"),
        ):
            if draft.given(name):
                draft.set(path, True, name)
    rank, alpha = draft.get(key), draft.get("lora_alpha")
    draft.set("adapter.rank", rank, key)
    draft.set("adapter.alpha", alpha, "lora_alpha")
    if targets == "all":
        draft.set("adapter.conv_rank", rank, key)
        draft.set("adapter.conv_alpha", alpha, "lora_alpha")


def _networks(draft: Draft) -> None:
    """OneTrainer trains every text encoder unless it is told not to."""
    overall = draft.get("learning_rate")
    if str(draft.get("learning_rate_scaler")) != "NONE":
        scaler = draft.get("learning_rate_scaler")
        draft.told("learning_rate_scaler", "unsupported", f"is {scaler}; multiply the rates by hand, as by batch_size.")
    names = ["unet", "text_encoder"] + (["text_encoder_2"] if str(draft.get("model_type")) == _SDXL else [])
    for name in names:
        trained = truth(draft.get(f"{name}.train"))
        draft.set(f"{name}.train", trained, f"{name}.train")
        own = draft.values.get(f"{name}.learning_rate")
        if trained:
            key = "learning_rate" if own is None else f"{name}.learning_rate"
            draft.set(f"{name}.learning_rate", overall if own is None else own, key)
    if "gradient_checkpointing" in draft.values:
        on = str(draft.values["gradient_checkpointing"]).upper() not in ("OFF", "FALSE")
        draft.set("optimization.gradient_checkpointing", on, "gradient_checkpointing")
    else:
        key = "unet.gradient_checkpointing"
        draft.set("optimization.gradient_checkpointing", truth(draft.get(key)), key)
    skip = int(float(draft.get("text_encoder_layer_skip")))
    draft.set("clip_skip", skip + (2 if str(draft.get("model_type")) == _SDXL else 1), "text_encoder_layer_skip")


def _optimization(draft: Draft) -> None:
    name = draft.get("optimizer.optimizer")
    try:
        draft.set("optimization.optimizer", optimizer(name), "optimizer.optimizer")
    except Unlike as error:
        draft.told("optimizer.optimizer", "unsupported", f"{error}.")
    for key, path in (("weight_decay", "weight_decay"), ("beta1", "beta1"), ("beta2", "beta2")):
        if draft.values.get(f"optimizer.{key}") is not None:
            draft.set(f"optimization.{path}", draft.values[f"optimizer.{key}"], f"optimizer.{key}")
    schedule = str(draft.get("learning_rate_scheduler"))
    if schedule not in _SCHEDULES:
        draft.told(
            "learning_rate_scheduler", "unsupported", f"is {schedule}; nearest is optimization.schedule: cosine."
        )
    else:
        cycles = int(float(draft.get("learning_rate_cycles") or 1))
        chosen = _SCHEDULES[schedule]
        if chosen == "cosine_with_restarts" and cycles < 2:
            chosen = "cosine"
        draft.set("optimization.schedule", chosen, "learning_rate_scheduler")
        if chosen == "cosine_with_restarts":
            draft.set("optimization.schedule_cycles", cycles, "learning_rate_cycles")
    warmup = float(draft.get("learning_rate_warmup_steps"))
    if 0 < warmup <= 1:
        draft.told(
            "learning_rate_warmup_steps", "unsupported", f"is {warmup:g} of all steps; give optimization.warmup_steps."
        )
    else:
        draft.set("optimization.warmup_steps", int(warmup), "learning_rate_warmup_steps")
    if str(draft.get("ema")) != "OFF":
        draft.set("optimization.ema_decay", draft.get("ema_decay"), "ema_decay")


def _loss(draft: Draft) -> None:
    strengths = {key: float(draft.get(f"{key}_strength") or 0) for key in ("mse", "mae", "huber", "log_cosh")}
    used = [key for key, strength in strengths.items() if strength]
    if used == ["mse"] or not used:
        draft.set("loss.type", "mse", "mse_strength")
    elif used == ["huber"]:
        draft.set("loss.type", "huber", "huber_strength")
        draft.set("loss.threshold", draft.get("huber_delta"), "huber_delta")
        draft.set("loss.threshold_schedule", "constant", "huber_delta")
    else:
        for key in used:
            draft.told(f"{key}_strength", "unsupported", "losses are not mixed; nearest is loss.type: huber.")
    weight = str(draft.get("loss_weight_fn"))
    if draft.given("min_snr_gamma"):
        draft.set("loss.min_snr_gamma", draft.values["min_snr_gamma"], "min_snr_gamma")
    elif weight == "CONSTANT":
        draft.set("loss.min_snr_gamma", 0, "loss_weight_fn")
    elif weight == "MIN_SNR_GAMMA":
        draft.told("loss_weight_fn", "mapped", "loss.min_snr_gamma")
        draft.set("loss.min_snr_gamma", draft.get("loss_weight_strength"), "loss_weight_strength")
    elif weight == "DEBIASED_ESTIMATION":
        draft.set("loss.min_snr_gamma", 0, "loss_weight_fn")
        draft.set("loss.debiased", True, "loss_weight_fn")
    else:
        draft.told("loss_weight_fn", "unsupported", f"is {weight}; nearest is loss.min_snr_gamma.")
    for key, kind in (("force_v_prediction", "v_prediction"), ("force_epsilon_prediction", "epsilon")):
        if draft.given(key):
            draft.set("loss.prediction_type", kind, key)
    if str(draft.get("timestep_distribution")) in ("LOGIT_NORMAL", "SIGMOID"):
        draft.set("noise.logit_mean", draft.values.get("noising_bias", 0), "noising_bias")
        draft.set("noise.logit_deviation", float(draft.values.get("noising_weight", 0)) + 1, "noising_weight")


def _concepts(draft: Draft) -> None:
    indexes = _items(draft, "concepts")
    paths = []
    for number, item in enumerate(indexes):
        subset = f"dataset.subsets[{item[len('concepts[') : -1]}]"
        path = str(draft.values.get(f"{item}.path", ""))
        paths.append(path)
        name = PurePosixPath(path.replace("\\", "/")).name
        draft.set(f"{subset}.path_prefix", f"{name}/" if len(indexes) > 1 else "", f"{item}.path")
        if not truth(draft.get(f"{item}.enabled")):
            draft.told(
                f"{item}.enabled", "unsupported", f"subset {number} is off there; remove it from dataset.subsets."
            )
        source = draft.get(f"{item}.text.prompt_source")
        if source != "sample":
            draft.told(
                f"{item}.text.prompt_source", "unsupported",
                f"is {source}; captions come from files beside the pictures, or are one text: captions.source: fixed.",
            )  # fmt: skip
        if truth(draft.values.get(f"{item}.text.tag_dropout_enable", False)):
            key = f"{item}.text.tag_dropout_probability"
            draft.set(f"{subset}.captions.tag_dropout", draft.values.get(key, 0), key)
            mode = draft.values.get(f"{item}.text.tag_dropout_mode", "FULL")
            if mode != "RANDOM":
                draft.told(
                    f"{item}.text.tag_dropout_mode",
                    "unsupported",
                    f"is {mode}; each tag is dropped by itself, as RANDOM.",
                )
        dropout = draft.values.get("text_encoder.dropout_probability") or 0
        draft.set(f"{subset}.captions.caption_dropout", dropout, "text_encoder.dropout_probability")
    places = ", ".join(filter(None, paths))
    together = " together as one folder" if len(paths) > 1 else ""
    draft.advice.append(
        f"dataset.dataset: upload the data first{together} (loramill dataset create{f'; it was {places}' if places else ''}), "
        "and give its id."
    )


def _outputs(draft: Draft) -> None:
    if draft.given("output_model_destination"):
        draft.set("outputs.name", output_name(draft.values["output_model_destination"]), "output_model_destination")
    every_key = "save_every" if "save_every" in draft.values else "save_after"
    unit = str(draft.values.get("save_every_unit", draft.values.get("save_after_unit", "NEVER")))
    _every(draft, every_key, unit, "outputs.save_every")
    _every(draft, "sample_after", str(draft.get("sample_after_unit")), "previews.every_steps")


def _every(draft: Draft, key: str, unit: str, path: str) -> None:
    if unit == "STEP":
        draft.set(path, draft.get(key), key)
    elif unit == "NEVER":
        draft.set(path, 0, key)
    elif key in draft.values:
        draft.told(key, "unsupported", f"is {draft.get(key)} {unit}; {path} counts steps.")


def _samples(draft: Draft) -> None:
    for item in _items(draft, "samples"):
        if not truth(draft.values.get(f"{item}.enabled", True)):
            draft.told(f"{item}.prompt", "off", "is off there")
            continue
        prompt = draft.spec.previews.prompts.add(prompt=str(draft.values.get(f"{item}.prompt", "")))
        prompt.negative_prompt = str(draft.values.get(f"{item}.negative_prompt", ""))
        prompt.seed = abs(int(_number(draft.values.get(f"{item}.seed"))))
        for key in ("prompt", "negative_prompt", "seed", "enabled"):
            if f"{item}.{key}" in draft.values:
                draft.told(f"{item}.{key}", "mapped", "previews.prompts")
        for key, path in _OF_ALL_SAMPLES.items():
            if f"{item}.{key}" in draft.values:
                draft.set(path, draft.values[f"{item}.{key}"], f"{item}.{key}")
        _sampler(draft, f"{item}.noise_scheduler")


_OF_ALL_SAMPLES = {
    "cfg_scale": "previews.guidance_scale",
    "diffusion_steps": "previews.inference_steps",
    "width": "previews.width",
    "height": "previews.height",
}


def _sampler(draft: Draft, key: str) -> None:
    if key not in draft.values:
        return
    try:
        draft.set("previews.sampler", sampler(draft.values[key]), key)
    except Unlike as error:
        draft.told(key, "unsupported", f"{error}.")


def _number(value: Any) -> float:
    return float(value or 0)


def _items(draft: Draft, name: str) -> list[str]:
    found = {key.partition("]")[0] + "]" for key in draft.values if key.startswith(f"{name}[")}
    return sorted(found, key=lambda item: int(item[len(name) + 1 : -1]))
