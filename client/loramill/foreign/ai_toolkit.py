"""ostris's ai-toolkit: a configuration in YAML, as `toolkit/config_modules.py` and its example configurations have them.

Keys are those below `config.process[0]`, but for `config.name`.
"""

from __future__ import annotations

from typing import Any

from loramill.foreign.ai_toolkit_combined import combine
from loramill.foreign.draft import Program
from loramill.foreign.kohya_dataset import crop, half, masks
from loramill.foreign.rows import Row, Unlike, combined, left, mapped, needless, unsupported, unsupported_unless
from loramill.foreign.values import not_none, output_name, precision, truth

_SUBSET = "dataset.subsets[]"
_CAPTIONS = f"{_SUBSET}.captions"


def _loss(value: Any) -> str:
    if value not in ("mse", "l2"):
        raise Unlike(f"is {value}; nearest is loss.type: huber")
    return "mse"


def _prediction(value: Any) -> str:
    return "v_prediction" if truth(value) else "epsilon"


def _timesteps(value: Any) -> str:
    if value in ("linear", "uniform"):
        return "uniform"
    if value == "sigmoid":
        return "logit_normal"
    raise Unlike(f"is {value}; nearest is noise.timestep_sampling: logit_normal")


def _prompts(value: Any) -> list[dict[str, str]]:
    return [{"prompt": str(prompt)} for prompt in value]


_NETWORK: tuple[Row, ...] = (
    combined("network.type", "adapter.type", default="lora"),
    combined("network.linear", "adapter.rank"),
    combined("network.rank", "adapter.rank"),
    combined("network.linear_alpha", "adapter.alpha"),
    combined("network.alpha", "adapter.alpha", default=1.0),
    combined("network.conv", "adapter.conv_rank"),
    combined("network.conv_alpha", "adapter.conv_alpha"),
    combined("network.lokr_full_rank", "adapter.lokr.full_matrix"),
    combined("network.lokr_factor", "adapter.lokr.factor", default=-1),
    mapped("network.dropout", "adapter.dropout", not_none),
    *needless("the UNet's transformer blocks are what a LoRA adapts here too", "network.transformer_only"),
    *unsupported(
        "nearest are adapter.rules with patterns of layer names", "network.network_kwargs",
        "network.network_kwargs.ignore_if_contains",
        "network.network_kwargs.only_if_contains", "network.network_kwargs.lora_plus_ratio",
        "network.network_kwargs.network_type",
    ),
    *unsupported("LoRM is not trained", "network.lorm"),
    *needless("a model has one stage", "network.split_multistage_loras", "network.old_lokr_format"),
    *unsupported("weights are not normalised", "network.normalize"),
)  # fmt: skip

