"""`fovea studio p.yaml`: a page to look at documents, answers, attention and studies."""

from __future__ import annotations

import argparse
from pathlib import Path

from fovea.pipelines.cli.serve import add_address


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("pipelines", nargs="+", metavar="PIPELINE", help="YAML files; the first is the default")
    parser.add_argument("--study", type=Path, metavar="DIR", help="show a sweep: its folder, NAME.sweep")
    add_address(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    from fovea.pipelines.cli.serve import require_server, serving
    from fovea.rag.errors import ConfigError

    require_server("fovea studio")
    if args.study and not args.study.is_dir():
        raise ConfigError(f"--study: there is no folder {args.study}", fix="--study NAME.sweep")
    from fovea.pipelines.server.app import create_app
    from fovea.pipelines.server.listening import listen
    from fovea.pipelines.studio.router import router

    served = serving(args)
    app = create_app(served)
    app.include_router(router(served, args.study))
    return listen(app, served, args.host, args.port, "/studio/")
