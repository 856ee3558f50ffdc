"""Mixing: what mixers are made of in torch, and the layers and stages that hold them."""
