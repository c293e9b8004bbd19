"""kohya's sd-scripts: what follows from several arguments together. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from loramill.foreign.companions import PROMPTS
from loramill.foreign.networks import set_network_args
from loramill.foreign.rows import Unlike
from loramill.foreign.schedules import set_schedule
from loramill.foreign.values import optimizer, pairs, truth

if TYPE_CHECKING:
    from loramill.foreign.draft import Draft


_HERE = {
    "relative_step": False,
    "warmup_init": False,
    "scale_parameter": True,
    "use_bias_correction": False,
    "amsgrad": False,
}
"""Arguments of optimizers that have no field, and what they are here."""


def combine(draft: Draft) -> None:
    _places(draft)
    set_network_args(draft, pairs(draft.values["network_args"]) if draft.given("network_args") else {})
    _rates(draft)
    _length(draft)
    _optimizer(draft)
    set_schedule(draft, "lr_scheduler", "lr_warmup_steps", "lr_scheduler_num_cycles", "lr_scheduler_power")
    _unusual_schedule(draft)
    _prompts(draft)
    if draft.get("loss_type") in ("huber", "smooth_l1"):
        draft.set("loss.threshold", draft.get("huber_c"), "huber_c")
        draft.set("loss.threshold_schedule", draft.get("huber_schedule"), "huber_schedule")
    if draft.given("multires_noise_iterations"):
        draft.set("noise.pyramid_discount", draft.get("multires_noise_discount"), "multires_noise_discount")
    if draft.given("enable_wildcard"):
        draft.spec.dataset.subsets[0].captions.lines_as_alternatives = True


def _places(draft: Draft) -> None:
    """What lies on the user's disk, or at a hub, and has a name of its own here."""
    base = draft.values.get("pretrained_model_name_or_path")
    draft.advice.append(f"base_model: name an imported base (loramill base list){f'; it was {base}' if base else ''}.")
    data = draft.values.get("dataset_config") or draft.values.get("train_data_dir")
    draft.advice.append(
        f"dataset.dataset: upload the data first (loramill dataset create {data or 'PATH'}), and give its id; repeats and tags "
        "of its folders reach the job by themselves."
    )
    if draft.given("reg_data_dir"):
        draft.advice.append("Pictures of the class: put them beside the others as a folder reg/ before the upload.")
    if draft.given("network_weights"):
        draft.advice.append("adapter.initial_adapter: upload the file (loramill adapter upload), and give its id.")


def _rates(draft: Draft) -> None:
    """Each network's own rate, else that of all; which are trained at all."""
    overall = draft.get("learning_rate")
    unet_only = truth(draft.values.get("network_train_unet_only", False))
    text_only = truth(draft.values.get("network_train_text_encoder_only", False))
    unet = draft.values.get("unet_lr", overall)
    encoders = _numbers(draft.values.get("text_encoder_lr"), overall)
    draft.set("unet.train", not text_only, "network_train_text_encoder_only")
    draft.set("text_encoder.train", not unet_only and bool(encoders[0]), "network_train_unet_only")
    if not text_only:
        draft.set("unet.learning_rate", unet, "unet_lr" if draft.given("unet_lr") else "learning_rate")
    if not unet_only and encoders[0]:
        key = "text_encoder_lr" if draft.given("text_encoder_lr") else "learning_rate"
        draft.set("text_encoder.learning_rate", encoders[0], key)
    sdxl = "sdxl" in str(draft.values.get("script", ""))
    if sdxl and len(encoders) == 1:
        encoders *= 2
    if not unet_only and "script" not in draft.values and len(encoders) == 1:
        draft.advice.append("text_encoder_2: of a base of family sdxl the scripts train it as they do the first.")
    if len(encoders) > 1 and not unet_only:
        draft.set("text_encoder_2.train", bool(encoders[1]), "text_encoder_lr")
        if encoders[1]:
            draft.set("text_encoder_2.learning_rate", encoders[1], "text_encoder_lr")


