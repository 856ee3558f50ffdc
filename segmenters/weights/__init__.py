"""Trained weights that ship with Fovea: safetensors, each with a card that names its data, command, seed and scores."""
