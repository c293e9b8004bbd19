"""OneTrainer: a configuration in JSON, as `modules/util/config/TrainConfig.py` and `ConceptConfig.py` have it (version 12).

Old keys that its own migrations rename are read too.
"""

from __future__ import annotations

import math
from typing import Any

from loramill.foreign.draft import Program
from loramill.foreign.onetrainer_combined import combine
from loramill.foreign.rows import Row, Unlike, combined, left, mapped, needless, unsupported, unsupported_unless
from loramill.foreign.values import not_none, precision, truth

_CAPTIONS = "dataset.subsets[].captions"


def _side(value: Any) -> int:
    """ "512", "512,768", "768x512" → the largest side's square; a job has one resolution."""
    sides = []
    for part in str(value).replace(" ", "").split(","):
        width, _, height = part.partition("x")
        sides.append(math.sqrt(float(width) * float(height or width)))
    return max(64, round(max(sides) / 64) * 64)


def _repeats(value: Any) -> int:
    number = float(value)
    if not number.is_integer() or number < 1:
        raise Unlike(f"is {value}; repeats are whole numbers, and nearest is subsets[].weight")
    return int(number)


def _timesteps(value: Any) -> str:
    known = {"UNIFORM": "uniform", "LOGIT_NORMAL": "logit_normal", "SIGMOID": "logit_normal"}
    if str(value) not in known:
        raise Unlike(f"is {value}; nearest is noise.timestep_sampling: logit_normal")
    return known[str(value)]


def _crop(value: Any) -> str:
    return "random" if truth(value) else "center"


def _half(value: Any) -> float:
    return 0.5 if truth(value) else 0.0


def _masks(value: Any) -> str:
    return "file" if truth(value) else "none"


_MODEL: tuple[Row, ...] = (
    left("base_model_name", "base_model", says="name the imported base: loramill base list"),
    combined("model_type", "base_model", default="STABLE_DIFFUSION_15", says="decides which text encoders there are"),
    combined("training_method", "adapter.type", default="LORA"),
    combined("peft_type", "adapter.type", default="LORA"),
    combined("lora_rank", "adapter.rank", default=16),
    combined("lora_alpha", "adapter.alpha", default=1.0),
    left("lora_model_name", "adapter.initial_adapter", says="upload it: loramill adapter upload FILE"),
    combined("layer_filter_preset", "adapter.targets", default="full"),
    combined("layer_filter", "adapter.rules"),
    combined("layer_filter_regex", "adapter.rules"),
    combined("lora_layer_preset", "adapter.targets"),
    combined("lora_layers", "adapter.rules"),
    combined("lora_layers_regex", "adapter.rules"),
    mapped("dropout_probability", "adapter.dropout", not_none),
    combined("lokr_dim", "adapter.rank", default=16),
    combined("lokr_decompose_both", "adapter.lokr.decompose_both"),
    combined("lokr_decompose_factor", "adapter.lokr.factor", default=-1),
    combined("lokr_use_tucker", "adapter.tucker"),
    combined("lokr_full_matrix", "adapter.lokr.full_matrix"),
    *needless("how LoKr is computed changes nothing", "lokr_vec_trick"),
    *unsupported("DoRA is not trained", "lora_decompose", "lora_decompose_output_axis",
                 "lokr_weight_decompose"),
    *unsupported_unless(True, "DoRA is not trained", "lora_decompose_norm_epsilon", "lokr_dora_on_output"),
    *unsupported("OFT is not trained", "oft_block_size", "oft_block_share", "oft_coft", "coft_eps", "dora_oft", "oft_scaled",
                 "oft_clipped_norm", "oft_cans", off=(32, 0.95, 0.0001)),
    *needless("adapters are always trained in fp32", "lora_weight_dtype"),
    *needless("the base is held as optimization.precision says", "weight_dtype", "fallback_train_dtype", "unet.weight_dtype",
              "text_encoder.weight_dtype", "text_encoder_2.weight_dtype", "vae.weight_dtype", "embedding_weight_dtype",
              "enable_autocast_cache"),
    *unsupported("a base is imported whole, with its VAE", "unet.model_name", "text_encoder.model_name",
                  "text_encoder_2.model_name",
                 "vae.model_name"),
    *unsupported("the base is not quantised", "quantization.layer_filter", "quantization.layer_filter_preset",
                 "quantization.layer_filter_regex", "quantization.svd_dtype", "quantization.svd_rank", "quantization.cache_dir",
                 off=("full", "NONE", 16)),
    *unsupported("pictures have edges", "force_circular_padding"),
)  # fmt: skip