_TRAIN: tuple[Row, ...] = (
    mapped("train.steps", "optimization.steps", default=1000),
    mapped("train.batch_size", "optimization.batch_size", default=1),
    combined("train.gradient_accumulation_steps", "optimization.gradient_accumulation", default=1),
    combined("train.gradient_accumulation", "optimization.gradient_accumulation"),
    mapped("train.gradient_checkpointing", "optimization.gradient_checkpointing", truth, default=True),
    combined("train.lr", "unet.learning_rate", default=1e-6),
    combined("train.unet_lr", "unet.learning_rate"),
    combined("train.text_encoder_lr", "text_encoder.learning_rate"),
    mapped("train.train_unet", "unet.train", truth, default=True),
    combined("train.train_text_encoder", "text_encoder.train", default=False),
    combined("train.optimizer", "optimization.optimizer", default="adamw"),
    combined("train.optimizer_params", "optimization"),
    combined("train.optimizer_params.weight_decay", "optimization.weight_decay"),
    combined("train.optimizer_params.betas", "optimization.beta1"),
    combined("train.lr_scheduler", "optimization.schedule", default="constant"),
    combined("train.lr_scheduler_params", "optimization.schedule"),
    combined("train.lr_scheduler_params.num_warmup_steps", "optimization.warmup_steps", default=0),
    combined("train.lr_scheduler_params.num_cycles", "optimization.schedule_cycles", default=1),
    combined("train.lr_scheduler_params.power", "optimization.schedule_power", default=1),
    mapped("train.max_grad_norm", "optimization.max_gradient_norm", default=1.0),
    mapped("train.dtype", "optimization.precision", precision, default="fp32"),
    mapped("train.seed", "optimization.seed"),
    combined("train.ema_config", "optimization.ema_decay", says="empty"),
    combined("train.ema_config.use_ema", "optimization.ema_decay"),
    combined("train.ema_config.ema_decay", "optimization.ema_decay", default=0.999),
    mapped("train.min_snr_gamma", "loss.min_snr_gamma", not_none, default=0),
    mapped("train.loss_type", "loss.type", _loss, default="mse"),
    mapped("train.noise_offset", "noise.offset", not_none, default=0.0),
    mapped("train.min_denoising_steps", "noise.min_timestep"),
    mapped("train.max_denoising_steps", "noise.max_timestep", lambda value: min(1000, int(value) + 1),
                  says="one more: it is below that"),
    mapped("train.timestep_type", "noise.timestep_sampling", _timesteps),
    mapped("train.prompt_dropout_prob", "dataset.subsets[0].captions.caption_dropout", not_none),
    combined("train.reg_weight", "concept.prior_preservation.weight", default=1.0),
    combined("train.diff_output_preservation", "concept.prior_preservation.enabled"),
    combined("train.diff_output_preservation_multiplier", "concept.prior_preservation.weight", default=1.0),
    combined("train.diff_output_preservation_class", "concept.class_words"),
    *unsupported("nearest is loss.soft_min_snr_gamma", "train.snr_gamma", "train.learnable_snr_gos"),
    *unsupported("timesteps are drawn by noise.timestep_sampling, and not weighted", "train.content_or_style",
                  "train.content_or_style_reg",
                 "train.linear_timesteps", "train.linear_timesteps2", "train.next_sample_timesteps", off=("balanced", 8)),
    *needless("the noise schedule is the base's own", "train.noise_scheduler", "train.num_train_timesteps"),
    *needless("how attention and memory are used, the trainer knows", "train.xformers", "train.sdp", "train.attention_backend",
              "train.unload_text_encoder", "train.cache_text_embeddings", "train.single_item_batching"),
    *needless("there are always previews before training", "train.skip_first_sample", "train.force_first_sample"),
    *needless("previews are made when previews.every_steps says so", "train.disable_sampling"),
    *needless("a job begins at its first step, and goes on by itself", "train.start_step"),
    *unsupported("tokens of a tag are trained with concept.pivotal", "train.embedding_lr"),
    *unsupported(
        "only LoRA-family adapters are trained", "train.adapter_lr", "train.refiner_lr",
        "train.train_turbo",
        "train.show_turbo_outputs", "train.adapter_assist_name_or_path", "train.adapter_assist_type",
        "train.match_adapter_assist",
        "train.match_adapter_chance", off=(1e-6, "t2i"),
    ),
    *needless("there is no refiner to train", "train.train_refiner"),
    *unsupported("merge it afterwards: python -m trainer merge", "train.merge_network_on_save"),
    *unsupported(
        "noise, pictures and predictions are as the base model's own training has them", "train.weight_jitter", "train.free_u",
        "train.noise_multiplier", "train.target_noise_multiplier", "train.random_noise_multiplier", "train.random_noise_shift",
        "train.img_multiplier", "train.noisy_latent_multiplier", "train.latent_multiplier", "train.adaptive_scaling_factor",
        "train.match_noise_norm", "train.standardize_images", "train.standardize_latents", "train.dynamic_noise_offset",
        "train.correct_pred_norm", "train.correct_pred_norm_multiplier", "train.pred_scaler", "train.prompt_saturation_chance",
        "train.target_norm_std", "train.target_norm_std_value", "train.optimal_noise_pairing_samples",
        "train.force_consistent_noise",
        "train.blended_blur_noise", "train.ema_config.use_feedback", "train.ema_config.param_multiplier", off=(1.0, 1),
    ),
    *unsupported(
        "training has no guidance", "train.do_cfg", "train.do_random_cfg", "train.cfg_scale", "train.max_cfg_scale",
        "train.cfg_rescale",
        "train.negative_prompt", "train.max_negative_prompts", "train.bypass_guidance_embedding", "train.do_guidance_loss",
        "train.guidance_loss_target", "train.unconditional_prompt", "train.do_prior_divergence", off=(1.0, 1, 3.0),
    ),
    *unsupported(
        "nearest is concept.prior_preservation", "train.loss_target", "train.inverted_mask_prior",
        "train.inverted_mask_prior_multiplier",
        "train.blank_prompt_preservation", "train.blank_prompt_preservation_multiplier", off=("noise", 0.5, 1.0),
    ),
    *unsupported("a picture has one caption", "train.short_and_long_captions", "train.short_and_long_captions_encoder_split"),
    *unsupported(
        "there is no such loss", "train.latent_feature_extractor_path", "train.latent_feature_loss_weight",
        "train.diffusion_feature_extractor_path", "train.diffusion_feature_extractor_weight", off=(1.0,),
    ),
    *unsupported("all weights are trained in every step", "train.do_paramiter_swapping", "train.paramiter_swapping_factor",
                 "train.switch_boundary_every", off=(0.1, 1)),
)  # fmt: skip

