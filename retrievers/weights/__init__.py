"""Weights that ship with Fovea, each with its card."""
