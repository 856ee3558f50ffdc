"""Missing: that a metric cannot be had of a question, which is never a number."""

from __future__ import annotations


class Missing(Exception):
    """A metric that cannot be had of a question to which it applies; its words say why."""