def _numbers(value: Any, otherwise: Any) -> list[float]:
    if value in (None, "", "None"):
        return [float(otherwise)]
    parts = value if isinstance(value, list) else re.split(r"[\s,]+", str(value).strip("[] "))
    return [float(part) for part in parts if str(part)]


def _length(draft: Draft) -> None:
    if draft.given("max_train_epochs"):
        draft.set("optimization.epochs", draft.values["max_train_epochs"], "max_train_epochs")
        if "max_train_steps" in draft.values:
            draft.told("max_train_steps", "off", "max_train_epochs counts before it")
    else:
        draft.set("optimization.steps", draft.get("max_train_steps"), "max_train_steps")


def _optimizer(draft: Draft) -> None:
    key, name = "optimizer_type", draft.get("optimizer_type")
    for flag, meant in (("use_8bit_adam", "AdamW8bit"), ("use_lion_optimizer", "Lion")):
        if draft.given(flag):
            key, name = flag, meant
    try:
        chosen = optimizer(name)
    except Unlike as error:
        draft.told(key, "unsupported", f"{error}.")
        return
    draft.set("optimization.optimizer", chosen, key)
    if chosen == "prodigy" and draft.spec.adapter.HasField("lora_plus_ratio"):
        draft.spec.adapter.ClearField("lora_plus_ratio")
        draft.told("network_args", "unsupported", "loraplus_lr_ratio: Prodigy finds a rate for each part itself.")
    arguments = pairs(draft.values["optimizer_args"]) if draft.given("optimizer_args") else {}
    lost = [
        f"{name}={value}"
        for name, value in arguments.items()
        if not _argument(draft, name, value) and _HERE.get(name) is not truth(value)
    ]
    if lost:
        draft.told("optimizer_args", "unsupported", f"{', '.join(lost)}: only weight_decay and betas have fields.")
    if chosen == "adafactor" and truth(arguments.get("relative_step", "True")):
        draft.told(
            key,
            "unsupported",
            "AdaFactor with relative_step finds its rate; here it has the learning rate that is given.",
        )
    if "weight_decay" not in arguments:
        draft.spec.optimization.weight_decay = (
            0.0 if chosen in ("adafactor", "lion", "prodigy", "schedule_free_adamw") else 0.01
        )


def _argument(draft: Draft, name: str, value: str) -> bool:
    if name == "weight_decay":
        draft.set("optimization.weight_decay", value, "optimizer_args")
    elif name == "betas":
        first, _, second = value.strip("()[] ").partition(",")
        draft.set("optimization.beta1", first, "optimizer_args")
        draft.set("optimization.beta2", second.partition(",")[0], "optimizer_args")
    else:
        return False
    return True


def _prompts(draft: Draft) -> None:
    """Lines of a file that was there to read. Guidance and steps are one for all previews: those of the first that has them."""
    prompts = draft.values.get(PROMPTS)
    if not isinstance(prompts, list):
        return
    for entry in prompts:
        prompt = draft.spec.previews.prompts.add(
            prompt=entry["prompt"], negative_prompt=entry.get("negative_prompt", "")
        )
        if "seed" in entry:
            prompt.seed = entry["seed"]
        if "guidance_scale" in entry and not draft.spec.previews.HasField("guidance_scale"):
            draft.spec.previews.guidance_scale = entry["guidance_scale"]
        if "inference_steps" in entry and not draft.spec.previews.HasField("inference_steps"):
            draft.spec.previews.inference_steps = int(entry["inference_steps"])
    draft.told(PROMPTS, "mapped", f"previews.prompts: {len(prompts)} of them")


def _unusual_schedule(draft: Draft) -> None:
    name = draft.values.get("lr_scheduler_type")
    if name:
        rex = "rex" in str(name).lower()
        if rex:
            draft.set("optimization.schedule", "rex", "lr_scheduler_type")
        else:
            draft.told(
                "lr_scheduler_type",
                "unsupported",
                f"is {name}; nearest is optimization.schedule: cosine_with_restarts.",
            )
    if draft.given("lr_scheduler_args"):
        draft.told("lr_scheduler_args", "unsupported", "nearest are optimization.schedule_cycles and schedule_power.")
