"""Training in MLX: LFM2-Audio's loss, fine-tuning of any checkpoint, and how `nano` was made."""
