"""RazorAttention: heads that find what was said before read everything; for the others one token stands for the rest.

    echo(h)       attention to earlier copies of the same token, in random tokens said four times (`probes/repeats.py`)
    induction(h)  attention to the tokens behind those copies
    reads everything   the kv heads with the top 1 % of echo or the top 14 % of induction, the best of their group
    the others         sinks, the last max(4000, N / 5) tokens, and one token for the N_d dropped between them: their
                       mean key and mean value, which count N_d times:  b = log N_d

The paper keeps 4 sinks: `sinks: 4` beside this. A published vendor's version lets the probe look ahead, takes echo
heads of the first layer alone, counts the token once and has a fixed window; the paper is followed here.
(H. Tang et al., "RazorAttention: efficient KV cache compression through retrieval heads", 2024, arXiv 2407.15891)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, FiniteFloat, PositiveInt, field_validator

from fovea.attention_retrieval.head_files import rectangular
from fovea.attention_retrieval.heads.heads import Heads
from fovea.attention_retrieval.heads.scores import all_or, best, by_group, check_shape

Share = Annotated[float, Field(ge=0, le=1)]
Table = list[list[FiniteFloat]]


class Razor(Heads, name="razor"):
    """Heads by how much they echo and induce."""

    scores: dict[Literal["echo", "induction"], Table] | Literal["auto"] = "auto"
    """`{echo: [[...]], induction: [[...]]}`, of each query head, a row a layer; `auto` takes those of the model's own
    table, made at first use, as `fovea heads MODEL --kind repeats` does."""

    echo: Share = 0.01
    """The share of kv heads that read the whole text for how they echo; of one at least, unless it is 0."""

    induction: Share = 0.14
    """The share of kv heads that read the whole text for how they induce; of one at least, unless it is 0."""

    window: PositiveInt = 4000
    """The last tokens that the others read, at least."""

    share: Share = 0.2
    """And at least this share of the text, as long as it was when its index was made."""

    compensation: bool = True
    """Whether one token stands for those that these heads do not read."""

    @field_validator("scores")
    @classmethod
    def _tables(cls, scores: dict[str, list[list[float]]] | str) -> dict[str, list[list[float]]] | str:
        if not isinstance(scores, str):
            if len(scores) != 2:
                raise ValueError("scores must have echo and induction")
            if len({np.shape(rectangular(table)) for table in scores.values()}) != 1:
                raise ValueError("echo and induction must be of as many heads")
        return scores

    @property
    def wants_table(self) -> str:
        """`repeats`, where they are `auto`."""
        return "repeats" if self.scores == "auto" else ""

    def with_table(self, scores: Mapping[str, list[list[float]]]) -> Razor:
        """The same, by these."""
        return self.model_copy(update={"scores": {name: scores[name] for name in ("echo", "induction")}})

    @property
    def compensate(self) -> bool:
        """`compensation`."""
        return self.compensation

    def check(self, layers: int, query_heads: int, kv_heads: int) -> None:
        """Scores must be those of a model of this shape."""
        table = self.scores if isinstance(self.scores, str) else self.scores["echo"]
        check_shape(table, layers, query_heads, "fovea heads MODEL --kind repeats")

    def windows(self, layer: int, kv_heads: int, tokens: int) -> np.ndarray:
        """All, or the larger of `window` and `share` of the text."""
        assert not isinstance(self.scores, str)
        echo, induction = (by_group(self.scores[name], kv_heads) for name in ("echo", "induction"))
        reads = _top(echo, self.echo) | _top(induction, self.induction)
        return all_or(max(self.window, int(self.share * tokens)), reads[layer], tokens)


def _top(scores: np.ndarray, share: float) -> np.ndarray:
    """Which heads are the `share` with the largest scores, one at least unless it is 0."""
    return best(scores, max(round(share * scores.size), 1) if share else 0)
