"""`fovea train KIND NAME --data PATH --out FOLDER`: train a learned segmenter on sectioned texts, or a retriever,
re-ranker or situator on collections of questions and what answers them.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from fovea.pipelines.cli.warned import add_quiet
from fovea.rag.training.recipe import Recipe

R = TypeVar("R", bound=Recipe)


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("what", choices=["segmenter", "retriever"], help="what to train")
    parser.add_argument("method", metavar="NAME", help="the component's name, as in YAML")
    parser.add_argument("--data", action="append", required=True, metavar="PATH", help="what to learn from; repeatable")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="for weights, card and checkpoint")
    parser.add_argument("--seed", type=int, default=0, help="0 if left out")
    parser.add_argument("--set", action="append", default=[], metavar="SETTING=VALUE", help="repeatable")
    parser.add_argument("--encoder", default="sentence_transformer", help="a name, or {use: ..., ...} as in YAML")
    parser.add_argument("--cache", metavar="FOLDER", help="where vectors are kept for another time; left out, in --out")
    parser.add_argument("--licence", default="", metavar="TEXT", help="of the data, for the card")
    parser.add_argument("--influence", metavar="MODEL", help="of a retriever: a language model that chooses documents")
    parser.add_argument(
        "--keep", type=float, default=0.2, metavar="SHARE", help="of the training documents, with it (0.2)"
    )
    parser.add_argument("--restart", action="store_true", help="throw the checkpoint away")
    parser.add_argument("--max-seconds", type=float, metavar="N", help="stop after; the same command goes on")
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Train, and write weights and card; exit code 0 also where --max-seconds ended it."""
    from fovea.pipelines.bench.segmentation_methods import chosen_encoder
    from fovea.rag import progress
    from fovea.rag.component import fingerprint
    from fovea.rag.errors import ConfigError
    from fovea.rag.training import card

    kind, out = import_module(f"fovea.pipelines.training.{args.what}"), Path(args.out)
    recipe, encoder = recipe_of(kind.recipe_class(args.method), args.set), chosen_encoder(args.encoder)
    digests = {path: card.digest_of(Path(path)) for path in args.data}
    asked: dict[str, Any] = {
        "seed": args.seed,
        "data": fingerprint([*digests.values()]),
        "cache": Path(args.cache or out),
    }
    if args.influence:
        if args.what != "retriever" or not 0 < args.keep <= 1:
            raise ConfigError("--influence is for retrievers, and --keep is above 0 and at most 1", where="--influence")
        asked["influence"] = (args.influence, args.keep)
        asked["data"] = fingerprint([*digests.values(), args.influence, args.keep])
    sitting = {"restart": args.restart, "max_seconds": args.max_seconds}
    with progress.shown(not args.quiet):
        found, counts = kind.trained(recipe, args.data, encoder, out, **asked, **sitting)
    data = card.Data({Path(path).name: digest for path, digest in digests.items()}, counts, args.licence)
    command = shlex.join(["fovea", *sys.argv[1:]])
    card.write(out / "README.md", found, data, command=command, heading=kind.HEADING)
    more = "; the same command goes on from there" if found.ended == "seconds" else ""
    print(*kind.lines(found), sep="\n")
    print(f"{out / 'weights.safetensors'}: {found.steps} steps, ended by {found.ended}{more}")
    return 0


def recipe_of(cls: type[R], given: list[str]) -> R:
    """The recipe with the settings `NAME=VALUE`; raises ConfigError with those there are."""
    from pydantic import ValidationError

    from fovea.pipelines.spec import yaml_source
    from fovea.rag.errors import ConfigError

    settings: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if name not in cls.model_fields:
            raise ConfigError(
                f"{cls.method} has no setting {name!r}", where=f"--set {text}", got=name, allowed=cls.model_fields
            )
        if not equals:
            raise ConfigError(f"the setting {name!r} has no value", where=f"--set {text}", fix=f"--set {name}=...")
        settings[name] = yaml_source.parse(value, file=f"--set {text}").data if value else ""
    try:
        return cls.model_validate(settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ", ".join(settings)
        words = first["msg"][0].lower() + first["msg"][1:]
        raise ConfigError(f"{words}, got {first.get('input')!r}", where=f"--set {name}") from None
