"""`fovea make-questions p.yaml --out q.jsonl`: draft questions with the spans that answer them, for review."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fovea.pipelines.cli.ask import positive
from fovea.pipelines.cli.warned import add_quiet

if TYPE_CHECKING:
    from fovea.rag.types import Document


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "sources", nargs="+", help="a pipeline's YAML file, for what its store holds; or files, folders"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.jsonl", help="where to; never overwritten")
    parser.add_argument("--count", type=positive, default=20, metavar="N", help="how many (20)")
    parser.add_argument("--model", metavar="YAML", help="""such as '{use: chat, model: "openai:gpt-4o-mini"}'""")
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Write the drafts; exit code 1 if there are none."""
    from fovea.pipelines.evaluation.drafting import draft
    from fovea.pipelines.evaluation.judging import Judging
    from fovea.pipelines.spec import yaml_source
    from fovea.rag import progress
    from fovea.rag.errors import ConfigError
    from fovea.rag.write_whole import refuse_unwritable, write_whole

    if args.out.exists():
        raise ConfigError(f"{args.out} exists already", fix="name another file, or remove this one")
    refuse_unwritable(args.out)
    judging = Judging.of(yaml_source.parse(args.model, file="--model").data) if args.model else None
    with progress.shown(not args.quiet):
        found = draft(_documents(args.sources), args.count, judging)
    for why, times in found.refused.items():
        print(f"refused: {times} x {why}", file=sys.stderr)
    if not found.made:
        print("no question could be drafted", file=sys.stderr)
        return 1
    text = "".join(json.dumps(one.to_dict(), ensure_ascii=False) + "\n" for one in found.made)
    write_whole(args.out, lambda part: part.write_text(text, encoding="utf-8"))
    print(f"{args.out}: {len(found.made)} drafts; read each, mend or delete it, then: fovea eval p.yaml {args.out}")
    return 0


def _documents(sources: list[str]) -> Iterator[Document]:
    if len(sources) == 1 and Path(sources[0]).suffix in (".yaml", ".yml"):
        from fovea.pipelines.pipeline import Pipeline

        with Pipeline.from_yaml(sources[0]) as pipeline:
            yield from pipeline.corpus.library.documents()
        return
    from fovea.pipelines.loaders.select import Selection, loader_for
    from fovea.rag import registry

    loaders = [cls() for cls in registry.components("loader").values()]
    for path in Selection(sources, loaders).files():  # type: ignore[arg-type]
        yield from loader_for(path, loaders).load(path)  # type: ignore[arg-type]
