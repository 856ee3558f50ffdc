"""`fovea init [PATH]`: a commented pipeline YAML to start from."""

from __future__ import annotations

import argparse
from pathlib import Path

from fovea.rag.errors import ConfigError

TEMPLATE = """\
# yaml-language-server: $schema=fovea.schema.json
# A Fovea pipeline: from documents to cited answers. Every line may be left out; what stands here is the default.
#   fovea check {file}                  is this file right?
#   fovea ingest {file} docs/           read documents in (again and again: only changes cost)
#   fovea ask {file} "a question"       answer it, with citations
#   fovea schema > fovea.schema.json    lets an editor complete and check this file
name: {name}

# Text to vectors: a local folder, a model of the hub, or one that `fovea models get minilm` fetches (this one).
encoder: {{use: sentence_transformer, model: sentence-transformers/all-MiniLM-L6-v2}}

# Where documents are cut, in tokens of the encoder. Several segmenters refine each other, coarse to fine.
segment:
  - {{use: recursive, max_tokens: 200}}

# The vectors of chunks: each encoded by itself, or `late`, pooled with its surroundings from one reading.
pool: {{use: separate}}

# Say of each chunk where it stands: its vector and the words it is found by then know of title and headings.
# situate: {{use: headings}}

# For `segment` and `pool`: `passages`, small chunks; `topics`, the same and never across the end of a topic.
# preset: passages

# Where documents and vectors are kept; a relative path starts from this file's folder.
store: {{use: embedded, path: .fovea/{name}}}

# Each retriever fetches `candidates` chunks; the fuser joins their lists; refiners re-rank, thin out and cut.
retrieve:
  - {{use: dense}}
  - {{use: bm25}}
candidates: 50
fuse: {{use: {fuser}}}
refine: []
#  - {{use: near_duplicates}}
#  - {{use: cross_encoder, top_n: 20}}      # needs a cross-encoder model
#  - {{use: mass, target: 0.8}}             # after a re-ranker: as many passages as the question needs
#  - {{use: token_budget, max_tokens: 1500}}
# k: 5                                       # how many are kept at most; left to a selection rule if there is one

# Who answers: `extractive` quotes the documents and needs no model; see also `chat` and `transformers`.
generate: {{use: extractive}}
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("path", nargs="?", type=Path, default=Path("fovea.yaml"), help="the file to write")
    parser.add_argument("--name", help="what the pipeline is called")


def run(args: argparse.Namespace) -> int:
    """Write the file; an existing one is never overwritten."""
    from fovea.pipelines.spec.pipeline_spec import PipelineSpec

    path: Path = args.path
    text = TEMPLATE.format(file=path, name=args.name or path.stem, fuser=PipelineSpec.DEFAULT_FUSER)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} exists already", fix="name another file, or remove this one") from None
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
    print(f"wrote {path}\nnext: fovea ingest {path} FOLDER")
    return 0
