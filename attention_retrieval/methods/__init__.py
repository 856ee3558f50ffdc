"""Attention methods, one file each: what a model's decoding step looks at."""
