"""Segmenters: one file a method. The packer makes chunks of the cuts they propose."""
