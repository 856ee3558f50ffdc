"""What formulas are written down with, in plain numpy."""

import numpy as np
import torch

from fovea.segmenters.mixing.module import Mixing

WIDTH, TOKENS = 16, 21


def made(mixer, width=WIDTH, tokens=TOKENS, depth=0.0):
    """A module, an input of one sequence, what it makes of it, and its weights as numpy, to multiply from the right."""
    torch.manual_seed(7)
    net = Mixing(mixer, width, depth)
    x = torch.randn(1, tokens, width)
    weights = {name: p.detach().numpy().astype(float) for name, p in net.named_parameters()}
    weights = {name.removesuffix(".weight"): w.T if name.endswith(".weight") else w for name, w in weights.items()}
    return x[0].numpy().astype(float), net(x)[0].detach().numpy(), weights


def heads(x, d):
    return x.reshape(len(x), -1, d)


def softmax(scores):
    weights = np.exp(scores - np.max(scores))
    return weights / weights.sum()


def turned(x, position):
    half = len(x) // 2
    angles = position * 10_000.0 ** (-np.arange(half) / half)
    first, second = x[:half], x[half:]
    cos, sin = np.cos(angles), np.sin(angles)
    return np.concatenate([first * cos - second * sin, first * sin + second * cos])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))