_TRAINING: tuple[Row, ...] = (
    mapped("epochs", "optimization.epochs", default=100),
    mapped("batch_size", "optimization.batch_size", default=1),
    mapped("gradient_accumulation_steps", "optimization.gradient_accumulation", default=1),
    combined("learning_rate", "unet.learning_rate", default=3e-6),
    combined("learning_rate_scheduler", "optimization.schedule", default="CONSTANT"),
    combined("learning_rate_warmup_steps", "optimization.warmup_steps", default=200),
    combined("learning_rate_cycles", "optimization.schedule_cycles", default=1),
    combined("learning_rate_scaler", "unet.learning_rate", default="NONE"),
    combined("unet.train", "unet.train", default=True),
    combined("unet.learning_rate", "unet.learning_rate"),
    combined("text_encoder.train", "text_encoder.train", default=True),
    combined("text_encoder.learning_rate", "text_encoder.learning_rate"),
    combined("text_encoder_2.train", "text_encoder_2.train", default=True),
    combined("text_encoder_2.learning_rate", "text_encoder_2.learning_rate"),
    combined("text_encoder.dropout_probability", "dataset.subsets[].captions.caption_dropout"),
    combined("text_encoder_2.dropout_probability", "dataset.subsets[].captions.caption_dropout"),
    combined("text_encoder_layer_skip", "clip_skip", default=0, says="one more: 0 is the last layer there"),
    combined("unet.gradient_checkpointing", "optimization.gradient_checkpointing", default=True),
    combined("gradient_checkpointing", "optimization.gradient_checkpointing"),
    combined("ema", "optimization.ema_decay", default="OFF"),
    combined("ema_decay", "optimization.ema_decay", default=0.999),
    mapped("train_dtype", "optimization.precision", precision, default="FLOAT_16"),
    mapped("clip_grad_norm", "optimization.max_gradient_norm", not_none, default=1.0),
    combined("optimizer.optimizer", "optimization.optimizer", default="ADAMW"),
    combined("optimizer.weight_decay", "optimization.weight_decay"),
    combined("optimizer.beta1", "optimization.beta1"),
    combined("optimizer.beta2", "optimization.beta2"),
    *unsupported("nearest is optimization.ema_decay, which follows every step", "ema_update_step_interval", off=(5, 1)),
    *unsupported("the schedule falls to its end", "learning_rate_min_factor", off=(0.0,)),
    *unsupported("nearest is optimization.schedule: cosine_with_restarts", "custom_learning_rate_scheduler",
                  "scheduler_params"),
    *unsupported(
        "trained to the end", "unet.stop_training_after", "unet.stop_training_after_unit", "text_encoder.stop_training_after",
        "text_encoder.stop_training_after_unit", "text_encoder_2.stop_training_after",
        "text_encoder_2.stop_training_after_unit",
        off=("NEVER", 0, 30, 10000),
    ),
    *unsupported("both text encoders skip as many layers", "text_encoder_2_layer_skip", off=(0,)),
    *unsupported("nearest is text.max_tokens", "text_encoder_sequence_length", "text_encoder_2_sequence_length", off=(77, 512)),
    *unsupported("tokens of a tag are trained with concept.pivotal", "embedding_learning_rate", "preserve_embedding_norm",
                 "additional_embeddings", "additional_embeddings[].*"),
    *unsupported_unless(True, "tokens of a tag are trained with concept.pivotal", "text_encoder.train_embedding",
                        "text_encoder_2.train_embedding", "bundle_additional_embeddings"),
    *needless("of another training method; tokens of a tag are trained with concept.pivotal", "embedding.*"),
)  # fmt: skip

