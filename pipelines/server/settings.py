"""ServeSettings: the block `serve:` of a pipeline's YAML: who may ask, for which documents, and how much.

```yaml
serve:
  keys:
    - {name: alice, sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}
    - {name: intranet, env: INTRANET_KEY, scope: "team == 'sales'"}
  documents: true
```
"""

from __future__ import annotations

import os
import re
from typing import Annotated

from pydantic import AfterValidator, ByteSize, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from fovea.pipelines.server.secret import digest
from fovea.rag.errors import ConfigError, QueryError
from fovea.rag.filters import All, Filter, compares, parse
from fovea.rag.written import Written

SHORTEST = 20
"""Characters of a key in an environment variable."""


def bounded(text: str) -> str:
    """The text of a filter that can bound what a key sees; raises ValueError for another."""
    if not text:
        return text
    try:
        where = parse(text)
    except QueryError as error:
        raise ValueError(str(error)) from None
    if "page" in {part.field for part in compares(where)}:
        raise ValueError("a scope is of whole documents, and 'page' is a field of their passages")
    return text


Scope = Annotated[str, AfterValidator(bounded)]
"""A filter (docs/filters.md) that no request can widen; left out, every document."""


class Key(Written):
    """Someone who may ask. The key itself never stands here: its SHA-256, or the variable that holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    """Who it is, for the log."""
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """The SHA-256 of the key, as `fovea serve --new-key NAME` prints it."""
    env: str | None = Field(default=None, pattern="^[A-Za-z_][A-Za-z0-9_]*$")
    """The environment variable that holds the key, of 20 characters at least."""
    scope: Scope = ""
    """The documents that this key may see, as a filter such as `team == 'sales'`; left out, all."""
    write: bool = False
    """Whether it may upload and delete, where `documents` is on."""

    def digest(self) -> str:
        """The SHA-256 of the key; raises ConfigError for a variable that is not set, or holds too short a one."""
        if self.env is None:
            return str(self.sha256)
        value = os.environ.get(self.env, "").strip()
        if len(value) < SHORTEST:
            state = "is not set" if not value else f"holds fewer than {SHORTEST} characters"
            raise ConfigError(
                f"the environment variable {self.env} of the key {self.name!r} {state}",
                where="serve.keys",
                fix=f"export {self.env}=KEY, a key such as fovea serve --new-key NAME prints",
            )
        return digest(value)

    @model_validator(mode="after")
    def _one_secret(self) -> Key:
        if (self.sha256 is None) == (self.env is None):
            raise ValueError("a key has either 'sha256' or 'env'")
        if self.write and self.scope:
            raise ValueError("a key with a scope can only read: what it uploads might lie outside of that")
        return self


class ServeSettings(Written):
    """How pipelines are served; the first pipeline's counts for all that are served with it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: list[Key] = Field(default_factory=list)
    """Who may ask; none, anybody, and then only on this machine."""
    scope: Scope = ""
    """The documents that anybody may see at all, as a filter."""
    documents: bool = False
    """Whether documents can be uploaded and deleted, by keys that may `write`."""
    uploads: str = "uploads"
    """The folder that uploaded files are kept in, relative to the YAML file; in it, a folder for each pipeline."""
    max_body: ByteSize = Field(default=ByteSize(1_000_000), gt=0)
    """The largest request, as `1MB` or a number of bytes."""
    max_upload: ByteSize = Field(default=ByteSize(50_000_000), gt=0)
    """The largest upload."""
    timeout: PositiveFloat = 120.0
    """Seconds that a request may take."""
    concurrent: PositiveInt = 2
    """Answers written at the same time; others wait."""
    waiting: int = Field(default=64, ge=0)
    """Requests that may wait for that; more are refused with 503."""
    drain: PositiveFloat = 10.0
    """Seconds that running requests have left when the server is told to end."""
    origins: list[str] = Field(default_factory=list)
    """Origins of web pages that may ask from a browser (CORS), such as `https://intranet.example`."""
    hosts: list[str] = Field(default_factory=list)
    """Host names that requests may be for. Left out: on this machine `localhost` and its addresses, else any."""
    log_questions: bool = False
    """Whether questions are logged."""

    @model_validator(mode="after")
    def _fits_together(self) -> ServeSettings:
        names = [key.name for key in self.keys]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two keys have the name {twice!r}")
        if self.scope and (writer := next((key.name for key in self.keys if key.write), None)):
            raise ValueError(f"the key {writer!r} may write, and 'scope' bounds all keys: give each key its own scope")
        if odd := next((one for one in self.origins if not re.fullmatch(r"https?://[^/\s*]+", one)), None):
            raise ValueError(f"origins: {odd!r} is no origin such as https://intranet.example")
        return self


def filter_of(*scopes: str) -> Filter | None:
    """All scopes together; None where there is none."""
    parts = tuple(parse(scope) for scope in scopes if scope)
    return parts[0] if len(parts) == 1 else All(parts) if parts else None
