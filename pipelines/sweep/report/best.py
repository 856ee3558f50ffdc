"""The winner as a pipeline's YAML."""

from __future__ import annotations

import re
from typing import Any

import yaml

from fovea.pipelines.spec.yaml_source import quoted
from fovea.pipelines.sweep.record import Record, TrialRecord
from fovea.pipelines.sweep.report.figures import Figures, count
from fovea.pipelines.sweep.report.ranking import first, winner
from fovea.rag.errors import FoveaError


def best_yaml(record: Record) -> str:
    """The settings of the winner, which `fovea` reads as a pipeline, below a comment that says where they come from.

    Raises FoveaError where no trial is ranked.
    """
    best = winner(record)
    if best is None:
        states = ", ".join(f"{sum(t.state == s for t in record.trials)} {s}" for s in ("pruned", "failed"))
        raise FoveaError(
            f"no trial is complete and has {first(record) or 'an objective'}, so there is no best one: {states}",
            where=record.name,
            fix="see the reasons in the report, mend the study and run it again",
        )
    found = Figures(record).value(first(record), best.values[first(record)])
    lines = [
        f"Written by fovea sweep: trial {best.number} ({best.id}) of {record.name}, the best of "
        f"{len(record.complete):,} that are complete",
        f"{first(record)} {found} on {count(best.values[first(record)].n, 'question')} "
        f"of {record.questions.name} ({record.questions.fingerprint})",
    ]
    return "".join(f"# {_one_line(line)}\n" for line in lines) + plain_yaml(_in_its_own_store(best))


def _in_its_own_store(best: TrialRecord) -> dict[str, Any]:
    """The settings with a store that no other winner has, since another configuration makes other vectors."""
    found, mark = dict(best.settings), best.id[-8:]
    if store := dict(found.get("store") or {}):
        for key in ("path", "collection"):
            if store.get(key):
                store[key] = f"{store[key]}-{mark}"
        found["store"] = store
    return found


def plain_yaml(plain: Any) -> str:
    """Plain data as YAML that our reader gives back as it was, in the order it has."""
    return yaml.dump(
        _quoted(plain), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120, default_flow_style=False
    )


def _quoted(plain: Any) -> Any:
    """With values that would be read as variables written so that they are not."""
    if isinstance(plain, dict):
        return {key: _quoted(value) for key, value in plain.items()}
    if isinstance(plain, (list, tuple)):
        return [_quoted(value) for value in plain]
    return quoted(plain) if isinstance(plain, str) else plain


def _one_line(line: str) -> str:
    """Without line breaks, so that a comment stays one, and without what YAML cannot hold."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]+", " ", line)


class _Plain(yaml.SafeDumper):
    """Without anchors, and with quotes around texts that YAML 1.2 takes for numbers though PyYAML does not: `1e5`.

    Rare line breaks are escaped: without, PyYAML writes U+0085 in a way that it does not read back.
    """

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        """In double quotes, where there is something to escape."""
        rare = any(c in data for c in "\x85\u2028\u2029\ufeff")
        return self.represent_scalar("tag:yaml.org,2002:str", data, style='"' if rare else None)


_Plain.add_representer(str, _Plain.represent_text)
_Plain.yaml_implicit_resolvers = {key: list(found) for key, found in yaml.SafeDumper.yaml_implicit_resolvers.items()}
_Plain.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)
_Plain.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789"))
