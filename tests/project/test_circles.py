"""No circle of imports: whoever reads a module has read what it stands on before, wherever the import is written."""

from __future__ import annotations

from collections.abc import Mapping, Set
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

import grimp
import pytest


def circle(imports: Mapping[str, Set[str]]) -> list[str]:
    """The modules of a circle, each imported by the one before it; none where there is no circle."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return error.args[1][::-1]
    return []


def test_no_module_imports_itself_by_way_of_others():
    """Imports in functions and under TYPE_CHECKING count: they are circles as well, put off."""
    graph = grimp.build_graph("fovea", exclude_type_checking_imports=False, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 400, "the folders that are links were not followed"
    found = circle(imports)
    lines = [
        f"  {each['importer'].replace('.', '/')}.py:{each['line_number']}  {each['line_contents']}"
        for one, other in pairwise(found)
        for each in graph.get_import_details(importer=one, imported=other)
    ]
    assert not found, "a circle of imports:\n" + "\n".join(lines)


@pytest.mark.parametrize(
    ("imports", "found"),
    [({"a": {"b"}, "b": {"c"}, "c": set()}, []), ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c", "b"])],
    ids=["a chain", "a circle"],
)
def test_a_circle_is_seen(imports, found):
    assert sorted(circle(imports)[1:]) == sorted(found[1:])