_LOSS: tuple[Row, ...] = (
    combined("mse_strength", "loss.type", default=1.0),
    combined("mae_strength", "loss.type"),
    combined("huber_strength", "loss.type"),
    combined("huber_delta", "loss.threshold", default=1.0),
    combined("log_cosh_strength", "loss.type"),
    combined("loss_weight_fn", "loss.min_snr_gamma", default="CONSTANT"),
    combined("loss_weight_strength", "loss.min_snr_gamma", default=5.0),
    combined("min_snr_gamma", "loss.min_snr_gamma"),
    combined("force_v_prediction", "loss.prediction_type"),
    combined("force_epsilon_prediction", "loss.prediction_type"),
    mapped("rescale_noise_scheduler_to_zero_terminal_snr", "zero_terminal_snr", truth, default=False),
    mapped("offset_noise_weight", "noise.offset", not_none, default=0.0),
    mapped("perturbation_noise_weight", "noise.input_perturbation", not_none, default=0.0),
    mapped("timestep_distribution", "noise.timestep_sampling", _timesteps, default="UNIFORM"),
    mapped("min_noising_strength", "noise.min_timestep", lambda value: int(float(value) * 1000), says="of 1000"),
    mapped("max_noising_strength", "noise.max_timestep", lambda value: max(1, int(float(value) * 1000)), says="of 1000"),
    combined("noising_bias", "noise.logit_mean"),
    combined("noising_weight", "noise.logit_deviation"),
    *unsupported("the base has no learnt variance", "vb_loss_strength", off=(1.0,)),
    *unsupported("losses are means, and rates are the user's", "loss_scaler", off=("NONE",)),
    *unsupported("there is no such weighting or noise", "generalized_offset_noise", "timestep_shift",
                  "dynamic_timestep_shifting",
                 "cep_gamma", "masked_prior_preservation_weight", "normalize_masked_area_loss", off=(1.0,)),
)  # fmt: skip

_DATA: tuple[Row, ...] = (
    mapped("resolution", "dataset.resolution", _side, default="512", says="of several the largest"),
    mapped("aspect_ratio_bucketing", "dataset.buckets", truth, default=True),
    mapped("masked_training", "dataset.masks", _masks, default=False, says="NAME-masklabel.png is read as NAME.mask.png"),
    combined("concepts", "dataset.subsets", says="an empty list"),
    left("concept_file_name", "dataset.subsets", says="a file of concepts; put its content into concepts"),
    left("concepts[].path", "dataset.subsets[].path_prefix", says="upload the folders together: loramill dataset create"),
    combined("concepts[].enabled", "dataset.subsets", default=True, says="every subset is on"),
    combined("concepts[].text.prompt_source", f"{_CAPTIONS}.source", default="sample", says="sample: a file beside it"),
    combined("concepts[].text.prompt_path", f"{_CAPTIONS}.text"),
    mapped("concepts[].balancing", "dataset.subsets[].repeats", _repeats, default=1.0),
    mapped("concepts[].repeats", "dataset.subsets[].repeats", _repeats),
    mapped("concepts[].loss_weight", "dataset.subsets[].weight"),
    mapped("concepts[].text.enable_tag_shuffling", f"{_CAPTIONS}.shuffle_tags", truth, default=False),
    mapped("concepts[].text.tag_delimiter", f"{_CAPTIONS}.separator", lambda value: str(value).strip()),
    mapped("concepts[].text.keep_tags_count", f"{_CAPTIONS}.keep_tags", default=1),
    combined("concepts[].text.tag_dropout_enable", f"{_CAPTIONS}.tag_dropout"),
    combined("concepts[].text.tag_dropout_mode", f"{_CAPTIONS}.tag_dropout"),
    combined("concepts[].text.tag_dropout_probability", f"{_CAPTIONS}.tag_dropout"),
    mapped("concepts[].image.enable_crop_jitter", "dataset.crop", _crop, default=True),
    mapped("concepts[].image.enable_random_flip", "dataset.subsets[].flip_probability", _half, default=True),
    *unsupported("nearest is validation.subset", "concepts[].validation_concept", "validation", "validate_after",
                  "validate_after_unit",
                 off=(1, "EPOCH")),
    *needless("a title alone", "concepts[].name", "concepts[].seed", "concepts[].type"),
    *needless("subfolders belong to a subset", "concepts[].include_subdirectories"),
    *needless("pictures and captions are varied without end", "concepts[].image_variations", "concepts[].text_variations"),
    *unsupported("pictures are counted by repeats", "concepts[].balancing_strategy", off=("REPEATS",)),
    *unsupported(
        "pictures are only mirrored and cropped, because latents are kept", "concepts[].image.enable_fixed_flip",
        "concepts[].image.enable_random_rotate", "concepts[].image.enable_fixed_rotate",
        "concepts[].image.random_rotate_max_angle",
        "concepts[].image.enable_random_brightness", "concepts[].image.enable_fixed_brightness",
        "concepts[].image.random_brightness_max_strength", "concepts[].image.enable_random_contrast",
        "concepts[].image.enable_fixed_contrast", "concepts[].image.random_contrast_max_strength",
        "concepts[].image.enable_random_saturation", "concepts[].image.enable_fixed_saturation",
        "concepts[].image.random_saturation_max_strength", "concepts[].image.enable_random_hue",
        "concepts[].image.enable_fixed_hue",
        "concepts[].image.random_hue_max_strength", "concepts[].image.enable_random_circular_mask_shrink",
        "concepts[].image.enable_random_mask_rotate_crop",
    ),
    *unsupported("a job has one resolution", "concepts[].image.enable_resolution_override",
                  "concepts[].image.resolution_override",
                 off=("512",)),
    *unsupported(
        "tags are dropped alike", "concepts[].text.tag_dropout_special_tags_mode", "concepts[].text.tag_dropout_special_tags",
        "concepts[].text.tag_dropout_special_tags_regex", off=("NONE",),
    ),
    *unsupported("CLIP reads capitals as small letters", "concepts[].text.caps_randomize_enable",
                  "concepts[].text.caps_randomize_mode",
                 "concepts[].text.caps_randomize_probability", "concepts[].text.caps_randomize_lowercase",
                 off=("capslock, title, first, random",)),
    *unsupported("masks count as they are", "unmasked_probability", "unmasked_weight", "custom_conditioning_image", off=(0.1,)),
)  # fmt: skip

