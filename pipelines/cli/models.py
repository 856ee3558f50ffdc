"""`fovea models list|get|where`: models with a short name, which YAML may name: what they are, and where they lie."""

from __future__ import annotations

import argparse
import json
from typing import Any

from fovea.rag.errors import ModelError
from fovea.rag.models import find, fix_for
from fovea.rag.packaged import PACKAGED, known


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    what = parser.add_subparsers(dest="what", metavar="list|get|where", help="list, if left out")
    parser.add_argument("--json", action="store_true", help="print JSON")
    listing = what.add_parser("list", help="what there is, and what of it is here")
    get = what.add_parser("get", help="fetch models through pip, as it is set up here; checked by their SHA-256")
    get.add_argument("names", nargs="+", metavar="NAME", help=", ".join(PACKAGED))
    where = what.add_parser("where", help="print the folder of a model: a name, a hub name or a folder")
    where.add_argument("name", metavar="NAME")
    for one in (listing, get, where):
        one.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Exit code 1 when a model cannot be had, or is asked for and not here."""
    return {"list": show, "get": get, "where": where}[args.what or "list"](args)


def show(args: argparse.Namespace) -> int:
    """All packaged models."""
    rows = [row(name) for name in PACKAGED]
    if args.json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return 0
    for r in rows:
        sizes = f"{r['download'] / 1e6:.0f} MB to fetch, {r['size'] / 1e6:.0f} MB on disk, {r['licence']}"
        print(f"{r['name']:<10}{r['purpose']}\n{'':<10}{sizes}\n{'':<10}runs with {r['runs_with']}")
        print(f"{'':<10}{'here: ' + r['path'] if r['path'] else 'not here: ' + r['fix']}")
    return 0


def row(name: str) -> dict[str, Any]:
    """What there is to say of a packaged model on this machine."""
    packaged = PACKAGED[name]
    facts = {key: getattr(packaged, key) for key in ("name", "purpose", "published", "licence", "download", "size")}
    facts |= {"package": f"{packaged.distribution} {packaged.version}", "sha256": packaged.sha256}
    facts |= {"runs_with": f'pip install "fovea-rag[{packaged.extra}]"', "path": "", "source": "", "fix": ""}
    try:
        if files := find(name):
            return facts | {"path": str(files.path), "source": files.source}
    except ModelError as error:
        return facts | {"fix": f"{error.fix} ({error.what})"}
    return facts | {"fix": fix_for(name)}


def get(args: argparse.Namespace) -> int:
    """Fetch those that are not here; an unknown name is said before anything is downloaded."""
    from fovea.rag import progress
    from fovea.rag.fetch import fetch

    for name in args.names:
        known(name)
    with progress.shown():
        found = [fetch(name) for name in args.names]
    if args.json:
        print(json.dumps([row(known(name).name) for name in args.names], ensure_ascii=False, indent=2))
    else:
        print(*(f"{name}: {files.path} ({files.source})" for name, files in zip(args.names, found)), sep="\n")
    return 0


def where(args: argparse.Namespace) -> int:
    """The folder, alone on its line."""
    files = find(args.name)
    if files is None:
        raise ModelError(f"the model {args.name!r} is not on this machine", fix=fix_for(args.name))
    facts = {"name": files.name, "path": str(files.path), "source": files.source}
    print(json.dumps(facts, ensure_ascii=False, indent=2) if args.json else files.path)
    return 0
