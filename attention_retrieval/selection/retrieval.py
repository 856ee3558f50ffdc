"""RetrievalAttention's selection: an index a kv head, searched by each query of its group.

    out = merge(near, attend(q, top_k of index.search(q)))      and what a correction makes of the rows not found

Keys and queries are distributed differently, so an index may learn from the prompt's own queries. (D. Liu et al.,
"RetrievalAttention: Accelerating long-context LLM inference via vector retrieval", 2024)
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from fovea.attention_retrieval.corrections.correction import Corrected, Correction
from fovea.attention_retrieval.index.blas import one_thread
from fovea.attention_retrieval.index.engine import NO_BIAS, Engine, Found, Index, Keys, recall
from fovea.attention_retrieval.index.state import damaged, part, under
from fovea.attention_retrieval.partial import Partial, merge
from fovea.attention_retrieval.selection.choice import Wanted, chosen
from fovea.attention_retrieval.selection.pool import side_by_side
from fovea.attention_retrieval.selection.selection import Queries, Read, Selected, Selection
from fovea.attention_retrieval.vectors import Vectors
from fovea.rag.component import SpeedOnly

FEW = 8192
"""Below so many rows, heads are searched one after the other: handing them to threads takes longer than the search."""


class RetrievalSelection(Selection, name="retrieval"):
    """The `top_k` rows that an index finds for each query, of each kv head by itself."""

    top_k: PositiveInt = 100
    """Rows that each query attends to."""

    engine: Engine | Literal["auto"] = "auto"
    """The index of each head; `auto` chooses by the number of rows and whether they will be asked again."""

    correct: Correction | None = Field(default_factory=lambda: Correction.model_validate({"use": "tail"}))
    """What stands for the rows that were not found: `{use: tail}`, `{use: lift}`, or null for nothing."""

    reuse: bool = False
    """Whether the text will be asked more than once: then a slower build that searches faster pays."""

    build_seconds: PositiveFloat | None = None
    """What the index of one head may take to build; `auto` takes another engine where it expects more."""

    audit_every: NonNegativeInt = 64
    """At every so many steps, one head's search is repeated exactly, for the report and so that the index may learn;
    0 never does."""

    threads: SpeedOnly[NonNegativeInt] = 0
    """Threads that search, heads side by side; 0 is one a processor."""

    @property
    def finds(self) -> bool:
        """Always."""
        return True

    @property
    def needs_queries(self) -> bool:
        """Where an index or the correction learns from them, or `auto` may choose one that does."""
        learns = self.engine == "auto" or self.engine.needs_queries
        return learns or (self.correct is not None and self.correct.needs_queries)

    def over(
        self, keys: Vectors, values: Vectors, start: int, stop: int, *, queries: Queries | None = None, seed: int = 0
    ) -> RetrievalSelected:
        """The engine is chosen by the first head, and builds the index of each; heads side by side."""
        asked = queries or Queries(lambda head: None, lambda head: np.empty(0, np.int64))
        wanted = Wanted(self.engine, self.top_k, self.reuse, self.build_seconds)
        engine, why = chosen(wanted, Keys(keys.head(0), start, stop), asked(0))

        def one(head: int) -> Searched:
            began = time.perf_counter()
            rows = Keys(keys.head(head), start, stop, self.bias(stop, seed, head))
            mine = asked(head)
            index = engine.build(rows, mine if engine.needs_queries else None, seed=seed + head)
            values_of = values.head(head)
            corrected = self.correct.over(rows, values_of, mine, seed=seed + head) if self.correct else None
            return Searched(index, corrected, time.perf_counter() - began)

        with one_thread():
            heads = side_by_side(one, range(keys.heads), self.threads_for(stop - start))
        return RetrievalSelected(self, (engine, why), values, heads, start, stop, seed)

    def restore(
        self, keys: Vectors, values: Vectors, state: Mapping[str, np.ndarray], start: int, stop: int
    ) -> RetrievalSelected:
        """Every part goes back to the engine and the correction that gave it."""
        seed = int(part(state, "seed", np.int64, (1,))[0])
        if part(state, "rows", np.int64, (2,)).tolist() != [start, stop]:
            raise damaged(f"part 'rows' is not of rows {start} to {stop}")
        try:
            said = json.loads(bytes(part(state, "engine", np.uint8, (None,))))
            engine, why = Engine.model_validate(said["engine"]), str(said["why"])
        except (ValueError, KeyError, TypeError) as error:
            raise damaged(f"part 'engine' names no engine: {error}") from None

        def one(head: int) -> Searched:
            rows = Keys(keys.head(head), start, stop, self.bias(stop, seed, head))
            index, corrected = engine.restore(rows, under(f"{head}.index.", state)), None
            if self.correct:
                saved = under(f"{head}.correction.", state)
                corrected = self.correct.restore(index.keys, values.head(head), saved)
            return Searched(index, corrected, 0.0)

        return RetrievalSelected(self, (engine, why), values, [one(n) for n in range(keys.heads)], start, stop, seed)

    def threads_for(self, rows: int) -> int:
        """Threads that pay for an index over `rows`."""
        return 1 if rows < FEW else self.threads

    def bias(self, rows: int, seed: int, head: int) -> np.ndarray:
        """What the correction adds to the logits of a head's first `rows` rows."""
        return self.correct.bias(rows, seed=seed, layer=0, head=head) if self.correct else NO_BIAS


