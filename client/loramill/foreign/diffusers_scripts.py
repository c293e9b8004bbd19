"""diffusers' example scripts for LoRA, by their arguments: train_text_to_image_lora.py and train_dreambooth_lora.py, also _sdxl.

Defaults are those of the scripts; where they differ, the script's name says which.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from loramill.foreign.draft import Program
from loramill.foreign.rows import Row, Unlike, combined, left, mapped, needless, unsupported
from loramill.foreign.schedules import set_schedule
from loramill.foreign.values import not_none, output_name, precision, sampler, truth

if TYPE_CHECKING:
    from loramill.foreign.draft import Draft


def _flip(value: Any) -> float:
    return 0.5 if truth(value) else 0.0


def _crop(value: Any) -> str:
    return "center" if truth(value) else "random"


def _prediction(value: Any) -> str:
    if value not in ("epsilon", "v_prediction"):
        raise Unlike(f"is {value}; nearest is loss.prediction_type: epsilon")
    return str(value)


def _side(value: Any) -> int:
    return max(64, round(int(value) / 64) * 64)


_ROWS: tuple[Row, ...] = (
    left("pretrained_model_name_or_path", "base_model", says="name the imported base: loramill base list"),
    combined("rank", "adapter.rank", default=4),
    combined("lora_alpha", "adapter.alpha"),
    mapped("lora_dropout", "adapter.dropout", not_none),
    combined("learning_rate", "unet.learning_rate", default=1e-4),
    combined("text_encoder_lr", "text_encoder.learning_rate"),
    combined("train_text_encoder", "text_encoder.train"),
    combined("max_train_steps", "optimization.steps"),
    combined("num_train_epochs", "optimization.epochs"),
    combined("scale_lr", "unet.learning_rate"),
    combined("train_batch_size", "optimization.batch_size"),
    mapped("gradient_accumulation_steps", "optimization.gradient_accumulation", default=1),
    mapped("gradient_checkpointing", "optimization.gradient_checkpointing", truth, default=False),
    mapped("max_grad_norm", "optimization.max_gradient_norm", default=1.0),
    mapped("mixed_precision", "optimization.precision", precision, default="no"),
    mapped("seed", "optimization.seed"),
    combined("optimizer", "optimization.optimizer", default="AdamW"),
    combined("use_8bit_adam", "optimization.optimizer"),
    mapped("adam_beta1", "optimization.beta1", default=0.9),
    mapped("adam_beta2", "optimization.beta2", default=0.999),
    mapped("adam_weight_decay", "optimization.weight_decay", default=1e-2),
    combined("lr_scheduler", "optimization.schedule", default="constant"),
    combined("lr_warmup_steps", "optimization.warmup_steps", default=500),
    combined("lr_num_cycles", "optimization.schedule_cycles", default=1),
    combined("lr_power", "optimization.schedule_power", default=1.0),
    mapped("snr_gamma", "loss.min_snr_gamma", not_none, default=0),
    mapped("noise_offset", "noise.offset", not_none, default=0),
    mapped("prediction_type", "loss.prediction_type", _prediction),
    combined("resolution", "dataset.resolution", default=512),
    mapped("random_flip", "dataset.flip_probability", _flip, default=False),
    mapped("center_crop", "dataset.crop", _crop, default=False, says="false is a random crop there"),
    combined("instance_prompt", "dataset.subsets[0].captions.text"),
    left("instance_data_dir", "dataset.dataset", says="upload it: loramill dataset create"),
    left("train_data_dir", "dataset.dataset", says="upload it: loramill dataset create"),
    left("dataset_name", "dataset.dataset", says="download it as an imagefolder, and upload that: loramill dataset create"),
    combined("repeats", "dataset.subsets[0].repeats", default=1),
    combined("with_prior_preservation", "concept.prior_preservation.enabled"),
    combined("class_prompt", "concept.class_words"),
    combined("prior_loss_weight", "concept.prior_preservation.weight", default=1.0),
    combined("num_class_images", "concept.prior_preservation.images", default=100),
    left("class_data_dir", "dataset.subsets[].class_images", says="put it beside the others as a folder reg/"),
    combined("validation_prompt", "previews.prompts"),
    combined("output_dir", "outputs.name"),
    mapped("checkpointing_steps", "checkpoints.every_steps", default=500),
    combined("tokenizer_max_length", "text.max_tokens"),
    *needless("previews have a picture for each prompt and seed", "num_validation_images"),
    *needless("captions are found by loramill dataset create --caption-column", "caption_column", "image_column"),
    *needless("latents and embeddings are always kept", "cache_dir", "pre_compute_text_embeddings",
                  "text_encoder_use_attention_mask"),
    *needless("how attention, memory and pictures are handled, the trainer knows", "enable_xformers_memory_efficient_attention",
              "enable_npu_flash_attention", "allow_tf32", "dataloader_num_workers", "local_rank", "prior_generation_precision",
              "sample_batch_size"),
    *needless("a job goes on from its checkpoints by itself", "resume_from_checkpoint", "checkpoints_total_limit"),
    *needless("logs and figures: loramill job logs, loramill job metrics", "logging_dir", "report_to"),
    *needless("files are written in all formats: loramill adapter download --format kohya", "output_kohya_format"),
    *needless("a base is pinned when it is imported", "revision", "variant"),
    *needless(
        "compute is chosen by compute_class or compute_needs", "num_processes", "num_machines", "multi_gpu", "gpu_ids",
        "main_process_port", "dynamo_backend", "num_cpu_threads_per_process", "config_file",
    ),
    *unsupported("a base is imported with its VAE", "pretrained_vae_model_name_or_path"),
    *unsupported("nearest is previews.every_steps", "validation_epochs", off=(1, 50)),
    *unsupported("only weight decay and betas have fields", "adam_epsilon", "prodigy_beta3", "prodigy_decouple",
                 "prodigy_use_bias_correction", "prodigy_safeguard_warmup", off=(1e-8, 1e-08, True)),
    *unsupported("nearest is optimization.weight_decay", "adam_weight_decay_text_encoder", off=(0.001, 1e-3)),
    *unsupported("all pictures are taken; make a smaller dataset", "max_train_samples"),
    *unsupported("pictures come from a dataset of the service", "dataset_config_name"),
    *unsupported("DoRA is not trained", "use_dora"),
    *unsupported("EDM training is not done; nearest is loss.soft_min_snr_gamma", "do_edm_style_training"),
    *unsupported("nearest are adapter.targets and adapter.rules", "lora_layers", "lora_bias"),
    *unsupported("pictures are made smaller with one filter", "image_interpolation_mode", off=("lanczos",)),
    *unsupported("the text encoder's own labels are not read", "class_labels_conditioning"),
    mapped("validation_scheduler", "previews.sampler", sampler),
    *unsupported("nothing is sent elsewhere; download the adapter and upload it by hand", "push_to_hub", "hub_token",
                  "hub_model_id"),
    *unsupported("all noise is of one kind", "debug_loss"),
)  # fmt: skip


def combine(draft: Draft) -> None:
    """Rank, rates, length and places. diffusers' alpha is the rank unless it is given."""
    dreambooth, sdxl = (
        draft.given("instance_data_dir") or draft.given("instance_prompt"),
        "sdxl" in str(draft.values.get("script", "")),
    )
    base = draft.values.get("pretrained_model_name_or_path")
    draft.advice.append(f"base_model: name an imported base (loramill base list){f'; it was {base}' if base else ''}.")
    rank = draft.get("rank")
    draft.set("adapter.type", "lora", "rank")
    draft.set("adapter.targets", "attention", "rank")
    draft.set("adapter.rank", rank, "rank")
    draft.set(
        "adapter.alpha", draft.values.get("lora_alpha", rank), "lora_alpha" if draft.given("lora_alpha") else "rank"
    )
    resolution = draft.values.get("resolution", 1024 if sdxl else 512)
    draft.set("dataset.resolution", _side(resolution), "resolution")
    draft.set("dataset.buckets", False, "resolution", "pictures are cropped to squares there")
    _rates(draft, sdxl)
    _length(draft, dreambooth, sdxl)
    set_schedule(draft, "lr_scheduler", "lr_warmup_steps", "lr_num_cycles", "lr_power")
    _data(draft, dreambooth)
    _outputs(draft)


