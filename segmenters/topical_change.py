"""TopicalChange: are two paragraphs that follow each other on one topic? Cut where they are not.

    P(same) of every two neighbouring paragraphs; cut where P(same) < threshold

D. Aumiller, S. Almasian, S. Lackner and M. Gertz, "Structural text segmentation of legal documents", ICAIL 2021. Units
are paragraphs, never sentences; a text that marks none is taken sentence by sentence, for which it was not made.

P(same) comes from heads on frozen sentence vectors (`fovea.segmenters.pairs`), one or several, or from a cross-encoder
that reads both texts (`scorer: {model: dennlinger/roberta-cls-consec}`), as in the paper.

Decisions are independent, unless a `prior` on the length of sections is given: then the boundaries are those of the
most likely sections, found by Viterbi.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from fovea.rag.placed import NameOrPath
from fovea.rag.requirements import Requirement
from fovea.rag.trained import Trained, load
from fovea.segmenters.cross_scorer import CrossScorer
from fovea.segmenters.gaps import Probability
from fovea.segmenters.learned import LearnedSegmenter
from fovea.segmenters.lengths import Lengths

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder
    from fovea.segmenters.units import Units

Reader = Callable[[int, int], "np.ndarray"]
"""P(same) `(scorers, stop - start)` of the gaps `start` to `stop` between paragraphs, of the text around them alone."""
BATCH = 1024
"""Pairs scored at a time."""
TIE = 0.001
"""Taken off a share of votes, so that a tie is no boundary; what is left of it orders equal shares by their mean."""


class TopicalChangeSegmenter(LearnedSegmenter, name="topical_change"):
    """Cuts between paragraphs that are not on one topic. O(units * dim), or a run of the model for each paragraph."""

    weights: NameOrPath | tuple[NameOrPath, ...] = "topical_change"  # type: ignore[assignment]
    """The name of shipped weights, or the path of one's own; several make an ensemble."""
    scorer: CrossScorer | None = None
    """A cross-encoder to ask in place of the weights."""
    threshold: Probability | None = None
    """Cut where P(same) is lower. Left out, what was best for the weights on texts they were not trained on; a half for
    a cross-encoder."""
    ensemble: Literal["vote", "mean"] = "mean"
    """How several weights decide: `mean` of their P(same), against the mean of their thresholds, or `vote`, each with
    its own threshold; more than half of the votes make a boundary, a tie none."""
    prior: Lengths | None = None
    """How long sections are, in paragraphs."""
    level: Literal["section", "subsection"] = "section"
    """`subsection` looks again inside each section, seen as a text of its own, with `subsection_threshold`; boundaries
    of sections stay boundaries."""
    subsection_threshold: Probability | None = None
    """Cut a section where P(same) is lower. Left out, halfway between `threshold` and 1."""

    @cached_property
    def heads(self) -> tuple[Trained, ...]:
        """The weights, one or several; none where a cross-encoder is asked. Raises ModelError without them."""
        if self.scorer:
            return ()
        return tuple(load(w, self.name) for w in ([self.weights] if isinstance(self.weights, str) else self.weights))

    def content(self) -> dict[str, Any]:
        """The content of the weights, one or several, or of the cross-encoder."""
        digests = [head.digest for head in self.heads]
        return {"weights": digests, **({"scorer": self.scorer.identity} if self.scorer else {})}

    def vectors(self, units: Units, encoder: Encoder) -> np.ndarray:
        """Vectors of the units: float32 `(units, dim)`; raises ConfigError for another encoder than the weights'."""
        self.fit(encoder)
        return units.vectors(self.encoder or encoder)

    def fit(self, encoder: Encoder) -> None:
        """Raise ConfigError unless all weights read the vectors of the encoder; a cross-encoder reads none."""
        for head in self.heads:
            head.check(self.encoder or encoder)

    def reads(self) -> Iterator[Requirement]:
        """What reads the weights, or the cross-encoder in their place."""
        return self.scorer.requirements() if self.scorer else super().reads()

    def scores(self, units: Units, encoder: Encoder) -> np.ndarray:
        """1 - P(same), or the share of votes, where a paragraph ends, else 0: float32 `(gaps,)`.

        Raises ConfigError for another encoder than the weights', ModelError for a model that cannot be had.
        """
        import numpy as np

        found = np.zeros(len(units) - 1, np.float32)
        gaps = np.flatnonzero(self._may(units))
        if len(gaps):
            read = self._ask(units, gaps) if self.scorer else self._read(units, gaps, encoder)
            change = self._change(read(0, len(gaps)), self._thresholds)
            found[gaps] = self._inside(change, read) if self.level == "subsection" else change
        return found

    def choose(self, scores: np.ndarray, count: int | None) -> np.ndarray:
        """Where scores are over the bar, or as the prior would have it; the `count` highest where that is given."""
        from fovea.segmenters.decode import best

        if count is not None:
            return best(scores, count)
        if self.level == "subsection":
            return scores > self._bar(self._inner_thresholds)
        return self._sections(scores)

    def _sections(self, scores: np.ndarray) -> np.ndarray:
        import numpy as np

        from fovea.segmenters.decode import viterbi

        bar = self._bar(self._thresholds)
        if self.prior is None:
            return scores > bar
        odds, bar = np.clip(scores, 1e-6, 1 - 1e-6), float(np.clip(bar, 1e-6, 1 - 1e-6))
        gains = np.log(odds / (1 - odds)) - np.log(bar / (1 - bar))
        return viterbi(gains, self.prior.log_probabilities())

    def _inside(self, change: np.ndarray, read: Reader) -> np.ndarray:
        """The scores of subsections: 1 where a section ends, and inside each those of the section by itself."""
        import numpy as np

        ends = self._sections(change)
        stops = np.append(np.flatnonzero(ends), len(change)).tolist()
        for start, stop in zip([0, *(stop + 1 for stop in stops)], stops):
            if start < stop:
                change[start:stop] = self._change(read(start, stop), self._inner_thresholds)
        change[ends] = 1
        return change

    def _read(self, units: Units, gaps: np.ndarray, encoder: Encoder) -> Reader:
        """P(same) by the heads. Vectors are made once, what a paragraph differs from anew for each range asked for."""
        import numpy as np

        from fovea.segmenters.pairs import Paragraphs, features, same_topic

        vectors = self.vectors(units, encoder)
        edges = [0, *(gaps + 1).tolist(), len(units)]
        heads = [{name: array.astype(np.float32) for name, array in head.arrays.items()} for head in self.heads]

        def read(start: int, stop: int) -> np.ndarray:
            paragraphs = Paragraphs.between(vectors, edges[start : stop + 2])
            found = []
            for at in range(0, stop - start, BATCH):
                left = np.arange(at, min(at + BATCH, stop - start))
                seen = features(paragraphs, left, left + 1)
                found.append([same_topic(seen, arrays) for arrays in heads])
            return np.concatenate(found, axis=1)

        return read

    def _ask(self, units: Units, gaps: np.ndarray) -> Reader:
        """P(same) by the cross-encoder, asked once."""
        assert self.scorer is not None
        edges = [0, *(gaps + 1).tolist(), len(units)]
        texts = [units.text[units.spans[a].start : units.spans[b - 1].end] for a, b in pairwise(edges)]
        same = self.scorer.same_topic(list(pairwise(texts)))
        return lambda start, stop: same[None, start:stop]

    def _change(self, same: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
        """From P(same) `(scorers, gaps)` to scores `(gaps,)` under 1."""
        import numpy as np

        change = 1 - same.mean(0)
        if self._votes:
            share = (same < np.array(thresholds)[:, None]).mean(0)
            change = np.maximum(share - TIE * (1 - change), 0)
        return np.minimum(change, np.float32(1 - 1e-6)).astype(np.float32)

    @property
    def _votes(self) -> bool:
        several = isinstance(self.weights, tuple) and len(self.weights) > 1
        return self.ensemble == "vote" and several and self.scorer is None

    def _bar(self, thresholds: Sequence[float]) -> float:
        """The score over which there is a boundary."""
        return 0.5 if self._votes else 1 - sum(thresholds) / len(thresholds)

    @property
    def _thresholds(self) -> list[float]:
        """One for all scorers or one each, for sections."""
        if self.threshold is not None:
            return [self.threshold]
        return [float(head.about["threshold"]) for head in self.heads] or [0.5]

    @property
    def _inner_thresholds(self) -> list[float]:
        """One for all scorers or one each, for subsections."""
        if self.subsection_threshold is not None:
            return [self.subsection_threshold]
        return [(1 + threshold) / 2 for threshold in self._thresholds]
