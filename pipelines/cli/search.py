"""`fovea search p.yaml "question"`: the passages, without an answer."""

from __future__ import annotations

import argparse

from fovea.pipelines.cli.ask import add_query_options, question_of
from fovea.pipelines.cli.warned import printed
from fovea.rag.printable import printable, shorten, to_json


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipeline", help="the pipeline's YAML file")
    parser.add_argument("question", help="the question; - reads it from standard input")
    add_query_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the hits, best first."""
    from fovea.pipelines.answering.explain import fate_lines, fates, stage_lines
    from fovea.pipelines.pipeline import Pipeline
    from fovea.rag.trace import Trace
    from fovea.rag.types import hit_to_dict

    trace = Trace()
    with Pipeline.from_yaml(args.pipeline) as pipeline:
        hits = pipeline.retrieve(question_of(args), args.k, where=args.where, as_of=args.as_of, trace=trace)
    if args.json:
        plain = {"hits": [hit_to_dict(h) for h in hits], "trace": trace.to_dict()}
        if args.explain:
            plain["explain"] = [str(f) for f in fates(trace)]
        print(to_json(plain))
        return 0
    for rank, hit in enumerate(hits, 1):
        scores = ", ".join(f"{name} {score:.4g}" for name, score in hit.scores.items())
        print(f"{rank}. {printable(hit.chunk.where)}  ({scores})\n   {shorten(hit.chunk.text, 300)}")
    if not hits:
        print("nothing found")
    if args.explain:
        print("\nwhy these chunks:", *fate_lines(trace), sep="\n  ")
        print("\nstages:", *stage_lines(trace, quiet=args.quiet), sep="\n  ")
        printed(trace.warnings)
    return 0