def _rates(draft: Draft, sdxl: bool) -> None:
    rate = draft.get("learning_rate")
    draft.set("unet.train", True, "learning_rate")
    draft.set("unet.learning_rate", rate, "learning_rate")
    trained = truth(draft.values.get("train_text_encoder", False))
    draft.set("text_encoder.train", trained, "train_text_encoder")
    if trained:
        key = "text_encoder_lr" if draft.given("text_encoder_lr") else "learning_rate"
        draft.set("text_encoder.learning_rate", draft.values.get("text_encoder_lr", rate), key)
        if sdxl:
            draft.set("text_encoder_2.train", True, "train_text_encoder")
            draft.set("text_encoder_2.learning_rate", draft.values.get("text_encoder_lr", rate), key)
    name = str(draft.get("optimizer")).lower()
    if truth(draft.values.get("use_8bit_adam", False)):
        draft.set("optimization.optimizer", "adamw_8bit", "use_8bit_adam")
    elif name in ("adamw", "prodigy"):
        draft.set("optimization.optimizer", name, "optimizer")
    else:
        draft.told("optimizer", "unsupported", f"is {name}; nearest is optimization.optimizer: adamw.")
    if truth(draft.values.get("scale_lr", False)):
        draft.told("scale_lr", "unsupported", "multiply the rates by batch_size and gradient_accumulation by hand.")


