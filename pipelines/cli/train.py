"""`fovea train KIND NAME --data PATH --out FOLDER`: train a learned segmenter on sectioned texts, or a retriever,
re-ranker or situator on collections of questions and what answers them, or a static encoder on documents.

`fovea train heads NAME --model MODEL --out FOLDER`: how each head of a local language model looks; `fovea train gates
NAME`, likewise: what a decoding step reads.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from fovea.pipelines.cli.warned import add_quiet
from fovea.rag.printable import counted
from fovea.rag.training.recipe import Recipe

R = TypeVar("R", bound=Recipe)
ENCODER, KEEP = "sentence_transformer", 0.2


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("what", choices=["segmenter", "retriever", "encoder", "heads", "gates"], help="what to train")
    parser.add_argument("method", metavar="NAME", help="the component's name, as in YAML")
    data = "what to learn from; repeatable. Of heads and gates: a text, or a folder of them, to read and to hide pass "
    data += "keys in, made-up prose if left out; of act a .jsonl of prompt and answer"
    parser.add_argument("--data", action="append", default=[], metavar="PATH", help=data)
    parser.add_argument("--model", metavar="MODEL", help="of heads and gates: a name of `fovea models`, or a folder")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="for weights, card and checkpoint")
    parser.add_argument("--seed", type=int, default=0, help="0 if left out")
    parser.add_argument("--set", action="append", default=[], metavar="SETTING=VALUE", help="repeatable")
    encoder = f"a name, or {{use: ..., ...}} as in YAML ({ENCODER})"
    parser.add_argument("--encoder", help=encoder)
    cache = "where vectors, or what gates are learned from, are kept for another time; left out, in --out"
    parser.add_argument("--cache", metavar="FOLDER", help=cache)
    parser.add_argument("--licence", default="", metavar="TEXT", help="of the data, for the card")
    parser.add_argument("--influence", metavar="MODEL", help="of a retriever: a language model that chooses documents")
    parser.add_argument("--keep", type=float, metavar="SHARE", help=f"of the training documents, with it ({KEEP})")
    parser.add_argument("--restart", action="store_true", help="throw the checkpoint away")
    parser.add_argument("--max-seconds", type=float, metavar="N", help="stop after; the same command goes on")
    add_quiet(parser)


def run(args: argparse.Namespace) -> int:
    """Train, and write weights and card; exit code 0 also where --max-seconds ended it."""
    return _of_model(args) if args.what in ("heads", "gates") else _component(args)


def _component(args: argparse.Namespace) -> int:
    from fovea.pipelines.bench.segmentation_methods import chosen_encoder
    from fovea.pipelines.training.place import place
    from fovea.rag import progress
    from fovea.rag.component import fingerprint
    from fovea.rag.errors import ConfigError
    from fovea.rag.training import card

    kind = import_module(f"fovea.pipelines.training.{args.what}")
    if not args.data or args.model:
        what = "--model is for heads and gates" if args.model else f"there is nothing to learn a {args.what} from"
        raise ConfigError(what, where="--model" if args.model else "--data", fix="--data PATH")
    recipe, encoder = recipe_of(kind.recipe_class(args.method), args.set), chosen_encoder(args.encoder or ENCODER)
    digests = {path: card.digest_of(Path(path)) for path in args.data}
    asked: dict[str, Any] = {
        "seed": args.seed,
        "data": fingerprint([*digests.values()]),
        "cache": Path(args.cache or args.out),
    }
    if args.keep is not None and not args.influence:
        raise ConfigError(
            "--keep is of the documents that --influence chooses", where="--keep", fix="--influence MODEL"
        )
    if args.influence:
        keep = KEEP if args.keep is None else args.keep
        if args.what != "retriever" or not 0 < keep <= 1:
            raise ConfigError("--influence is for retrievers, and --keep is above 0 and at most 1", where="--influence")
        asked["influence"] = (args.influence, keep)
        asked["data"] = fingerprint([*digests.values(), args.influence, keep])
    out, sitting = place(args.out), {"restart": args.restart, "max_seconds": args.max_seconds}
    with progress.shown(not args.quiet):
        found, counts = kind.trained(recipe, args.data, encoder, out, **asked, **sitting)
    data = card.Data({Path(path).name: digest for path, digest in digests.items()}, counts, args.licence)
    command = shlex.join(["fovea", *sys.argv[1:]])
    card.write(out / "README.md", found, data, command=command, heading=kind.HEADING)
    more = "; the same command goes on from there" if found.ended == "seconds" else ""
    print(*kind.lines(found), sep="\n")
    file = out / getattr(kind, "FILE", "weights.safetensors")
    print(f"{file}: {counted(found.steps, 'steps')}, ended by {found.ended}{more}")
    return 0


def _of_model(args: argparse.Namespace) -> int:
    from fovea.pipelines.training.place import place
    from fovea.rag import progress
    from fovea.rag.errors import ConfigError
    from fovea.rag.training import card

    kind = import_module(f"fovea.pipelines.training.{args.what}")
    if not args.model:
        what = f"{args.what} are learned from a model"
        raise ConfigError(what, where="--model", fix="--model smollm2, or a folder")
    for option in ("influence", "cache", "encoder", "keep"):
        if getattr(args, option) is not None and (args.what, option) != ("gates", "cache"):
            raise ConfigError(f"{args.what} are learned without it", where=f"--{option}", fix=f"leave out --{option}")
    recipe = recipe_of(kind.recipe_class(args.method), args.set)
    out, sitting = place(args.out), {"restart": args.restart, "max_seconds": args.max_seconds}
    cache = Path(args.cache) if args.cache else None
    with progress.shown(not args.quiet):
        found = kind.trained(kind.Learning(recipe, args.model, args.data, out, args.seed, sitting, cache))
    if isinstance(found, int):
        print(f"profiled: {counted(found, 'texts')}; the same command goes on from there")
        return 0
    digests = {Path(path).name: card.digest_of(Path(path)) for path in args.data}
    data = card.Data(digests or {"made-up prose": "none: it is drawn"}, [], args.licence)
    card.write(out / "README.md", found, data, command=shlex.join(["fovea", *sys.argv[1:]]), heading=kind.HEADING)
    more = "; the same command goes on from there" if found.ended == "seconds" else ""
    print(*kind.lines(found), sep="\n")
    print(f"{out / kind.FILES[args.method]}: {counted(found.steps, 'steps')}, ended by {found.ended}{more}")
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
