"""How many tokens an answer took: what the model says, else words and marks of what it was given and wrote."""

from __future__ import annotations

from fovea.rag.tokens import WordTokenizer
from fovea.rag.types import Answer

_words = WordTokenizer()


def usage(question: str, answer: Answer) -> dict[str, int]:
    """OpenAI's counts. A pipeline that answers without a model has read its passages and written its sentences too."""
    counts = [stage.counts for stage in answer.trace.stages] if answer.trace else []
    prompt = sum(count["input_tokens"] for count in counts)
    completion = sum(count["output_tokens"] for count in counts)
    if not prompt:
        prompt = _words.count(question) + sum(_words.count(hit.chunk.text) for hit in answer.hits)
    completion = completion or _words.count(answer.text)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
