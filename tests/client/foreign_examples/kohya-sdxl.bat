rem a style, on a GPU of 24 GB
set MODEL=sd_xl_base_1.0.safetensors
accelerate launch --mixed_precision bf16 sdxl_train_network.py ^
  --pretrained_model_name_or_path %MODEL% --dataset_config dataset.toml --output_name style --save_model_as safetensors ^
  --network_module networks.lora --network_dim 32 --network_alpha 16 --learning_rate 1e-4 --text_encoder_lr 1e-5 1e-5 ^
  --optimizer_type AdaFactor --optimizer_args "scale_parameter=False" "relative_step=False" "warmup_init=False" ^
  --lr_scheduler constant_with_warmup --lr_warmup_steps 100 --max_train_steps 3000 --train_batch_size 4 ^
  --resolution 1024,1024 --mixed_precision bf16 --save_precision bf16 --gradient_checkpointing --cache_latents_to_disk ^
  --no_half_vae --min_snr_gamma 5 --noise_offset 0.0357 --zero_terminal_snr --v_parameterization --ip_noise_gamma 0.05
