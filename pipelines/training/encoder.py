"""`fovea train encoder static`: documents in, and how near the table's vectors come to the encoder's."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fovea.pipelines.bench.shared_encoder import SharedEncoder
from fovea.pipelines.loaders.select import Selection, loader_for
from fovea.rag import registry, trace
from fovea.rag.encoder import Encoder
from fovea.rag.errors import ConfigError, DocumentError, require
from fovea.rag.sentences import sentences
from fovea.rag.training.train import Result, name_of
from fovea.rag.types import Document
from fovea.rag.wordpieces import ModelTokenizer
from fovea.rag.write_whole import write_whole

__all__ = ["FILE", "HEADING", "lines", "recipe_class", "trained"]

FILE = "model.safetensors"
HEADING = "Beside the encoder it is of:"
"""What the table of a result holds."""
LONGEST, HELD, LEAST = 8, 20, 100
"""Sentences a text at most; of so many texts one is held out; texts there must be."""

MODULES = """[
 {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.StaticEmbedding"},
 {"idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"}
]
"""
"""As sentence-transformers lists them, so that it loads the table too."""


def recipe_class(method: str) -> type[Any]:
    """The recipe of `static`; raises ConfigError for others."""
    require("torch", extra="models", needed_by="training")
    from fovea.rag.training.static import StaticRecipe

    if method != StaticRecipe.method:
        raise ConfigError(f"no encoder called {method!r} can be trained", got=method, allowed=[StaticRecipe.method])
    return StaticRecipe


def trained(
    recipe: Any,
    paths: Sequence[str],
    encoder: Encoder,
    out: Path,
    *,
    cache: Path,
    seed: int = 0,
    data: str = "",
    **sitting: Any,
) -> tuple[Result, Sequence[Mapping[str, str]]]:
    """Distil `encoder` over texts of the files, and write the folder of a `StaticEmbedding`.

    Raises ConfigError for an encoder whose tokens are not known, and for too few texts.
    """
    from fovea.rag.training.loop import fit
    from fovea.rag.training.static import StaticTask

    tokenizer = encoder.tokenizer
    if not isinstance(tokenizer, ModelTokenizer):
        what = f"the encoder {encoder.name} has no tokens to make a table of"
        raise ConfigError(what, where="--encoder", fix="--encoder minilm")
    texts = pieces(paths, recipe.texts, seed)
    if len(texts) < LEAST:
        raise ConfigError(f"{len(texts)} texts are too few to learn from, of {LEAST}", where="--data")
    held = texts[::HELD]
    rest = [text for i, text in enumerate(texts) if i % HELD]
    shared = SharedEncoder.over(encoder, texts, label="texts", cache=cache)
    task = StaticTask(recipe, rest, held, shared, tokenizer, seed)
    run, ended = fit(task, recipe, out, seed, given={"data": data, "encoder": encoder.space}, **sitting)
    _write(out, task.arrays(), tokenizer)
    found = Result(recipe, seed, name_of(encoder), ended, run.step, run.best_step, dict(run.best), run.seconds)
    row = {"texts held out": f"{len(held):,}", **{name: f"{value:.3f}" for name, value in run.best.items()}}
    return replace(found, table=[row]), [{"texts": f"{len(rest):,}", "held out": f"{len(held):,}"}]


def lines(result: Result) -> Iterator[str]:
    """What is printed of the scores."""
    for row in result.table:
        yield ", ".join(f"{name} {value}" for name, value in row.items())


def pieces(paths: Sequence[str], most: int, seed: int) -> list[str]:
    """Sentences of the documents, and runs of up to `LONGEST` of them, each once, in an order drawn."""
    loaders: list[Any] = [cls() for cls in registry.components("loader").values()]
    draw, found = random.Random(seed), dict[str, None]()
    for file in Selection(paths, loaders).files():
        for document in _read(file, loaders):
            spans, at = sentences(document.text), 0
            while at < len(spans):
                run = spans[at : at + draw.choice(range(1, LONGEST + 1))]
                found[document.text[run[0].start : run[-1].end]] = None
                found[document.text[run[0].start : run[0].end]] = None
                at += len(run)
    texts = [text for text in found if text.strip()]
    draw.shuffle(texts)
    return texts[:most]


def _read(file: Path, loaders: Sequence[Any]) -> Sequence[Document]:
    """A file's documents; one that cannot be read is passed by, and said."""
    try:
        return list(loader_for(file, loaders).load(file))
    except DocumentError as error:
        trace.warn(f"passed by: {error.where}: {error.what}")
        return []


def _write(out: Path, arrays: Mapping[str, Any], tokenizer: ModelTokenizer) -> None:
    from safetensors.numpy import save_file

    write_whole(out / "1_Normalize" / "config.json", lambda part: part.write_text("{}", "utf-8"))
    write_whole(out / "tokenizer.json", lambda part: part.write_text(tokenizer.file, "utf-8"))
    write_whole(out / "modules.json", lambda part: part.write_text(MODULES, "utf-8"))
    write_whole(out / FILE, lambda part: save_file(dict(arrays), part))
