"""What went wrong between us and a server of OpenAI's protocol, and the command or setting that mends it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from fovea.rag.errors import FoveaError, ModelError
from fovea.rag.provider_errors import explain
from fovea.rag.secret_words import words_of

STARTS = {11434: "ollama serve", 8080: "llama-server -m MODEL.gguf", 1234: "lms server start"}
"""The command that starts the server which listens at a port by default."""
_TOO_LONG = re.compile(
    r"context[ _](?:length|size|window)|maximum context|max_model_len|too many tokens|prompt is too long", re.IGNORECASE
)
_NO_MODEL = re.compile(r"model\b.*\b(?:not (?:found|exist|loaded)|does not exist|unknown)|model_not_found", re.I | re.S)


def explained(
    error: Exception, model: str, base_url: str, key: str | None, length: int, models: Callable[[], list[str]]
) -> FoveaError:
    """The ModelError for what the client raised after `length` characters of answer, without the key, whose variable is
    `key`. `models` asks the server which models it has, and gives none where that fails too.
    """
    if isinstance(error, FoveaError):
        return error
    secret = os.environ.get(key, "").strip() if key else ""
    status, words = getattr(error, "status_code", None), words_of(error, secret)
    after = f" after {length:,} characters of the answer" if length else ""
    if status is None and (name := type(error).__name__) in ("APIConnectionError", "RemoteProtocolError"):
        words = words_of(error.__cause__ or error, secret, most=200)
        return _lost(model, base_url, name, after, words) if length else _unreachable(model, base_url, words)
    if status is None and isinstance(error, ValueError):
        return ModelError(f"the server of {model} at {base_url} sent what is no JSON{after}: {words}",
                          fix="ask again; look at the server's log, and that base_url names the API")  # fmt: skip
    if status in (401, 403):
        fix = f"check the key in {key}" if key else "api_key_env: the environment variable that holds the key"
        return ModelError(f"the server at {base_url} refused the credentials for {model}: {words}", fix=fix)
    if status is not None and _TOO_LONG.search(words):
        return ModelError(
            f"the prompt is too long for {model}: {words}",
            fix="a smaller k, or refine: {use: token_budget, max_tokens: 1500}; or start the server with a larger "
            "window (ollama: num_ctx, llama-server: -c, vllm: --max-model-len)",
        )
    if status == 404 or (status in (400, 422) and _NO_MODEL.search(words)):
        return _unknown(model, base_url, words, models())
    return explain(error, model, length, secret)


def bad_key(model: str, variable: str) -> ModelError:
    """The variable holds what cannot be sent: a line break within, or a letter beyond ASCII."""
    return ModelError(
        f"the key of the model {model!r} in {variable} has a character that no header carries, such as a line break or "
        "a letter beyond ASCII",
        fix=f"export {variable}=... with the key alone",
    )


def no_key(model: str, variable: str) -> ModelError:
    """The variable that should hold the key holds none."""
    return ModelError(f"the model {model!r} has no key: {variable} is not set", fix=f"export {variable}=...")


def _unreachable(model: str, base_url: str, words: str) -> ModelError:
    at = urlsplit(base_url)
    local = at.hostname in ("localhost", "127.0.0.1", "::1", "0.0.0.0")
    start = STARTS.get(at.port or 0, f"vllm serve {model}")
    fix = f"start it, for example: {start}; or mend base_url" if local else "check the network and base_url"
    return ModelError(f"nothing answers at {base_url}, where {model} is asked: {words}", fix=fix)


def _lost(model: str, base_url: str, name: str, after: str, words: str) -> ModelError:
    return ModelError(
        f"the server of {model} at {base_url} dropped the connection{after}: {name}: {words}",
        fix="ask again; if it happens each time, look at the server's log",
    )


def _unknown(model: str, base_url: str, words: str, known: list[str]) -> ModelError:
    if known and model not in known:
        return ModelError(f"the server at {base_url} has no model {model!r}", got=model, allowed=known)
    fix = "check base_url: most servers have their routes under /v1" if "/v1" not in base_url else (
        f"ollama pull {model}" if urlsplit(base_url).port == 11434 else "check model and base_url"
    )  # fmt: skip
    return ModelError(f"the server at {base_url} knows no such model or route: {words}", got=model, fix=fix)
