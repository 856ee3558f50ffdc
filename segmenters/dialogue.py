"""Dialogue: where chats, meetings and calls, told in turns, come to another subject.

Units are turns (`fovea.segmenters.turns`). Each gap between two has a log odds, linear in what stands around it
(`fovea.segmenters.dialogue_features`) and in what greetings, silence and speakers say (`fovea.segmenters.greetings`).
There are two kinds of dialogue. Where short ones follow each other, what differs across a gap tells; in a meeting of
one company on one product, what is said where an item ends ("let's move on") does, so there the vectors themselves are
read too. And how long a subject lasts differs, some ten turns or fifty and more, so lengths have several priors,
log-normal around 3 to 28 turns of the first kind, 28 to 150 of the second. A priori those near a sixth of the text, at
least 4 and at most 100 turns, are likelier, since people speak of a handful of subjects in a sitting; then each counts
by how well the text agrees with it (`fovea.segmenters.semi_markov`).

The longer the segments, the less it is sure at which turn one ends. So the posterior is summed over a tenth of a mean
segment on both sides, a topic ends where that is over the threshold, and the boundary is the likeliest gap there.

The parts are M. Hearst's (TextTiling, 1997), M. Galley et al.'s (features of both sides, 2003) and the semi-Markov
chain of S. Sarawagi and W. Cohen (2004); what is learned are some hundred weights, on splices and meetings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fovea.rag.placed import NameOrPath
from fovea.rag.segmenter import Cut
from fovea.segmenters.gaps import Probability
from fovea.segmenters.learned import LearnedSegmenter

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder
    from fovea.rag.types import Document
    from fovea.segmenters.units import Units

SPLICED, WHOLE = 0, 1
"""The kinds: short dialogues one after the other, and a long one of several subjects."""
MEANS = (
    *((mean, SPLICED) for mean in (3.0, 4.5, 7.0, 11.0, 17.0, 28.0)),
    *((mean, WHOLE) for mean in (28.0, 50.0, 90.0, 150.0)),
)
"""Mean lengths, in turns, that priors are centred on, and of which kind they are."""
SUBJECTS, SHORTEST_MEAN, LONGEST_MEAN = 6, 4.0, 100.0
"""In how many parts a text most likely falls, and between which mean lengths that is believed."""
DOUBT = 0.5
"""Standard deviation of the logarithm of the mean length around that."""
TRUST = 0.1
"""How much evidence counts for a prior: windows reach over some ten gaps, which so tell the same."""
NEAR = 0.1
"""Of a mean segment, on either side of a gap, where its boundary may really lie."""
SPREAD = 0.6
"""Standard deviation of the logarithm of lengths."""
LONGEST = 800
"""Turns in a segment at most."""
INSIDE = 0.2
"""The strength of a sentence end inside a turn, for a packer that must cut there."""
SURE = 8.0
"""Log odds beyond which nothing is added."""


class DialogueSegmenter(LearnedSegmenter, name="dialogue"):
    """Cuts between turns where the subject changes. O(turns * dim), and O(turns * 800) for the lengths."""

    weights: NameOrPath = "dialogue"
    """The name of shipped weights, or the path of one's own."""
    mean_turns: Annotated[float, Field(gt=1)] | None = None
    """Turns of a segment on average, where that is known. Left out, the text decides."""
    threshold: Probability = 0.6
    """The posterior over which a topic ends."""

    def scores(self, units: Units, encoder: Encoder) -> np.ndarray:
        """The posterior of a boundary at each gap: float64 `(gaps,)`.

        Raises ConfigError for another encoder than that of the weights, ModelError for weights that cannot be had.
        """
        from fovea.segmenters.greetings import evidence
        from fovea.segmenters.semi_markov import posterior
        from fovea.segmenters.turns import turns
        from fovea.segmenters.units import Units

        said = turns(units.texts)
        words = [turn.words for turn in said]
        gains = log_odds(words, self.vectors(Units.given(words), encoder), self.trained.arrays) + evidence(said)
        means, kinds = zip(*(MEANS if self.mean_turns is None else known(self.mean_turns)), strict=True)
        return posterior(gains.clip(-SURE, SURE)[list(kinds)], *priors(means, len(units)), TRUST).boundary

    def choose(self, scores: np.ndarray, count: int | None) -> np.ndarray:
        """The likeliest gaps of stretches over the threshold, or of the `count` likeliest stretches."""
        import numpy as np

        from fovea.segmenters.decode import best

        if count is None:
            return gathered(scores, self.threshold)
        found = gathered(scores, 0, count)
        return found | best(np.where(found, -1, scores), count - int(found.sum()))

    def units(self, text: str, media_type: str) -> Units:
        """The turns of a text, with the strengths of its structure where they begin."""
        import numpy as np

        from fovea.segmenters.structure.kinds import strengths
        from fovea.segmenters.turns import spans
        from fovea.segmenters.units import Units

        found = spans(text)
        strength = strengths(text, media_type, found)
        return Units(text, found, np.array([strength.get(span.start, 0.0) for span in found[1:]], np.float32))

    def cuts(self, text: str, document: Document, encoder: Encoder) -> Iterator[Cut]:
        """Those between turns, and weak ones where sentences end inside a turn."""
        from heapq import merge

        from fovea.rag.sentences import sentences

        turns = list(super().cuts(text, document, encoder))
        taken = {cut.at for cut in turns} | {0}
        inside = (Cut(span.start, INSIDE) for span in sentences(text) if span.start not in taken)
        yield from merge(turns, inside)


