"""What went wrong at a model's provider, and what mends it: the errors of many client libraries, in one vocabulary."""

from __future__ import annotations

from fovea.rag.errors import FoveaError, ModelError
from fovea.rag.secret_words import words_of

_CAUSES = (
    (
        (401, 403),
        ("authentication", "permission", "unauthorized", "apikey"),
        "refused the credentials",
        "set the provider's key in the environment (OPENAI_API_KEY, ANTHROPIC_API_KEY, ...)",
    ),
    (
        (429,),
        ("ratelimit", "resourceexhausted", "quota", "throttl"),
        "refused more requests for now (rate limit or quota)",
        "wait and ask again, raise max_retries, or check the account's quota",
    ),
    (
        (404,),
        ("notfound",),
        "is not known to its provider",
        "check the model's name and base_url",
    ),
    (
        (408, 504),
        ("timeout", "timedout"),
        "did not answer in time",
        "raise timeout, or ask again",
    ),
    (
        (500, 502, 503, 529),
        ("internalserver", "serviceunavailable", "overloaded"),
        "failed at its provider",
        "ask again later, or use another model",
    ),
    (
        (),
        ("connection", "connect", "network", "protocol"),
        "cannot be reached",
        "check the network and base_url; for a local server, that it runs",
    ),
    (
        (400, 413, 422),
        ("badrequest", "invalidrequest", "unprocessable"),
        "did not accept the request",
        "read the provider's words; fewer or shorter passages (k, token_budget) if it names the context length",
    ),
)
"""Status codes, parts of class names, what happened, what to do."""


def explain(error: Exception, model: str, said: int = 0, *secrets: str) -> FoveaError:
    """The ModelError for what a provider's client raised, after `said` characters of answer; ours pass unchanged. No
    secret is in it, be it one of `secrets` or of the environment."""
    if isinstance(error, FoveaError):
        return error
    what, fix = _cause(error)
    after = f" after {said:,} characters of the answer" if said else ""
    words = words_of(error, *secrets)
    return ModelError(
        f"the model {model} {what}{after}: {type(error).__name__}{': ' + words if words else ''}", fix=fix
    )


def _cause(error: Exception) -> tuple[str, str]:
    status = getattr(error, "status_code", None) or getattr(getattr(error, "response", None), "status_code", None)
    kinds = " ".join(k.__name__.lower() for k in type(error).__mro__)
    by_status = [c for c in _CAUSES if status in c[0]]
    by_name = [c for c in _CAUSES if any(part in kinds for part in c[1])]
    for _, _, what, fix in (*by_status, *by_name):
        return what, fix
    return "failed", "the message is the provider's; fovea doctor lists versions"
