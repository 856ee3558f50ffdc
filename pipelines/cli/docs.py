"""`fovea docs [PAGE]`: the documentation that came with this version, in the terminal."""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("page", nargs="?", help="the page to print; left out, which there are")
    parser.add_argument("--path", action="store_true", help="print where the page lies instead")


def run(args: argparse.Namespace) -> int:
    """Print a page as Markdown, or the list of pages."""
    from fovea.pipelines.shipped import shipped
    from fovea.rag.errors import ConfigError

    pages = {path.stem: path for path in sorted(shipped("docs").glob("*.md"))}
    if args.page is None:
        for name, path in pages.items():
            title = path.read_text("utf-8").partition("\n")[0].lstrip("# ")
            print(f"{name:<14}{path if args.path else title}")
        return 0
    if args.page not in pages:
        raise ConfigError(f"there is no page {args.page!r}", got=args.page, allowed=pages)
    print(pages[args.page] if args.path else pages[args.page].read_text("utf-8"), end="\n" if args.path else "")
    return 0
