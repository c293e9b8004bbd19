"""kohya's sd-scripts: the arguments of train_network.py and sdxl_train_network.py, on a command line or in `--config_file`.

Read from their argument parsers (`train_network.py`, `library/train_util.py`, `library/sdxl_train_util.py`,
`library/custom_train_functions.py`, `library/deepspeed_utils.py`).
"""

from __future__ import annotations

from typing import Any

from loramill.foreign.draft import Program
from loramill.foreign.kohya_combined import combine
from loramill.foreign.kohya_dataset import crop, half, masks, side
from loramill.foreign.rows import Row, Unlike, combined, left, mapped, needless, unsupported
from loramill.foreign.values import not_none, output_name, precision, sampler, truth

_SUBSET = "dataset.subsets[0]"
_CAPTIONS = f"{_SUBSET}.captions"


def _loss(value: Any) -> str:
    if value == "l1":
        raise Unlike("is l1; nearest is loss.type: smooth_l1 with a small loss.threshold")
    return {"l2": "mse", "huber": "huber", "smooth_l1": "smooth_l1"}[str(value)]


def _prediction(value: Any) -> str:
    return "v_prediction" if truth(value) else "epsilon"


def _upscale(value: Any) -> bool:
    return not truth(value)


_DATA: tuple[Row, ...] = (
    mapped("resolution", "dataset.resolution", side, says="the side of the square of that area, as a multiple of 64"),
    mapped("enable_bucket", "dataset.buckets", truth, default=False),
    mapped("bucket_reso_steps", "dataset.bucket_step", default=64),
    mapped("bucket_no_upscale", "dataset.upscale", _upscale, default=False, says="turned round"),
    mapped("random_crop", "dataset.crop", crop),
    mapped("alpha_mask", "dataset.masks", masks),
    mapped("flip_aug", "dataset.flip_probability", half, default=False),
    mapped("shuffle_caption", f"{_CAPTIONS}.shuffle_tags", truth, default=False),
    mapped("keep_tokens", f"{_CAPTIONS}.keep_tags", default=0, says="one fewer if the first is the activation tag"),
    mapped("keep_tokens_separator", f"{_CAPTIONS}.keep_separator"),
    mapped("secondary_separator", f"{_CAPTIONS}.group_separator"),
    mapped("caption_separator", f"{_CAPTIONS}.separator"),
    mapped("enable_wildcard", f"{_CAPTIONS}.wildcards", truth),
    mapped("caption_prefix", f"{_CAPTIONS}.prefix"),
    mapped("caption_suffix", f"{_CAPTIONS}.suffix"),
    mapped("caption_dropout_rate", f"{_CAPTIONS}.caption_dropout", default=0.0),
    mapped("caption_tag_dropout_rate", f"{_CAPTIONS}.tag_dropout", default=0.0),
    mapped("max_token_length", "text.max_tokens", default=75),
    left("train_data_dir", "dataset.dataset", says="upload it: loramill dataset create"),
    left("reg_data_dir", "dataset.subsets[].class_images", says="put it beside the others as a folder reg/"),
    left("dataset_config", "dataset.dataset", says="upload it: loramill dataset create FILE.toml"),
    mapped("prior_loss_weight", "concept.prior_preservation.weight", says="of pictures of the class"),
    *needless("loramill dataset create reads .txt and .caption", "caption_extension", "caption_extention"),
    *needless("sizes of buckets follow from resolution and bucket_step", "min_bucket_reso", "max_bucket_reso"),
    *needless(
        "latents and embeddings are always kept, and found again by content",
        "cache_latents", "cache_latents_to_disk", "vae_batch_size", "cache_info", "cache_text_encoder_outputs",
        "cache_text_encoder_outputs_to_disk", "skip_cache_check", "text_encoder_batch_size",
    ),
    *unsupported("colours are never changed, because latents are kept", "color_aug"),
    *unsupported("faces are not looked for; nearest is dataset.crop: smart", "face_crop_aug_range"),
    *unsupported("nearest is caption_dropout, as 1 / the number of epochs", "caption_dropout_every_n_epochs"),
    *unsupported("all tags are there from the first step", "token_warmup_min", "token_warmup_step", off=(1,)),
    *unsupported("captions come from files beside the pictures", "in_json", "dataset_class"),
    *unsupported("repeats stand in folder names or dataset.subsets[].repeats", "dataset_repeats", off=(1,)),
    *unsupported("masks lie beside pictures as NAME.mask.png, with dataset.masks: file", "masked_loss",
                  "conditioning_data_dir"),
    *unsupported("weights in brackets are not interpreted", "weighted_captions"),
    *unsupported("look at the data report of the job instead", "debug_dataset"),
    *unsupported("pictures are made smaller with one filter", "resize_interpolation"),
    *unsupported("small pictures are taken; leave them out of the dataset", "skip_image_resolution"),
    mapped("validation_split", "validation.share", not_none),
    mapped("validate_every_n_steps", "validation.every_steps"),
    *unsupported("nearest is validation.every_steps", "validate_every_n_epochs", "max_validation_steps"),
    *needless("drawn by the job's seed", "validation_seed"),
)  # fmt: skip

