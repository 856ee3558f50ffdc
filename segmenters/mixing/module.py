"""Mixing: the weights of a mixer at one width, and its three forms."""

from __future__ import annotations

from torch import Tensor, nn

from fovea.rag.mixer import Mixer, State


class Mixing(nn.Module):
    """A mixer that was built: parts by name, `width`, and `depth`, the place of its layer from 0, first, to 1, last."""

    def __init__(self, mixer: Mixer, width: int, depth: float = 0.0) -> None:
        super().__init__()
        self.mixer, self.width, self.depth = mixer, width, depth
        for name, part in mixer.parts(width).items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)
            elif isinstance(part, nn.Parameter):
                self.register_parameter(name, part)
            else:
                self.register_buffer(name, part)

    def parallel(self, x: Tensor) -> Tensor:
        """`(B, T, width)` to the same, for training."""
        return self.mixer.parallel(self, x)

    forward = parallel

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """One token `(B, width)` to the same, and what is kept; without a state it is the first."""
        y, state = self.chunk(x[:, None], state)
        return y[:, 0], state

    def chunk(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The next piece `(B, T, width)`, of any length from 1, to the same, and what is kept."""
        return self.mixer.chunk(self, x, State() if state is None else state)

    def state_size(self, tokens: int) -> int:
        """Numbers kept after so many tokens."""
        return self.mixer.state_size(self.width, tokens)