_DATASETS: tuple[Row, ...] = (
    left("datasets[].folder_path", f"{_SUBSET}.path_prefix", says="upload the folders together: loramill dataset create"),
    left("datasets[].dataset_path", f"{_SUBSET}.path_prefix", says="upload the folders together: loramill dataset create"),
    combined("datasets[].resolution", "dataset.resolution", default=512, says="of several the largest"),
    combined("datasets[].default_caption", f"{_CAPTIONS}.text"),
    combined("datasets[].trigger_word", f"{_SUBSET}.concept"),
    mapped("datasets[].num_repeats", f"{_SUBSET}.repeats", default=1),
    mapped("datasets[].caption_dropout_rate", f"{_CAPTIONS}.caption_dropout", default=0.0),
    mapped("datasets[].token_dropout_rate", f"{_CAPTIONS}.tag_dropout", default=0.0),
    mapped("datasets[].shuffle_tokens", f"{_CAPTIONS}.shuffle_tags", truth, default=False),
    mapped("datasets[].keep_tokens", f"{_CAPTIONS}.keep_tags", default=0),
    mapped("datasets[].flip_x", f"{_SUBSET}.flip_probability", half, default=False),
    mapped("datasets[].is_reg", f"{_SUBSET}.class_images", truth),
    mapped("datasets[].loss_multiplier", f"{_SUBSET}.weight"),
    mapped("datasets[].network_weight", f"{_SUBSET}.weight"),
    mapped("datasets[].buckets", "dataset.buckets", truth, default=True),
    mapped("datasets[].bucket_tolerance", "dataset.bucket_step", default=64),
    mapped("datasets[].random_crop", "dataset.crop", crop),
    mapped("datasets[].alpha_mask", "dataset.masks", masks),
    *needless("loramill dataset create reads .txt and .caption", "datasets[].caption_ext", "datasets[].caption_type"),
    *needless("latents and embeddings are always kept", "datasets[].cache_latents", "datasets[].cache_latents_to_disk",
              "datasets[].cache_clip_vision_to_disk", "datasets[].cache_text_embeddings", "datasets[].num_workers",
              "datasets[].prefetch_factor", "datasets[].fast_image_size", "datasets[].debug"),
    *needless("pictures alone are trained on", "datasets[].type", "datasets[].num_frames", "datasets[].shrink_video_to_frames",
              "datasets[].fps", "datasets[].do_i2v", "datasets[].auto_frame_count", "datasets[].replay_transforms",
              "datasets[].full_size_control_images", "datasets[].guidance_type"),
    *unsupported("nearest is dataset.crop: random", "datasets[].random_scale", "datasets[].scale", "datasets[].square_crop",
                 "datasets[].poi", off=(1.0, 1)),
    *unsupported("pictures are mirrored left to right only", "datasets[].flip_y"),
    *unsupported("colours and shapes are never changed, because latents are kept", "datasets[].augments",
                  "datasets[].augmentations",
                 "datasets[].shuffle_augmentations", "datasets[].standardize_images"),
    *unsupported("masks lie beside pictures as NAME.mask.png, with dataset.masks: file", "datasets[].mask_path",
                  "datasets[].invert_mask",
                 "datasets[].mask_min_value", off=(0.0, 0.01)),
    *unsupported("a picture has one caption; nearest is captions.wildcards", "datasets[].random_triggers",
                 "datasets[].random_triggers_max", "datasets[].use_short_captions", "datasets[].replacements", off=(1,)),
    *unsupported(
        "only LoRA-family adapters are trained", "datasets[].control_path", "datasets[].control_transparent_color",
        "datasets[].inpaint_path", "datasets[].unconditional_path", "datasets[].clip_image_path",
        "datasets[].clip_image_from_same_folder",
        "datasets[].clip_image_augmentations", "datasets[].clip_image_shuffle_augmentations", "datasets[].controls",
        "datasets[].control_path_1", "datasets[].control_path_2", "datasets[].control_path_3", "datasets[].extra_values",
        off=([0, 0, 0],),
    ),
)  # fmt: skip

