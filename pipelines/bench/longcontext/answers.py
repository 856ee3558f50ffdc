"""What is answered: every method behind the same prompt, judged by what the answer must hold and by full attention's.

All but a prompt's last token are read; the last one and the answer are decoded, so that the whole answer is a method's.
A text is read once for all questions on it: after an answer, caches are cropped back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from fovea.pipelines.bench.longcontext.methods import FULL, Method
from fovea.pipelines.bench.longcontext.prompts import Prompt, fit
from fovea.pipelines.bench.longcontext.reading import Reader
from fovea.pipelines.bench.longcontext.task import Haystack, Task
from fovea.pipelines.bench.longcontext.twins import Twins, read
from fovea.pipelines.evaluation.measurements import Row
from fovea.pipelines.evaluation.value import means
from fovea.rag.errors import FoveaError


@dataclass
class Judged:
    """One method's answers, in the order of the questions; those of `full` beside them where both answered."""

    score: list[float] = field(default_factory=list)
    apart: list[float] = field(default_factory=list)
    """Its score less that of full attention."""
    same: list[float] = field(default_factory=list)
    """1 where the answer is, word for word, that of full attention."""
    depths: list[float | None] = field(default_factory=list)


@dataclass(frozen=True)
class Asking:
    """What is asked, of what, and how it is read."""

    task: Task
    length: int
    samples: int
    haystack: Haystack
    chunk: int
    seed: int
    own: bool


def rows(
    twins: Twins, methods: Sequence[Method], asking: Asking, missing: Callable[[str], None], settings: dict[str, object]
) -> Iterator[Row]:
    """A task's rows at one length: over all questions, then by depth."""
    gone: dict[str, FoveaError] = {}
    judged = {method.name: Judged() for method in methods}
    for sample in range(asking.samples):
        for case in asking.task.cases(asking.haystack, f"{asking.seed} {asking.task.name} {sample}"):
            prompt = fit(asking.task, case, twins.lm, asking.length)
            ask(twins, [m for m in methods if m.name not in gone], prompt, asking, judged, gone.setdefault)
    task = asking.task
    data = f"{twins.lm.name}, {task.name} (version {task.version}), {asking.length:,} tokens"
    for method in methods:
        told = {**method.settings, **settings, "task": task.name, "version": task.version, "samples": asking.samples}
        if method.name in gone:
            missing(f"{method.name} is missing: {gone[method.name]}")
            yield Row("longcontext", data, method.name, task.metric, None, settings=told)
        elif judged[method.name].score:
            yield from _rows(data, method.name, judged[method.name], task.metric, told)


def ask(
    twins: Twins,
    methods: Sequence[Method],
    prompt: Prompt,
    asking: Asking,
    judged: dict[str, Judged],
    missing: Callable[[str, FoveaError], object],
) -> None:
    """All questions of a prompt, by all methods."""
    reader = Reader(twins, methods, missing, own=asking.own)
    reader.read(prompt.prefix, asking.chunk, f"{asking.task.name}, {asking.length:,} tokens")
    reader.cut_near()
    marks, length = reader.marks(), reader.length
    for question, tail in prompt.questions:
        reader.read(tail[:-1], asking.chunk)
        said: dict[str, list[int]] = {}
        for method in methods:
            if method.name in reader.caches:
                try:
                    said[method.name] = answer(twins, method, reader, tail[-1], asking.task.answer_tokens)
                except FoveaError as error:
                    missing(method.name, error)
                    del reader.caches[method.name]
        texts = {name: twins.lm.tokenizer.decode(ids, skip_special_tokens=True) for name, ids in said.items()}
        whole = asking.task.judge(question.lead + texts[FULL], question.answers)
        for name, text in texts.items():
            score = asking.task.judge(question.lead + text, question.answers)
            one = judged[name]
            one.score.append(score)
            one.apart.append(score - whole)
            one.same.append(float(said[name] == said[FULL]))
            one.depths.append(question.depth)
        reader.back(marks, length)


def answer(twins: Twins, method: Method, reader: Reader, last: int, tokens: int) -> list[int]:
    """The likeliest next tokens behind `last`, the prompt's last one, up to the end of the turn."""
    model, cache, said = method.model(twins), reader.caches[method.name], []
    for n in range(tokens):
        last = int(read(model, cache, [last], reader.length + n).argmax())
        if last in twins.lm.ends:
            break
        said.append(last)
    return said


def _rows(data: str, name: str, judged: Judged, metric: str, settings: dict[str, object]) -> Iterator[Row]:
    n = len(judged.score)
    columns = {metric: judged.score} | ({} if name == FULL else {"same": judged.same})
    values = means(columns, {column: n for column in columns})
    if name != FULL:
        less = f"{metric} less full"
        values |= means({less: judged.apart}, {less: n}, shares=False)
    for column, value in values.items():
        low, high = value.ends
        yield Row("longcontext", data, name, column, value.mean, low, high, value.n, None, settings)
    for depth in sorted({d for d in judged.depths if d is not None}):
        here = [score for score, d in zip(judged.score, judged.depths) if d == depth]
        yield Row("longcontext", data, name, f"depth {depth:g}", sum(here) / len(here), n=len(here), settings=settings)
