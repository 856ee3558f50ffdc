"""Corrections, one file each: what stands for the tokens that a search did not return."""