def log_odds(words: list[str], vectors: np.ndarray, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """log P(what is read | boundary) / P(what is read | none) at each gap, by kind: float64 `(2, gaps)`."""
    import numpy as np

    from fovea.segmenters.dialogue_features import content, features

    read = np.clip((features(words, vectors) - arrays["mean"]) / arrays["deviation"], -4, 4)
    found = read.astype(np.float64) @ arrays["weight"].T.astype(np.float64) + arrays["bias"]
    found[:, WHOLE] += content(words, vectors).astype(np.float64) @ arrays["content"].astype(np.float64)
    return found.T


def known(mean: float) -> tuple[tuple[float, int], ...]:
    """The kinds in which segments may have that mean length."""
    border = min(of for of, kind in MEANS if kind == WHOLE)
    return tuple((mean, kind) for kind, may in ((SPLICED, mean <= border), (WHOLE, mean >= border)) if may)


def priors(means: tuple[float, ...], turns: int) -> tuple[np.ndarray, np.ndarray]:
    """log P(length) `(means, longest)` of each mean, and log P(mean) `(means,)` for a text of so many turns, both up to
    a constant.
    """
    import numpy as np

    from fovea.segmenters.lengths import Lengths

    longest = min(turns, LONGEST)
    lengths = [Lengths(mean=mean, spread=SPREAD, longest=LONGEST).log_probabilities()[:longest] for mean in means]
    likely = min(max(turns / SUBJECTS, SHORTEST_MEAN), LONGEST_MEAN)
    return np.stack(lengths), -((np.log(means) - np.log(likely)) ** 2) / (2 * DOUBT**2)


def gathered(scores: np.ndarray, threshold: float, most: int | None = None) -> np.ndarray:
    """The highest score of each stretch whose sum of scores is over the threshold, at `most` so many, the greatest sums
    first and no two that overlap: bool `(gaps,)`. A stretch reaches NEAR of a mean segment to both sides.
    O(gaps * log gaps).
    """
    import numpy as np

    found, n = np.zeros(len(scores), bool), len(scores)
    reach = int(NEAR * (n + 1) / (scores.sum() + 1))
    at, total = np.arange(n), np.concatenate([[0], np.cumsum(scores)])
    sums = total[np.minimum(at + reach + 1, n)] - total[np.maximum(at - reach, 0)]
    free = np.ones(n, bool)
    order = np.argsort(-sums, kind="stable")
    left = n if most is None else most
    for gap in order[: int((sums > threshold).sum())].tolist():
        if left and free[gap]:
            first, stop = max(gap - reach, 0), gap + reach + 1
            found[first + int(scores[first:stop].argmax())] = True
            free[max(gap - 2 * reach, 0) : gap + 2 * reach + 1] = False
            left -= 1
    return found