@dataclass(frozen=True)
class Searched:
    """One head's index, its correction, and the seconds that both took to build."""

    index: Index
    corrected: Corrected | None
    seconds: float


class RetrievalSelected(Selected):
    """An index a head."""

    def __init__(
        self,
        settings: RetrievalSelection,
        chosen: tuple[Engine, str],
        values: Vectors,
        heads: Sequence[Searched],
        start: int,
        stop: int,
        seed: int,
    ) -> None:
        self.settings, self.values, self.heads, self.seed = settings, values, heads, seed
        self.engine, self.why = chosen
        self.start, self.stop, self.reader, self.steps = start, stop, self.engine.name, 0

    def attend(self, q: np.ndarray, near: Partial) -> Read:
        """Heads side by side, each by its index."""
        read, found = self._read(q, near, lambda head, k: self.heads[head].index.search(q[head], k))
        return read._replace(recalls=self._audited(q, found))

    def reread(self, q: np.ndarray, near: Partial, ids: np.ndarray) -> Read:
        """The `top_k` best of the rows `ids` in place of a search; what corrects stands for the others."""

        def best(head: int, k: int) -> Found:
            keys, mine = self.heads[head].index.keys, ids[head][ids[head] >= 0]
            return Found(*keys.best_of(q[head], mine, k), len(mine), len(mine) * keys.rows.row_bytes)

        return self._read(q, near, best)[0]

    def _read(self, q: np.ndarray, near: Partial, search: Callable[[int, int], Found]) -> tuple[Read, Sequence[Found]]:
        """Attention to what `search` finds for each head, and that."""
        from fovea.attention_retrieval.kernels.attend import attend_ids

        k = self._count() + (self.settings.correct.more if self.settings.correct else 0)

        def one(head: int) -> tuple[Partial, Found, float]:
            began, mine = time.perf_counter(), self.heads[head]
            found = search(head, k)
            seconds = time.perf_counter() - began
            if mine.corrected:
                return mine.corrected.attend(q[head], found), found, seconds
            return Partial(*attend_ids(self.values.head(head).stored, found.ids, found.logits)), found, seconds

        threads = self.settings.threads_for(self.stop - self.start)
        parts, found, seconds = zip(*side_by_side(one, range(len(self.heads)), threads))
        far = Partial(np.stack([each.out for each in parts]), np.stack([each.lse for each in parts]))
        rows, size = np.array([(each.scanned, each.bytes) for each in found]).T
        plain = [self._without_bias(head, each) for head, each in enumerate(found)]
        return Read(merge(near, far), rows, size, np.array(seconds), plain), found

    def _count(self) -> int:
        """`top_k`, or as many as there are."""
        return min(self.settings.top_k, self.stop - self.start)

    def _without_bias(self, head: int, found: Found) -> Found:
        """Logits as the model has them."""
        bias = self.heads[head].index.keys.bias
        return found._replace(logits=found.logits - bias[found.ids]) if len(bias) else found

    def insert(self, stop: int) -> None:
        """Every index takes the rows in; where one fails, none has: heads that were ahead are not kept."""

        def one(head: int) -> None:
            mine = self.heads[head]
            mine.index.keys.bias = self.settings.bias(stop, self.seed, head)
            mine.index.insert(stop)
            if mine.corrected:
                mine.corrected.insert(mine.index.keys)

        with one_thread():
            side_by_side(one, range(len(self.heads)), self.settings.threads_for(stop - self.start))
        self.stop = stop

    def state(self) -> dict[str, np.ndarray]:
        """Every head's index and correction, the engine's settings, the rows, and the seed."""
        said = json.dumps({"engine": self.engine.settings(), "why": self.why}).encode()
        arrays = {"seed": np.array([self.seed], np.int64), "rows": np.array([self.start, self.stop], np.int64)}
        arrays["engine"] = np.frombuffer(said, np.uint8)
        for n, mine in enumerate(self.heads):
            arrays |= {f"{n}.index.{name}": array for name, array in mine.index.state().items()}
            corrections = mine.corrected.state() if mine.corrected else {}
            arrays |= {f"{n}.correction.{name}": array for name, array in corrections.items()}
        return arrays

    def _audited(self, q: np.ndarray, found: Sequence[Found]) -> dict[int, float]:
        """Repeat one head's search exactly, in turn, where it is time."""
        self.steps += 1
        every, k = self.settings.audit_every, self._count()
        if not every or self.steps % every:
            return {}
        head = (self.steps // every) % len(self.heads)
        index = self.heads[head].index
        exact = index.keys.best(q[head], k)
        index.repair(q[head], exact.ids)
        return {head: float(recall(found[head].ids[:, :k], exact.ids).mean())}
