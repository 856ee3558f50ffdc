"""A plan of MoA: for each query head a rule by which its span grows with the text.

    span_h(N) = alpha_h + beta_h * N            {"alphas": [[...]], "betas": [[...]]}, a row a layer

Both `heads: {use: moa}` and `prefill: {use: moa_bands}` read one; `fovea train heads moa` makes one, and the paper's
authors publish some. (T. Fu et al., "MoA", 2024, arXiv 2406.14909)
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, ConfigDict, FiniteFloat, ValidationInfo, model_validator

from fovea.attention_retrieval.head_files import json_of, rectangular
from fovea.rag.written import Written


class Plan(Written):
    """A rule for each query head, a row a layer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alphas: list[list[FiniteFloat]]
    """Tokens; may be negative."""
    betas: list[list[FiniteFloat]]
    """Shares of the text, 0 to 1."""

    @model_validator(mode="after")
    def _fits(self) -> Plan:
        if np.shape(rectangular(self.alphas)) != np.shape(rectangular(self.betas)):
            raise ValueError("alphas and betas must be of as many heads")
        if not all(0 <= beta <= 1 for row in self.betas for beta in row):
            raise ValueError("betas must be from 0 to 1")
        return self


def _read(plan: Any, info: ValidationInfo) -> Any:
    return json_of(plan, "moa", info, "alphas and betas") if isinstance(plan, str) else plan


PlanOrPath = Annotated[Plan, BeforeValidator(_read, json_schema_input_type=Plan | str)]
"""A plan, or the path of a file of one, or of its folder."""