_MODEL: tuple[Row, ...] = (
    left("model.name_or_path", "base_model", says="name the imported base: loramill base list"),
    mapped("model.is_v_pred", "loss.prediction_type", _prediction),
    left("model.lora_path", "adapter.initial_adapter", says="upload it: loramill adapter upload FILE"),
    *needless("the family is found in the base's own files", "model.arch", "model.is_v2", "model.is_xl", "model.is_ssd",
                  "model.is_vega",
              "model.experimental_xl"),
    *needless("the base is held as optimization.precision says", "model.dtype", "model.vae_dtype", "model.te_dtype",
                  "model.vae_device",
              "model.te_device", "model.low_vram", "model.compile", "model.layer_offloading"),
    *unsupported("this family is not trained", "model.is_flux", "model.is_v3", "model.is_pixart", "model.is_pixart_sigma",
                 "model.is_auraflow", "model.is_lumina2", "model.use_flux_cfg", "model.attn_masking"),
    *unsupported("a base is imported whole, with its VAE", "model.vae_path", "model.unet_path", "model.te_name_or_path",
                 "model.extras_name_or_path", "model.refiner_name_or_path", "model.refiner_start_at", "model.unet_sample_size",
                 "model.assistant_lora_path", "model.inference_lora_path", "model.accuracy_recovery_adapter",
                 "model.latent_space_version", off=(0.5,)),
    *unsupported("the base is not quantised; nearest is optimization.gradient_checkpointing", "model.quantize",
                  "model.quantize_te",
                 "model.qtype", "model.qtype_te", "model.text_encoder_bits", "model.quantize_kwargs", "model.model_kwargs",
                 "model.split_model_over_gpus", "model.split_model_other_module_param_count_scale", off=("qfloat8", 16, 0.3)),
    *unsupported("nearest are adapter.rules", "model.ignore_if_contains", "model.only_if_contains"),
    *unsupported_unless(True, "both text encoders are read", "model.use_text_encoder_1", "model.use_text_encoder_2"),
)  # fmt: skip

_REST: tuple[Row, ...] = (
    mapped("config.name", "outputs.name", output_name),
    combined("trigger_word", "concept.activation_tag"),
    mapped("save.dtype", "outputs.precision", precision, default="float16"),
    mapped("save.save_every", "outputs.save_every", default=1000),
    mapped("sample.sample_every", "previews.every_steps"),
    mapped("sample.guidance_scale", "previews.guidance_scale"),
    mapped("sample.sample_steps", "previews.inference_steps"),
    mapped("sample.width", "previews.width"),
    mapped("sample.height", "previews.height"),
    mapped("sample.prompts", "previews.prompts", _prompts),
    combined("sample.samples[].prompt", "previews.prompts"),
    combined("sample.neg", "previews.prompts[].negative_prompt"),
    combined("sample.seed", "previews.prompts[].seed", default=0),
    combined("sample.walk_seed", "previews.prompts[].seed", says="each prompt has the next seed"),
    *unsupported("that sampler draws the pictures of training there; here the base's own does, or previews.sampler",
                 "sample.sampler", off=("ddpm",)),
    *unsupported("previews are all drawn in one way, so that they can be compared",
                 "sample.network_multiplier", "sample.guidance_rescale", "sample.format", "sample.ext",
                 "sample.adapter_conditioning_scale", "sample.refiner_start_at", "sample.extra_values", "sample.num_frames",
                 "sample.fps", "sample.samples[].width", "sample.samples[].height", "sample.samples[].neg",
                 "sample.samples[].seed",
                 "sample.samples[].guidance_scale", "sample.samples[].sample_steps", "sample.samples[].network_multiplier",
                 off=(1, 1.0, 0.0, "jpg", 0.5, "ddpm", 16)),
    *needless("every file that is saved is kept", "save.max_step_saves_to_keep"),
    *needless("files are written in all formats: loramill adapter download --format", "save.save_format"),
    *unsupported("nothing is sent elsewhere", "save.push_to_hub", "save.hf_repo_id", "save.hf_private"),
    *needless("logs and figures: loramill job logs, loramill job metrics", "logging.log_every", "logging.verbose",
                  "logging.use_wandb",
              "logging.project_name", "logging.run_name", "logging.use_ui_logger", "performance_log_every", "log_dir"),
    *needless("the service decides where files lie and on which device a job runs", "training_folder", "device",
                  "sqlite_db_path", "job",
              "type", "meta.name", "meta.version"),
    *unsupported("only LoRA-family adapters are trained", "adapter", "adapter.*", "slider.*", "decorator.*", "mod.*"),
    *unsupported("tokens of a tag are trained with concept.pivotal", "embedding", "embedding.*"),
    *unsupported("previews need no pictures", "sample.samples[].ctrl_img", "sample.samples[].ctrl_idx", "sample.samples[].fps",
                 "sample.samples[].num_frames", off=(16, 1)),
)  # fmt: skip

AI_TOOLKIT = Program("ai-toolkit", "ai-toolkit", (*_NETWORK, *_TRAIN, *_DATASETS, *_MODEL, *_REST), combine)
