"""`fovea mcp p.yaml`: the pipeline's tools for assistants, by the Model Context Protocol."""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipeline", help="the pipeline's YAML file")
    parser.add_argument("--where", default="", help="a filter that every call is held to, e.g. \"team == 'legal'\"")
    # Warnings come on standard error as they are made, since the end may be weeks away.
    parser.set_defaults(quiet=True)


def run(args: argparse.Namespace) -> int:
    """Serve until the client goes."""
    from fovea.rag.errors import require

    require("mcp", extra="mcp", needed_by="fovea mcp")
    from fovea.pipelines.mcp.scope import Scope
    from fovea.pipelines.mcp.server import PipelineServer
    from fovea.pipelines.mcp.tools import Tools
    from fovea.pipelines.pipeline import Pipeline

    with Pipeline.from_yaml(args.pipeline) as pipeline:
        PipelineServer(Tools(pipeline, Scope(pipeline, args.where))).run("stdio")
    return 0
