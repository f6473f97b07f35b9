"""The language model and the encoders: locating, checking and loading them, prompts, the device."""
