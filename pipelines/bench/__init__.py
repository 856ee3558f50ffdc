"""Measurements that `fovea bench NAME` makes: one file a bench."""
