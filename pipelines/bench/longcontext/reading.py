"""A prompt read into every method's cache: once for all, or by each for itself; and what reading takes."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from fovea.pipelines.bench.longcontext.drawn import fill
from fovea.pipelines.bench.longcontext.handing import HandingCache, Read, hand, handed, reads_in_full
from fovea.pipelines.bench.longcontext.methods import FULL, NEAR, SINKS, WINDOW, Method
from fovea.pipelines.bench.longcontext.twins import Twins, pieces, read
from fovea.rag.errors import FoveaError
from fovea.rag.progress import bar


@dataclass
class Reader:
    """The caches of `methods`, filled together.

    With `own`, each method reads by its own model. Otherwise the text is read once with full attention and handed to
    all; a method whose reading is another (`handing.reads_in_full`) reads by itself all the same.
    """

    twins: Twins
    methods: Sequence[Method]
    missing: Callable[[str, FoveaError], object]
    own: bool = False
    caches: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    """Copies of caches that will drop tokens, as they were when the text was read."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Processor seconds of reading, of those that read; what handing took is not in them."""
    length: int = 0
    _handed: float = 0.0

    def __post_init__(self) -> None:
        self.by_name = {method.name: method for method in self.methods}
        for method in self.methods:
            if method.name == NEAR:
                continue  # it is cut out of what full attention has read
            try:
                self.caches[method.name] = self._new(method)
            except FoveaError as error:
                self.missing(method.name, error)
        self._full = HandingCache(self.twins.handing.config, self._timed)
        self._full.layers = self.caches[FULL].layers  # two caches over one set of layers: this one hands on

    def reads(self, name: str) -> bool:
        """Whether a method reads by itself."""
        spec = self.by_name[name].spec
        return name == FULL or (name != NEAR and (self.own or (spec is not None and not reads_in_full(spec))))

    def read(self, ids: Sequence[int], chunk: int, label: str = "") -> None:
        """All caches read `ids`, behind what they have read."""
        with bar(label or "reading", len(ids)) as progress:
            for start, stop in pieces(len(ids), chunk):
                for name in [name for name in self.caches if self.reads(name)]:
                    self._read(name, list(ids[start:stop]))
                self.length += stop - start
                progress.advance(stop - start)

    def fill(self, seen: Sequence[Read], tokens: int, seed: int) -> None:
        """All caches are handed drawn tokens."""

        def take(one: Read) -> None:
            self._take(one)
            hand(self.caches[FULL], "sdpa", one)

        fill(take, seen, tokens, seed)
        self.length += tokens

    def cut_near(self) -> None:
        """Make `near`, of the first `SINKS` and the last `WINDOW` tokens, if it is wanted and there are more."""
        if NEAR in self.by_name and self.length > SINKS + WINDOW:
            self.caches[NEAR] = near_of(self.caches[FULL], self.by_name[NEAR].cache(self.twins))

    def marks(self) -> dict[str, int]:
        """How long each cache is, for `back`; from now on they can go back."""
        for cache in self.caches.values():
            cache.activate_past_recording()  # layers with a sliding window could not be cropped
        self.kept = {name: copy.deepcopy(cache) for name, cache in self.caches.items() if self._drops(name)}
        return {name: cache.get_seq_length() for name, cache in self.caches.items()}

    def back(self, marks: dict[str, int], length: int) -> None:
        """Every cache as it was, cropped, or a copy where it drops tokens; the text to `length`."""
        for name, cache in list(self.caches.items()):
            if name in self.kept:
                self.caches[name] = copy.deepcopy(self.kept[name])
            elif more := cache.get_seq_length() - marks[name]:
                cache.crop(-more)
        self.length = length

    def _drops(self, name: str) -> bool:
        """Whether a method forgets tokens for good once an answer begins."""
        spec = self.by_name[name].spec
        return any(getattr(spec, moment, None) for moment in ("evict", "heads"))

    def _new(self, method: Method) -> Any:
        if self.reads(method.name) or method.spec is None:
            return method.cache(self.twins)
        return Method(method.name, handed(method.spec)).cache(self.twins)

    def _read(self, name: str, ids: list[int]) -> None:
        model, cache = self.by_name[name].model(self.twins), self.caches[name]
        if name == FULL:
            model, cache = self.twins.handing, self._full
        began, self._handed = time.process_time(), 0.0
        try:
            read(model, cache, ids, self.length)
        except FoveaError as error:
            self._drop(name, error)
            return
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - began - self._handed

    def _timed(self, one: Read) -> None:
        began = time.process_time()
        self._take(one)
        self._handed += time.process_time() - began

    def _take(self, one: Read) -> None:
        for name in [name for name in self.caches if not self.reads(name)]:
            try:
                hand(self.caches[name], self.by_name[name].implementation, one)
            except FoveaError as error:
                self._drop(name, error)

    def _drop(self, name: str, error: FoveaError) -> None:
        if name == FULL:
            raise error
        del self.caches[name]
        self.missing(name, error)


def near_of(full: Any, near: Any) -> Any:
    """`near`, an empty cache of transformers' own, with the first and last tokens of `full`; sliding layers whole."""
    for n, layer in enumerate(full.layers):
        keys, values = layer.keys, layer.values
        if not getattr(layer, "is_sliding", False):
            kept = torch.cat([torch.arange(SINKS), torch.arange(keys.shape[2] - WINDOW, keys.shape[2])])
            keys, values = (each[:, :, kept.to(each.device)].contiguous() for each in (keys, values))
        near.update(keys, values, n)
    return near


def extrapolated(twins: Twins, cache: Any, length: int, ids: Sequence[int]) -> float:
    """Processor seconds of reading `length` tokens with full attention, from two chunks of `ids`.

    A chunk takes a + b t after t tokens, so that all chunks together take their number times the mean of the first,
    read into an empty cache, and one read behind the `length` tokens of `cache`, which is cropped back.
    """
    from transformers import DynamicCache

    model, took = twins.by("sdpa"), []
    cache.activate_past_recording()
    for where, at in ((DynamicCache(config=model.config), 0), (cache, length)):
        began = time.process_time()
        read(model, where, list(ids), at)
        took.append(time.process_time() - began)
    cache.crop(-len(ids))
    return length / len(ids) * sum(took) / 2
