"""Formulas on one line, for whichever XML they come from: `a/b`, `x^2`, `x_i`, `√(x + 1)`."""

from __future__ import annotations

import re

_SIMPLE = re.compile(r"[-−+±]?[\w.′″!%°]*+|\([^()]*+\)|[^\w\s]")
_DIGIT, _NUMERAL = re.compile(r"\d\Z"), re.compile(r"\d+/")


def grouped(text: str) -> str:
    """`text` in parentheses, unless it reads as one thing without them."""
    text = text.strip()
    return text if _SIMPLE.fullmatch(text) else f"({text})"


def fraction(above: str, below: str) -> str:
    """`a/b`"""
    return f"{grouped(above)}/{grouped(below)}"


def raised(base: str, power: str) -> str:
    """`x^2`; primes need no mark."""
    power = power.strip()
    return base + power if power and set(power) <= set("′″‴'*†°") else f"{base}^{grouped(power)}" if power else base


def lowered(base: str, index: str) -> str:
    """`x_i`"""
    return f"{base}_{grouped(index)}" if index.strip() else base


def root(text: str, degree: str = "") -> str:
    """`√2`, `∛x`, `√[n](x + 1)`"""
    sign = {"": "√", "2": "√", "3": "∛", "4": "∜"}.get(degree.strip(), f"√[{degree.strip()}]")
    return sign + grouped(text)


def joined(parts: list[str]) -> str:
    """Parts of a formula one after the other; a fraction does not run into the whole number before it."""
    text = ""
    for part in parts:
        text += apart(text, part)
    return text


def apart(before: str, formula: str) -> str:
    """A formula as it is written behind `before`: 3 and 1/4 make 3 1/4, not 31/4."""
    return f" {formula}" if _NUMERAL.match(formula) and _DIGIT.search(before) else formula