def _length(draft: Draft, dreambooth: bool, sdxl: bool) -> None:
    """Steps count before epochs; the scripts have 100 epochs, those for DreamBooth 1."""
    if draft.given("max_train_steps"):
        draft.set("optimization.steps", draft.values["max_train_steps"], "max_train_steps")
        if "num_train_epochs" in draft.values:
            draft.told("num_train_epochs", "off", "max_train_steps counts before it")
    else:
        draft.set(
            "optimization.epochs", draft.values.get("num_train_epochs", 1 if dreambooth else 100), "num_train_epochs"
        )
    batch = draft.values.get("train_batch_size", 4 if dreambooth or not sdxl else 16)
    draft.set("optimization.batch_size", batch, "train_batch_size")


def _data(draft: Draft, dreambooth: bool) -> None:
    place = next(
        (draft.values[key] for key in ("instance_data_dir", "train_data_dir", "dataset_name") if draft.given(key)), None
    )
    draft.advice.append(
        f"dataset.dataset: upload the data first (loramill dataset create{f' {place}' if place else ''}), and give its id."
    )
    if draft.given("repeats"):
        draft.set("dataset.subsets[0].repeats", draft.values["repeats"], "repeats")
    if draft.given("instance_prompt"):
        _instance(draft)
    elif not dreambooth:
        draft.set("dataset.subsets[0].captions.caption_dropout", 0, "train_data_dir")
    if truth(draft.values.get("with_prior_preservation", False)):
        draft.set("concept.prior_preservation.enabled", True, "with_prior_preservation")
        draft.set("concept.class_words", _noun(str(draft.values.get("class_prompt", ""))), "class_prompt")
        draft.set("concept.prior_preservation.captions", [draft.values.get("class_prompt", "")], "class_prompt")
        draft.set("concept.prior_preservation.weight", draft.get("prior_loss_weight"), "prior_loss_weight")
        draft.set("concept.prior_preservation.images", draft.get("num_class_images"), "num_class_images")


def _instance(draft: Draft) -> None:
    """One caption for all pictures. The word that the class prompt lacks is the tag, which is then always first."""
    prompt = str(draft.values["instance_prompt"])
    known = str(draft.values.get("class_prompt", "")).split()
    rare = [word for word in prompt.split() if word not in known] if known else []
    source = "file_or_fixed" if draft.given("caption_column") else "fixed"
    draft.set("dataset.subsets[0].captions.source", source, "instance_prompt")
    if len(rare) == 1:
        draft.set("concept.activation_tag", rare[0], "instance_prompt", "the word that class_prompt lacks")
        prompt = " ".join(word for word in prompt.split() if word != rare[0])
    else:
        draft.advice.append(
            "concept.activation_tag: name the rare word of the instance prompt, which is then always first."
        )
    draft.set("dataset.subsets[0].captions.text", prompt, "instance_prompt")
    draft.set("dataset.subsets[0].captions.caption_dropout", 0, "instance_prompt")


def _noun(prompt: str) -> str:
    """`a photo of a dog` is about a `dog`."""
    return re.sub(
        r"^(?:an? )?(?:photo|picture|image|painting|drawing) of (?:an? |the )?", "", prompt.strip(), flags=re.IGNORECASE
    )


def _outputs(draft: Draft) -> None:
    if draft.given("output_dir"):
        draft.set("outputs.name", output_name(draft.values["output_dir"]), "output_dir")
    if draft.given("validation_prompt"):
        draft.spec.previews.prompts.add(prompt=str(draft.values["validation_prompt"]))
        draft.told("validation_prompt", "mapped", "previews.prompts")
    if draft.given("tokenizer_max_length"):
        draft.told("tokenizer_max_length", "unsupported", "nearest is text.max_tokens: 75, 150 or 225.")


DIFFUSERS = Program("diffusers", "diffusers' scripts", (*_ROWS, *needless("the script's own name", "script")), combine)