_NETWORK: tuple[Row, ...] = (
    combined("network_module", "adapter.type", default="networks.lora", says="read together with network_args"),
    combined("network_args", "adapter"),
    combined("network_dim", "adapter.rank", default=4),
    combined("network_alpha", "adapter.alpha", default=1),
    mapped("network_dropout", "adapter.dropout", not_none),
    left("network_weights", "adapter.initial_adapter", says="upload it: loramill adapter upload FILE"),
    combined("network_train_unet_only", "text_encoder.train"),
    combined("network_train_text_encoder_only", "unet.train"),
    combined("learning_rate", "unet.learning_rate", default=2e-6),
    combined("unet_lr", "unet.learning_rate"),
    combined("text_encoder_lr", "text_encoder.learning_rate", says="the second of two is that of text_encoder_2"),
    *unsupported("rank and alpha stand in the spec", "dim_from_weights"),
    *unsupported("weights are not limited; nearest is optimization.weight_decay", "scale_weight_norms"),
    *unsupported(
        "merge it first: python -m trainer merge, then import the base",
        "base_weights",
        "base_weights_multiplier",
        off=(1.0,),
    ),
)

_OPTIMIZATION: tuple[Row, ...] = (
    combined("max_train_steps", "optimization.steps", default=1600),
    combined("max_train_epochs", "optimization.epochs"),
    mapped("train_batch_size", "optimization.batch_size", default=1),
    mapped("gradient_accumulation_steps", "optimization.gradient_accumulation", default=1),
    combined("optimizer_type", "optimization.optimizer", default="AdamW"),
    combined("use_8bit_adam", "optimization.optimizer"),
    combined("use_lion_optimizer", "optimization.optimizer"),
    combined("optimizer_args", "optimization"),
    combined("lr_scheduler", "optimization.schedule", default="constant"),
    combined("lr_scheduler_type", "optimization.schedule"),
    combined("lr_scheduler_args", "optimization.schedule"),
    combined("lr_scheduler_num_cycles", "optimization.schedule_cycles", default=1),
    combined("lr_scheduler_power", "optimization.schedule_power", default=1),
    combined("lr_warmup_steps", "optimization.warmup_steps", default=0),
    mapped("max_grad_norm", "optimization.max_gradient_norm", default=1.0),
    mapped("mixed_precision", "optimization.precision", precision, default="no"),
    mapped("gradient_checkpointing", "optimization.gradient_checkpointing", truth, default=False),
    mapped("seed", "optimization.seed"),
    mapped("clip_skip", "clip_skip", says="1 is the last layer"),
    *unsupported("adapters are always trained in fp32", "full_fp16", "full_bf16"),
    *unsupported("the base is held in optimization.precision", "fp8_base", "fp8_base_unet"),
    *unsupported(
        "the schedule falls to its end", "lr_decay_steps", "lr_scheduler_timescale", "lr_scheduler_min_lr_ratio"
    ),
    *unsupported(
        "runs on one GPU, and nothing is moved out of its memory; nearest is gradient_checkpointing",
        "deepspeed",
        "zero_stage",
        "offload_optimizer_device",
        "offload_optimizer_nvme_path",
        "offload_param_device",
        "offload_param_nvme_path",
        "zero3_init_flag",
        "zero3_save_16bit_model",
        "fp16_master_weights_and_gradients",
        "cpu_offload_checkpointing",
        "blocks_to_swap",
        "fused_backward_pass",
        "fused_optimizer_groups",
    ),
)

