"""`fovea init [PATH]`: a commented pipeline YAML to start from, or with --example one with documents and questions."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from fovea.rag.errors import ConfigError, FoveaError

SCHEMA = "fovea.schema.json"
TEMPLATE = """\
# yaml-language-server: $schema=fovea.schema.json
# A Fovea pipeline: from documents to cited answers. Every line may be left out; what stands here is the default.
#   fovea check {file}                  is this file right, and is here what it needs?
#   fovea ingest {file} docs/           read documents in (again and again: only changes cost)
#   fovea ask {file} "a question"       answer it, with citations
# The file named above lets an editor complete and check this one; fovea schema > fovea.schema.json makes it anew.
{name}

# What its documents are about, in a sentence: assistants that find it as a tool are told (fovea mcp).
description: ""

# Text to vectors: a local folder, a model of the hub, or one that `fovea models get minilm` fetches (this one).
encoder:
  use: sentence_transformer
  model: sentence-transformers/all-MiniLM-L6-v2

# Where documents are cut, in tokens of the encoder. Several segmenters refine each other, coarse to fine.
segment:
  - use: recursive
    max_tokens: 200

# The vectors of chunks: each encoded by itself, or `late`, pooled with its surroundings from one reading.
pool:
  use: separate

# Say of each chunk where it stands: its vector and the words it is found by then know of title and headings.
# situate:
#   use: headings

# In the place of `segment`, `pool` and `situate`: `passages`, small chunks that are found by the words around them too;
# `topics`, the same and never across the end of a topic. Take out those above then: a stage that stands here counts,
# whatever the preset says of it.
# preset: passages

# Where documents and vectors are kept; a relative path starts from this file's folder.
store:
  use: embedded
  {path}

# Each retriever fetches `candidates` chunks; the fuser joins their lists; refiners re-rank, thin out and cut.
retrieve:
  - use: dense
  - use: bm25
candidates: 50
fuse:
  use: {fuser}
refine: []
#  - use: near_duplicates
#  - use: cross_encoder      # needs a cross-encoder model
#    top_n: 20
#  - use: mass               # after a re-ranker: as many passages as the question needs
#    target: 0.8
#  - use: token_budget
#    max_tokens: 1500
# k: 5                       # how many are kept at most; left to a selection rule if there is one

# Who answers: `extractive` quotes the documents and needs no model; see also `transformers`, `openai` and `chat`.
generate:
  use: extractive
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("path", nargs="?", type=Path, help="the file to write (fovea.yaml); with --example, the folder")
    parser.add_argument("--name", help="what the pipeline is called")
    parser.add_argument("--example", action="store_true", help="write a folder with documents, pipeline and questions")


def run(args: argparse.Namespace) -> int:
    """Write what is not there yet; no existing file is ever overwritten."""
    if args.example:
        return _example(args.path or Path("fovea-example"), args.name or "example")
    path = args.path or Path("fovea.yaml")
    _write(path, lambda: template(path, args.name or path.stem))
    schema = _write_schema(path.parent)
    print(f"wrote {path}\n{schema}\nnext: fovea ingest {shlex.quote(str(path))} FOLDER")
    return 0


def template(file: Path, name: str) -> str:
    """The commented pipeline."""
    from fovea.pipelines.spec.pipeline_spec import PipelineSpec

    path = ".fovea/" + re.sub(r"[^\w.-]+", "-", name)
    lines = {"name": _line("name", name), "path": _line("path", path), "fuser": PipelineSpec.DEFAULT_FUSER}
    return TEMPLATE.format(file=shlex.quote(str(file)), **lines)


def _line(key: str, value: str) -> str:
    """A line of YAML, with quotes where the value needs them."""
    import yaml

    return yaml.safe_dump({key: value}, allow_unicode=True, width=10_000).rstrip()


def _write(path: Path, text: Callable[[], str]) -> None:
    from fovea.rag.write_whole import write_whole

    try:
        if os.path.lexists(path):
            raise ConfigError(f"{path} exists already", fix="name another file, or remove this one")
        if not path.parent.is_dir():
            raise ConfigError(f"cannot write {path}: there is no folder {path.parent}")
        write_whole(path, lambda part: part.write_text(text(), encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def _write_schema(folder: Path) -> str:
    """The schema that the first line of the YAML names, beside it; says what was done."""
    from fovea.pipelines.spec.schema import pipeline_schema

    path = folder / SCHEMA
    if path.exists():
        return f"kept {path}, which was there: fovea schema > {path} makes it anew"
    _write(path, lambda: json.dumps(pipeline_schema(), indent=2, ensure_ascii=False) + "\n")
    return f"wrote {path}: editors complete and check {folder / '*.yaml'} by it"


def _example(folder: Path, name: str) -> int:
    """Documents in five formats, a pipeline for them and questions with gold passages."""
    import shutil

    from fovea.pipelines.shipped import shipped
    from fovea.rag.write_whole import part_folder

    source, yaml = shipped("examples"), folder / f"{name}.yaml"
    try:
        if os.path.lexists(folder):
            raise ConfigError(f"{folder} exists already", fix="name another folder, or remove this one")
        with part_folder(folder.absolute().parent) as part:
            shutil.copytree(source / "library", part / "all" / "library")
            for file in ("questions.jsonl", "README.md"):
                shutil.copyfile(source / file, part / "all" / file)
            (part / "all" / yaml.name).write_text(template(yaml, name), encoding="utf-8")
            (part / "all").rename(folder)
    except OSError as error:
        raise FoveaError(f"cannot write {folder}: {error.strerror}") from None
    print(f"wrote {folder}: documents in library/, questions.jsonl, {yaml.name}\n{_write_schema(folder)}")
    file, library, questions = (shlex.quote(str(p)) for p in (yaml, folder / "library", folder / "questions.jsonl"))
    print(f"next: fovea ingest {file} {library}\n"
          f"      fovea ask {file} \"Does SQLite's WAL mode work over a network filesystem?\"\n"
          f"      fovea eval {file} {questions}")  # fmt: skip
    return 0
