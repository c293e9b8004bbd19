#!/bin/bash
MODEL="/models/v1-5.safetensors"
accelerate launch --num_cpu_threads_per_process 1 train_network.py \
  --pretrained_model_name_or_path="$MODEL" --train_data_dir="./img" --reg_data_dir ./reg \
  --output_dir=out --output_name="my cat v1" --resolution=512,512 --network_module=lycoris.kohya \
  --network_args "algo=loha" "conv_dim=8" "conv_alpha=1" "preset=attn-mlp" "dora_wd=True" \
  --network_dim=16 --network_alpha=8 --unet_lr=1e-4 --text_encoder_lr 5e-5 --max_train_epochs=10 \
  --optimizer_type=AdamW8bit --optimizer_args "weight_decay=0.1" "betas=0.9,0.99" --lr_scheduler=cosine_with_restarts \
  --lr_scheduler_num_cycles=3 --lr_warmup_steps=100 --train_batch_size=2 --mixed_precision=fp16 --save_precision=fp16 \
  --cache_latents --xformers --shuffle_caption --keep_tokens=1 --caption_extension=".txt" --min_snr_gamma=5 --noise_offset=0.05 \
  --enable_bucket --min_bucket_reso=256 --color_aug --clip_skip=2 --seed 42 --sample_every_n_epochs=1 --save_every_n_epochs=1 --no_such_key 3
