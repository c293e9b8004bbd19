export MODEL_NAME="runwayml/stable-diffusion-v1-5"
accelerate launch --mixed_precision="fp16" train_dreambooth_lora.py \
  --pretrained_model_name_or_path=$MODEL_NAME  \
  --instance_data_dir="dog" --instance_prompt="a photo of sks dog" --with_prior_preservation --class_prompt="a photo of dog" \
  --resolution=512 --train_batch_size=1 --gradient_accumulation_steps=4 --learning_rate=1e-4 --lr_scheduler="constant" --lr_warmup_steps=0 \
  --max_train_steps=500 --validation_prompt="A photo of sks dog in a bucket" --validation_epochs=25 --seed="0" --report_to="wandb" --push_to_hub
