"""What `mkdocs.yml` cannot say: pages of the navigation that are not there (yet) are left out."""

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """Called by mkdocs before it builds."""
    config["nav"] = there(config["nav"], Path(config["docs_dir"]))
    return config


def there(nav: list[Any], docs: Path) -> list[Any]:
    """The navigation without missing pages and empty sections."""
    kept: list[Any] = []
    for entry in nav:
        if isinstance(entry, str):
            kept += [entry] if (docs / entry).is_file() else []
        else:
            [(title, inside)] = entry.items()
            pages = there(inside, docs) if isinstance(inside, list) else there([inside], docs)
            kept += [{title: pages if isinstance(inside, list) else inside}] if pages else []
    return kept
