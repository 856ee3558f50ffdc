"""`fovea mcp p.yaml`: the pipeline's tools for assistants, by the Model Context Protocol."""

from __future__ import annotations

import argparse

from fovea.pipelines.cli.arguments import port

HOST, PORT = "127.0.0.1", 8765


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipeline", help="the pipeline's YAML file")
    parser.add_argument("--where", default="", help="a filter that every call is held to, e.g. \"team == 'legal'\"")
    parser.add_argument("--write", action="store_true", help="also offer ingest and remove")
    parser.add_argument(
        "--http", action="store_true", help="serve by streamable HTTP; left out, by standard input and output"
    )
    http = parser.add_argument_group("with --http")
    http.add_argument("--host", help=f"the address to listen on ({HOST})")
    http.add_argument("--port", type=port, help=f"the port ({PORT})")
    http.add_argument("--allow-host", metavar="NAME", action="append", default=[], dest="names",
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
    _refuse_idle(args)
    from fovea.pipelines.mcp.http import listen
    from fovea.pipelines.mcp.scope import Scope
    from fovea.pipelines.mcp.server import PipelineServer
    from fovea.pipelines.mcp.tools import Tools
    from fovea.pipelines.pipeline import Pipeline

    with Pipeline.from_yaml(args.pipeline) as pipeline:
        server = PipelineServer(Tools(Scope(pipeline, args.where), writable=args.write))
        if not args.http:
            server.run("stdio")
            return 0
        return listen(server, args.host or HOST, PORT if args.port is None else args.port, args.names)


def _refuse_idle(args: argparse.Namespace) -> None:
    """Raise ConfigError for a setting of HTTP without it, which would do nothing."""
    from fovea.rag.errors import ConfigError

    given = {"--host": args.host, "--port": args.port, "--allow-host": args.names or None}
    if not args.http and (idle := next((name for name, value in given.items() if value is not None), None)):
        raise ConfigError(f"{idle} is of --http: standard input and output have no address", where=idle, fix="--http")
