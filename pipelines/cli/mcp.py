"""`fovea mcp p.yaml`: the pipeline's tools for assistants, by the Model Context Protocol."""

from __future__ import annotations

import argparse
import sys

from fovea.pipelines.cli.arguments import port


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipeline", help="the pipeline's YAML file")
    parser.add_argument("--where", default="", help="a filter that every call is held to, e.g. \"team == 'legal'\"")
    parser.add_argument("--write", action="store_true", help="also offer ingest and remove")
    parser.add_argument("--http", action="store_true", help="serve by streamable HTTP; left out, by standard input")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=port, default=8765, help="port to listen at (default: %(default)s)")
    parser.add_argument("--allow-host", metavar="NAME", action="append", default=[], dest="names",
                        help="a name by which clients reach it; may be given again")  # fmt: skip
    # Warnings come on standard error as they are made, since the end may be weeks away.
    parser.set_defaults(quiet=True)


def run(args: argparse.Namespace) -> int:
    """Serve until the client goes."""
    from fovea.rag.errors import ConfigError, require

    require("mcp", extra="mcp", needed_by="fovea mcp")
    if args.write and args.where:
        raise ConfigError("--write and --where exclude each other: what is written might lie outside of the filter",
                          fix="two servers: one with --where to read, one with --write")  # fmt: skip
    from fovea.pipelines.mcp.http import security
    from fovea.pipelines.mcp.scope import Scope
    from fovea.pipelines.mcp.server import PipelineServer
    from fovea.pipelines.mcp.tools import Tools
    from fovea.pipelines.pipeline import Pipeline

    with Pipeline.from_yaml(args.pipeline) as pipeline:
        server = PipelineServer(Tools(Scope(pipeline, args.where), writable=args.write))
        if not args.http:
            server.run("stdio")
            return 0
        allowed = security(args.host, args.names)
        host = f"[{args.host}]" if ":" in args.host else args.host
        print(f"{pipeline.spec.name}: http://{host}:{args.port}/mcp", file=sys.stderr, flush=True)
        try:
            server.run("streamable-http", host=args.host, port=args.port, transport_security=allowed)
        except SystemExit:  # Of uvicorn, which has logged why.
            raise ConfigError(
                f"cannot listen on {host}:{args.port}", fix="another --port, or end what is there"
            ) from None
    return 0
