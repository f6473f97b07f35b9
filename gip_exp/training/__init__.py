"""LoRA fine-tuning: one process or several, checkpoints, whether the losses are a result."""