_REST: tuple[Row, ...] = (
    combined("output_model_destination", "outputs.name"),
    mapped("output_dtype", "outputs.precision", precision, default="FLOAT_32"),
    combined("save_every", "outputs.save_every"),
    combined("save_every_unit", "outputs.save_every", default="NEVER"),
    combined("save_after", "outputs.save_every"),
    combined("save_after_unit", "outputs.save_every"),
    combined("sample_after", "previews.every_steps", default=10),
    combined("sample_after_unit", "previews.every_steps", default="MINUTE"),
    combined("samples", "previews.prompts", says="an empty list"),
    left("sample_definition_file_name", "previews.prompts", says="a file of prompts; write them into previews.prompts"),
    combined("samples[].prompt", "previews.prompts[].prompt"),
    combined("samples[].negative_prompt", "previews.prompts[].negative_prompt"),
    combined("samples[].seed", "previews.prompts[].seed"),
    combined("samples[].enabled", "previews.prompts"),
    combined("samples[].cfg_scale", "previews.guidance_scale"),
    combined("samples[].diffusion_steps", "previews.inference_steps"),
    combined("samples[].width", "previews.width"),
    combined("samples[].height", "previews.height"),
    combined("samples[].noise_scheduler", "previews.sampler"),
    *unsupported("previews are all drawn in one way, so that they can be compared",
                 "samples[].frames", "samples[].length", "samples[].random_seed",
                 "samples[].text_encoder_1_layer_skip", "samples[].text_encoder_2_layer_skip", "samples[].force_last_timestep",
                 "samples[].sample_inpainting", "samples[].base_image_path", "samples[].mask_image_path",
                 "samples[].text_encoder_1_sequence_length", "samples[].transformer_attention_mask", off=(1, 10.0, 512)),
    *needless("every file that is saved is kept", "rolling_backup", "rolling_backup_count", "save_skip_first",
                  "save_filename_prefix"),
    *needless("checkpoints are written by themselves, and a job goes on from them", "backup_after", "backup_after_unit",
              "backup_before_save", "continue_last_backup"),
    *needless("previews are of one kind", "sample_skip_first", "sample_image_format", "sample_video_format",
                  "sample_audio_format",
              "samples_to_tensorboard", "non_ema_sampling", "sample_format"),
    *needless("latents and embeddings are always kept", "image_caching", "text_caching", "clear_cache_before_training",
                  "latent_caching",
              "only_cache", "caching_threads", "prefetch_next_batch", "dataloader_threads"),
    *needless("files are written in all formats: loramill adapter download --format", "output_model_format",
                  "include_train_config",
              "prevent_overwrites"),
    *needless("the service decides where files lie and on which device a job runs", "workspace_dir", "cache_dir", "debug_dir",
              "debug_mode", "train_device", "temp_device", "multi_gpu", "device_indexes", "gradient_reduce_precision",
              "fused_gradient_reduce", "async_gradient_reduce", "async_gradient_reduce_buffer", "async_offloading", "compile",
              "attention_mechanism", "layer_offload_fraction", "enable_async_offloading", "enable_activation_offloading",
              "frames",
              "unet.offload_fraction", "unet.activation_offloading", "text_encoder.offload_fraction",
              "text_encoder.activation_offloading", "text_encoder_2.offload_fraction", "text_encoder_2.activation_offloading",
              "text_encoder.gradient_checkpointing", "text_encoder_2.gradient_checkpointing", "vae.gradient_checkpointing"),
    *needless("logs and figures: loramill job logs, loramill job metrics", "tensorboard", "tensorboard_expose",
                  "tensorboard_always_on",
              "tensorboard_port"),
    *needless("the version of the file", "__version", "optimizer.__version"),
)  # fmt: skip

