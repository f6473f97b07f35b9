"""The language model and the encoder: where they are, whether they can be loaded, loading them, prompts, the device."""
