"""The language model and the encoder: locating, checking and loading them, prompts, the device."""
