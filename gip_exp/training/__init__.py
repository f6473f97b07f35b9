"""LoRA fine-tuning in one or several processes, checkpoints, checks of the losses."""
