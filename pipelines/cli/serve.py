"""`fovea serve p.yaml`: answer over HTTP."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from fovea.pipelines.cli.arguments import port
from fovea.pipelines.cli.warned import add_quiet

if TYPE_CHECKING:
    from fovea.pipelines.server.served import Served


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipelines", nargs="*", metavar="PIPELINE", help="YAML files; the first is the default")
    add_address(parser)
    parser.add_argument("--new-key", metavar="NAME", help="print a new key, and the lines for the YAML, and end")


def add_address(parser: argparse.ArgumentParser) -> None:
    """Where to listen."""
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on; left out, this machine alone")
    parser.add_argument("--port", type=port, default=8000, help="the port (8000)")
    parser.add_argument(
        "--insecure-no-keys", action="store_true", help="listen on other addresses though anybody could ask there"
    )
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    from fovea.rag.errors import ConfigError

    if args.new_key is not None:
        return _new_key(args.new_key)
    if not args.pipelines:
        raise ConfigError("serve what?", fix="fovea serve PIPELINE.yaml")
    require_server("fovea serve")
    from fovea.pipelines.server.app import create_app
    from fovea.pipelines.server.listening import listen

    served = serving(args)
    return listen(create_app(served), served, args.host, args.port)


def require_server(needed_by: str) -> None:
    """Raise MissingExtra where what a server is made of is not installed."""
    from fovea.rag.errors import require

    for module in ("fastapi", "uvicorn", "prometheus_client", "multipart"):
        require(module, extra="serve", needed_by=needed_by)


def serving(args: argparse.Namespace) -> Served:
    """The pipelines of the arguments, ready to be served; raises ConfigError where anybody could ask from elsewhere."""
    from fovea.pipelines.server.access import is_loopback
    from fovea.pipelines.server.served import Served, opened
    from fovea.rag.errors import ConfigError

    pipelines, settings = opened(args.pipelines)
    if not (settings.keys or is_loopback(args.host) or args.insecure_no_keys):
        raise ConfigError(
            f"on {args.host} anybody who reaches this machine could ask: there are no keys",
            where="--host",
            fix="fovea serve --new-key NAME, and put its lines into the YAML; or --insecure-no-keys",
        )
    return Served(pipelines, settings, loopback=is_loopback(args.host))


def _new_key(name: str) -> int:
    from fovea.pipelines.server.secret import new_key
    from fovea.rag.printable import printable

    key, digest = new_key()
    print("The key, which is shown only now:", file=sys.stderr)
    print(key)
    print("For the YAML of the pipeline, which has its digest alone:", file=sys.stderr)
    print(f'serve:\n  keys:\n    - {{name: {_quoted(printable(name))}, sha256: "{digest}"}}', file=sys.stderr)
    return 0


def _quoted(name: str) -> str:
    import json

    return json.dumps(name, ensure_ascii=False)
