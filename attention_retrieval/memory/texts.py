"""Texts read once: the cache of a prompt's beginning, from memory, from a file, or read now.

    texts = Texts(lm, attention, Shelf(folder, limit), content)
    with texts.open(tokens, about) as text:
        for piece in lm.stream([*tokens, *question], limit=64, cache=text.cache): ...

What a causal model makes of a text's tokens does not depend on what follows: keys and values of the text are read once,
and each question is read behind them. After it the cache is cropped back to the text. Nothing stale can be found: a key
is a hash of the tokens, of the model's files and of the settings of its attention.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fovea.attention_retrieval.memory.shelf import Shelf
from fovea.rag import trace
from fovea.rag.causal_lm import CausalLM, cache_argument
from fovea.rag.component import fingerprint
from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.progress import bar

if TYPE_CHECKING:
    from fovea.attention_retrieval.attention import Attention
    from fovea.attention_retrieval.hf import RetrievalCache

PIECE = 4096
"""Tokens that are read at a time. A later piece attends with a mask, all of it computed, where the first is a plain
triangle: by 1,024 a text of 2,000 tokens took up to 1.6 times a plain prefill's time, in one piece 1.06 times."""
HELD = 4
"""Caches that stay in memory between questions; others are mapped from their files, in far less time than reading."""
NAMED = ("kind", "name", "model", "settings")
"""What says of which text, by which reader, a cache is."""


@dataclass
class Text:
    """A cache that holds a text, `tokens` long, where it was `found`, and what it took to have it."""

    key: str
    cache: RetrievalCache
    tokens: int
    found: Literal["memory", "file", "read"]
    seconds: float
    bytes: int
    """Of its file; 0 where it is not kept in one."""
    mark: Any

    def cut(self, tokens: int) -> None:
        """Go on from the first `tokens` of the text alone. The cache is then not kept in memory; its file stays."""
        self.cache.crop(tokens - self.tokens)
        self.tokens, self.mark = tokens, None

    def back(self) -> bool:
        """Forget all behind the text; False where the cache is then not what it was to the last bit."""
        same = self.cache.mark() == self.mark
        try:
            self.cache.crop(min(self.tokens - self.cache.get_seq_length(), 0))
        except ModelError:  # A sliding window or an eviction has dropped some of it.
            return False
        return same and self.cache.get_seq_length() == self.tokens


class Texts:
    """Texts that one model has read with one `attention`. `content` names the model's files: `content_of`.

    Threads may share it: one cache serves one of them at a time, and whoever comes meanwhile maps a copy of the file.
    """

    def __init__(self, lm: CausalLM, attention: Attention, shelf: Shelf | None, content: str) -> None:
        self.lm, self.attention, self.shelf, self.content = lm, attention, shelf, content
        made_by = {"model": content, "at": lm.model.config.name_or_path, "dtype": str(lm.model.dtype)}
        self.settings = fingerprint({**made_by, "attention": attention.settings(speed=False)})
        self._held: OrderedDict[str, Text] = OrderedDict()
        self._making: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def key(self, tokens: Sequence[int], about: Mapping[str, Any]) -> str:
        """The name of the cache of these tokens, which stand for the text whose digest is `about["text"]`."""
        return fingerprint([self.settings, about.get("text", ""), list(tokens)])

    @contextmanager
    def open(self, tokens: Sequence[int], about: Mapping[str, Any]) -> Iterator[Text]:
        """The cache of `tokens`, for one question at a time; `about` is kept beside its file.

        Raises ModelError where the model fails. Reading costs O(tokens^2), a file O(bytes).
        """
        key, began = self.key(tokens, about), time.perf_counter()
        with ExitStack() as stack:
            if self.shelf:
                stack.enter_context(self.shelf.using(key))
            with self._one_at_a_time(key):
                text = self._from_memory(key) or self._from_file(key) or self._read(key, tokens, about)
            text.seconds = time.perf_counter() - began
            try:
                yield text
            finally:
                if text.back():
                    self._hold(text)

    @contextmanager
    def _one_at_a_time(self, key: str) -> Iterator[None]:
        """Who wants the same text while it is read waits, and finds it."""
        with self._lock:
            lock = self._making.setdefault(key, threading.Lock())
        with lock:
            yield

    def _from_memory(self, key: str) -> Text | None:
        with self._lock:
            text = self._held.pop(key, None)
        if text:
            text.found = "memory"
            text.cache.report_anew()
            if self.shelf:
                self.shelf.find(key)
        return text

    def _from_file(self, key: str) -> Text | None:
        from fovea.attention_retrieval.hf import RetrievalCache

        path = self.shelf.find(key) if self.shelf else None
        if path is None or self.shelf is None:
            return None
        try:
            cache = RetrievalCache.load(path)
            return Text(key, cache, cache.get_seq_length(), "file", 0.0, path.stat().st_size, cache.mark())
        except ModelError as error:
            if path.exists():  # Else another process has taken it away.
                trace.warn(f"a text's cache is damaged, and the text is read anew: {error.what}")
                self.shelf.drop(key)
        except FileNotFoundError:
            pass
        return None

    def _read(self, key: str, tokens: Sequence[int], about: Mapping[str, Any]) -> Text:
        cache = read(self.lm, self.attention, tokens)
        said = {**about, "content": self.content, "settings": self.settings, "tokens": len(tokens)}
        path = self.shelf.put(key, cache.save, said) if self.shelf else None
        size = path.stat().st_size if path else 0
        if path and self.shelf:
            for entry in self.shelf.entries():
                if entry.key != key and _replaced(entry.about, said):
                    self.shelf.drop(entry.key)
        return Text(key, cache, len(tokens), "read", 0.0, size, cache.mark())

    def _hold(self, text: Text) -> None:
        with self._lock:
            self._held[text.key] = text
            while len(self._held) > HELD:
                self._held.popitem(last=False)


def _replaced(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a cache is of what a text was before, by the same reader."""
    return all(old.get(name) == new.get(name) for name in NAMED) and old.get("text") != new.get("text")


def read(lm: CausalLM, attention: Attention, tokens: Sequence[int]) -> RetrievalCache:
    """A new cache of `attention` that holds `tokens`, its indexes made; O(tokens^2). Raises ModelError where the model
    fails, ConfigError for an attention that keeps another kind of cache.
    """
    import torch

    from fovea.attention_retrieval.hf import RetrievalCache

    cache, base = attention.cache(lm.model.config), lm.model.base_model
    if not isinstance(cache, RetrievalCache):
        what = f"attention: {attention.name} keeps a {type(cache).__name__}, which holds no text that is read once"
        raise ConfigError(what, fix="attention: {use: retrieval}, or leave out read")
    ids = torch.tensor([list(tokens)], device=lm.model.device)
    with torch.inference_mode(), bar("tokens read", len(tokens)) as progress:
        for piece in ids.split(PIECE, dim=1):
            try:
                base(input_ids=piece, **cache_argument(base, cache))
            except (RuntimeError, MemoryError) as error:
                words = " ".join(str(error).split())[:400]
                what = f"the model {lm.name} failed to read a text: {type(error).__name__}: {words}"
                raise ModelError(what, fix="a smaller text or device: cpu, if memory ran out") from error
            progress.advance(piece.shape[1])
    cache.index()
    return cache