_LOSS: tuple[Row, ...] = (
    mapped("loss_type", "loss.type", _loss, default="l2"),
    combined("huber_c", "loss.threshold", default=0.1, says="only of huber and smooth_l1"),
    combined("huber_schedule", "loss.threshold_schedule", default="snr", says="only of huber and smooth_l1"),
    mapped("min_snr_gamma", "loss.min_snr_gamma", not_none, default=0),
    mapped("debiased_estimation_loss", "loss.debiased", truth, default=False),
    mapped("v_parameterization", "loss.prediction_type", _prediction),
    mapped("zero_terminal_snr", "zero_terminal_snr", truth),
    mapped("noise_offset", "noise.offset", not_none, default=0),
    mapped("multires_noise_iterations", "noise.pyramid_levels", not_none, default=0),
    combined("multires_noise_discount", "noise.pyramid_discount", default=0.3, says="only with multires_noise_iterations"),
    mapped("ip_noise_gamma", "noise.input_perturbation", not_none, default=0),
    mapped("min_timestep", "noise.min_timestep"),
    mapped("max_timestep", "noise.max_timestep"),
    *unsupported("the strength is the same in every step", "noise_offset_random_strength", "ip_noise_gamma_random_strength"),
    *unsupported("the offset does not follow the latents", "adaptive_noise_scale"),
    *unsupported("losses have no scale of their own", "huber_scale", off=(1.0, 1)),
    *unsupported("nearest is loss.min_snr_gamma, which has the v-prediction's own weights",
                 "scale_v_pred_loss_like_noise_pred", "v_pred_like_loss"),
)  # fmt: skip

_PREVIEWS: tuple[Row, ...] = (
    mapped("sample_every_n_steps", "previews.every_steps", not_none),
    left("sample_prompts", "previews.prompts", says="a file of prompts; write them into previews.prompts"),
    *needless("there are always previews before training", "sample_at_first"),
    *unsupported("nearest is previews.every_steps", "sample_every_n_epochs"),
    mapped("sample_sampler", "previews.sampler", sampler),
)

_OUTPUT: tuple[Row, ...] = (
    mapped("output_name", "outputs.name", output_name),
    mapped("save_precision", "outputs.precision", precision),
    mapped("save_every_n_steps", "outputs.save_every", not_none),
    mapped("metadata_title", "display_name"),
    *unsupported("nearest is outputs.save_every, in steps", "save_every_n_epochs", "save_n_epoch_ratio"),
    *needless("every file that is saved is kept", "save_last_n_epochs", "save_last_n_steps", "save_last_n_epochs_state",
              "save_last_n_steps_state"),
    *needless("checkpoints are written by themselves, and a job goes on from them", "save_state", "save_state_on_train_end",
              "resume", "skip_until_initial_step", "initial_epoch", "initial_step"),
    *needless("files are kept by the service: loramill adapter download", "output_dir", "save_model_as", "use_safetensors"),
    *unsupported("the file says by itself what it is",
                 "training_comment", "metadata_author", "metadata_description", "metadata_license", "metadata_tags",
                 "no_metadata"),
    *unsupported("nothing is sent elsewhere; download the adapter and upload it by hand", "huggingface_repo_id",
                 "huggingface_repo_type", "huggingface_path_in_repo", "huggingface_token", "huggingface_repo_visibility",
                 "save_state_to_huggingface", "resume_from_huggingface", "async_upload"),
)  # fmt: skip

_MACHINE: tuple[Row, ...] = (
    left("pretrained_model_name_or_path", "base_model", says="name the imported base: loramill base list"),
    *needless("the family is found in the base's own files", "v2", "sdxl"),
    *unsupported("a base is imported with its VAE", "vae"),
    *needless("a VAE that overflows is never run in fp16", "no_half_vae"),
    *needless(
        "how attention is computed, memory is used and pictures are loaded, the trainer knows",
        "xformers",
        "sdpa",
        "mem_eff_attn",
        "torch_compile",
        "dynamo_backend",
        "lowram",
        "highvram",
        "max_data_loader_n_workers",
        "persistent_data_loader_workers",
        "disable_mmap_load_safetensors",
        "tokenizer_cache_dir",
        "ddp_timeout",
        "ddp_gradient_as_bucket_view",
        "ddp_static_graph",
        "no_token_padding",
        "split_attn",
    ),
    *needless(
        "logs and figures: loramill job logs, loramill job metrics",
        "logging_dir",
        "log_with",
        "log_prefix",
        "log_tracker_name",
        "log_tracker_config",
        "log_config",
        "wandb_run_name",
        "wandb_api_key",
        "console_log_level",
        "console_log_file",
        "console_log_simple",
    ),
    *needless("the file itself", "config_file", "output_config"),
    combined("script", "text_encoder_2.train", says="sdxl_train_network.py trains both text encoders"),
    *needless(
        "compute is chosen by compute_class or compute_needs",
        "num_cpu_threads_per_process",
        "num_processes",
        "num_machines",
        "gpu_ids",
        "multi_gpu",
        "main_process_port",
        "mixed_precision_of_accelerate",
        "dynamo_mode",
        "enable_cpu_affinity",
    ),
)

KOHYA = Program(
    "kohya", "kohya's sd-scripts", (*_DATA, *_NETWORK, *_OPTIMIZATION, *_LOSS, *_PREVIEWS, *_OUTPUT, *_MACHINE), combine
)