_OPTIMIZER: tuple[Row, ...] = (
    *needless("how an optimizer is computed changes nothing here", *(f"optimizer.{key}" for key in (
        "adam_w_mode", "foreach", "fused", "fused_back_pass", "capturable", "differentiable", "is_paged", "fsdp_in_use",
        "compile",
        "min_8bit_size", "quant_block_size", "block_wise", "log_every", "use_triton", "stochastic_rounding", "state_precision",
        "optim_bits", "percentile_clipping",
    ))),
    *unsupported("of an optimizer only weight_decay and betas have fields", *(f"optimizer.{key}" for key in (
        "alpha", "amsgrad", "beta3", "bias_correction", "centered", "clip_threshold", "d0", "d_coef", "dampening", "decay_rate",
        "decouple", "eps", "eps2", "growth_rate", "initial_accumulator_value", "initial_accumulator", "lr_decay", "max_unorm",
        "maximize", "momentum", "nesterov", "no_prox", "r", "relative_step", "safeguard_warmup", "scale_parameter",
        "use_bias_correction", "warmup_init", "weight_lr_power", "decoupled_decay", "fixed_decay", "weight_decouple", "rectify",
        "degenerated_to_sgd", "k", "xi", "n_sma_threshold", "ams_bound", "adanorm", "adam_debias", "slice_p", "cautious",
        "prodigy_steps", "use_speed",
        "use_cautious", "use_grams", "use_adopt", "use_orthograd",
        "nnmf_factor", "orthogonal_gradient", "use_atan2", "beta1_warmup", "min_beta1", "kourkoutas_beta", "schedulefree_c",
        "ns_steps", "MuonWithAuxAdam", "muon_hidden_layers", "muon_adam_regex", "muon_adam_lr", "muon_te1_adam_lr",
        "muon_te2_adam_lr", "muon_adam_config", "normuon_variant", "beta2_normuon", "low_rank_ortho",
        "ortho_rank", "accelerated_ns", "cautious_wd", "approx_mars", "spectral_normalization", "stochastic_sign",
        "centered_wd",
        "centered_wd_mode", "factored_2nd", "fisher_wd", "orthogonal_sinkhorn", "sinkhorn_iterations", "normed_momentum",
        "nesterov_coef", "snr_cond", "geometric_wd",
    )), off=(1e-8, "disabled", "full", 0.0)),
    *unsupported_unless(True, "of an optimizer only weight_decay and betas have fields", *(f"optimizer.{key}" for key in (
        "weight_decay_by_lr", "split_groups", "split_groups_mean", "factored", "factored_fp32", "use_stableadamw", "d_limiter",
        "use_schedulefree", "rms_rescaling",
    ))),
    *needless("of other model types, or of this one without a meaning for adapters", "prior.*", "transformer.*",
              "unconditional_transformer.*", "text_encoder_3.*", "text_encoder_4.*", "text_encoder_3_layer_skip",
              "text_encoder_4_layer_skip", "effnet_encoder.*", "decoder.*", "decoder_text_encoder.*", "decoder_vqgan.*",
              "cloud.*",
              "secrets.*", "optimizer_defaults.*", "vae.*", "unet.*", "text_encoder.*", "text_encoder_2.*"),
)  # fmt: skip

ONETRAINER = Program("onetrainer", "OneTrainer", (*_MODEL, *_TRAINING, *_LOSS, *_DATA, *_REST, *_OPTIMIZER), combine)
