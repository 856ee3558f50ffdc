"""CausalLM: a local language model of Hugging Face transformers, loaded once and shared.

lm = load("smollm2")
for piece in lm.stream(lm.tokens([("user", "Why is the sky blue?")]), limit=64): ...
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import cache
from inspect import signature
from typing import TYPE_CHECKING, Any

from fovea.rag.attention_interface import check_attention
from fovea.rag.content import state_of
from fovea.rag.engines import no_bars
from fovea.rag.errors import FoveaError, ModelError, require
from fovea.rag.generation import is_cancelled
from fovea.rag.models import locate
from fovea.rag.wordpieces import readable

if TYPE_CHECKING:
    import torch

Messages = Sequence[tuple[str, str]]
"""A conversation as `(role, text)`; roles are system, user and assistant."""

ORGANISATION = "openai-community"
"""Whose models those without an organisation in their name are."""

_loading = threading.Lock()


def load(model: str, *, dtype: str = "auto", device: str = "auto", attention: str | None = None) -> CausalLM:
    """The model in a folder, of a name of `fovea models`, or of a hub name.

    It is the same object for the same files, dtype, device and attention.
    `attention` is an `attn_implementation` that transformers knows; its own choice where it is None.
    Only safetensors weights are read, and no code that comes with a model is run. Raises ModelError otherwise.
    """
    torch = require("torch", extra="local", needed_by="a local language model")
    files = locate(model, organisation=ORGANISATION)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if dtype == "auto" and device == "cpu":
        dtype = "float32"
    with _loading:
        return _load(str(files.path), state_of(files.path), files.name, dtype, device, attention)


@cache
def _load(path: str, state: object, name: str, dtype: str, device: str, attention: str | None) -> CausalLM:
    transformers = require("transformers", extra="local", needed_by="a local language model")
    try:
        if attention not in (None, "eager"):
            check_attention(transformers.AutoConfig.from_pretrained(path, local_files_only=True), attention)
        tokenizer = transformers.AutoTokenizer.from_pretrained(path, local_files_only=True)
        with no_bars():
            model = transformers.AutoModelForCausalLM.from_pretrained(
                path, dtype=dtype, local_files_only=True, use_safetensors=True, attn_implementation=attention
            )
        model = model.to(device).eval()
    except FoveaError:
        raise
    except Exception as error:  # files, settings and devices fail in many kinds
        words = " ".join(str(error).split())[:400]
        raise ModelError(
            f"cannot load {name!r} from {path} as a causal language model: {type(error).__name__}: {words}",
            fix="give a folder with config.json, a tokenizer and *.safetensors, and a device that this machine has",
        ) from error
    return CausalLM(name, model, tokenizer)


def _ways(messages: Messages) -> Iterator[list[dict[str, Any]]]:
    """The turns of a conversation as templates may want them."""
    plain = [{"role": role, "content": text} for role, text in messages]
    joined = [{"role": "user", "content": "\n\n".join(text for _, text in messages)}]
    yield from (plain, joined)
    for turns in (plain, joined):
        yield [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in turns]


def _reach(config: Any) -> int | None:
    """How many positions a model reads, its rotary embedding's scaling counted: `factor` times those it was trained on
    (`original_max_position_embeddings`), where `max_position_embeddings` does not say so itself.
    """
    stated = getattr(config, "max_position_embeddings", None)
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    if not stated or not isinstance(rope, dict) or not isinstance(factor := rope.get("factor"), (int, float)):
        return stated
    return max(stated, int(factor * (rope.get("original_max_position_embeddings") or stated)))


def cache_argument(model: Any, cache: Any) -> dict[str, Any]:
    """`cache` as an argument of `model` and of its `generate`: its name changed with transformers 5.24."""
    return {"cache" if "cache" in signature(model.forward).parameters else "past_key_values": cache}


@dataclass(frozen=True)
class CausalLM:
    """A model and its tokenizer. Several threads may generate at once: nothing of a run is kept here."""

    name: str
    model: Any
    tokenizer: Any

    @property
    def window(self) -> int | None:
        """How many tokens prompt and answer may have together; None if the model does not say."""
        config = self.model.config.get_text_config()
        trained, reach = getattr(config, "max_position_embeddings", None), _reach(config)
        told = self.tokenizer.model_max_length if self.tokenizer.model_max_length < 10**9 else None
        if told == trained:  # said of the positions before they were scaled
            told = None
        return min((n for n in (reach, told) if n), default=None)

    def tokens(self, messages: Messages) -> list[int]:
        """The conversation as the model was trained to read it; texts in a row for a model without a chat template."""
        return list(self._encode(messages)["input_ids"])

    def prompt(self, messages: Messages) -> tuple[str, list[tuple[int, int]]]:
        """The text of the conversation, and which of its characters each of the `tokens` stands for: (start, end).

        Raises ModelError for a tokenizer that does not know.
        """
        if not self.tokenizer.is_fast:
            raise ModelError(f"the tokenizer of {self.name} does not say which characters its tokens stand for")
        return self._text(messages), [tuple(pair) for pair in self._encode(messages, True)["offset_mapping"]]

    def _encode(self, messages: Messages, offsets: bool = False) -> Any:
        special = not self.tokenizer.chat_template  # a template writes its special tokens itself
        return self.tokenizer(readable(self._text(messages)), add_special_tokens=special, return_offsets_mapping=offsets)

    def _text(self, messages: Messages) -> str:
        """The conversation by the chat template, in the first of the ways it may be given whose result holds every
        text: as it is, the system's words joined with the user's, and both with contents as blocks.

        Raises ModelError for a template that loses what it is told every way.
        """
        if not self.tokenizer.chat_template:
            return "\n\n".join(text for _, text in messages) + "\n\nAnswer:"
        said: list[str] = []
        for way in _ways(messages):
            try:
                text = self._by_template(way)
            except Exception as error:  # a template may raise by itself, or fail on contents it does not expect
                said.append(f"{type(error).__name__}: {error}")
                continue
            if all(part.strip() in text for _, part in messages):
                return text
            said.append("it leaves out a message")
        raise ModelError(
            f"the chat template of {self.name} does not keep what it is given ({said[0]})",
            fix="mend chat_template in its tokenizer_config.json, or remove it: texts are then joined by blank lines",
        )

    def _by_template(self, turns: list[dict[str, Any]]) -> str:
        return str(
            self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, enable_thinking=False)
        )  # templates that know nothing of thinking ignore the last

    @property
    def ends(self) -> list[int]:
        """The tokens that end a turn: all that the model's settings and the tokenizer name."""
        named = [self.model.generation_config.eos_token_id, self.model.config.get_text_config().eos_token_id]
        named.append(self.tokenizer.eos_token_id)
        flat = [n for one in named for n in (one if isinstance(one, (list, tuple)) else [one]) if n is not None]
        return list(dict.fromkeys(flat))

    def read(self, tokens: Sequence[int], cache: Any, **given: Any) -> torch.Tensor:
        """Read `tokens` into `cache`, behind what it holds; the logits of what follows, (vocabulary,) float32.

        `given` goes to the model. Raises ModelError if it fails.
        """
        import torch

        if "logits_to_keep" in signature(self.model.forward).parameters:
            given["logits_to_keep"] = 1
        ids = torch.tensor([list(tokens)], device=self.model.device)
        try:
            with torch.inference_mode():
                out = self.model(ids, use_cache=True, **cache_argument(self.model, cache), **given)
        except (RuntimeError, MemoryError) as error:
            words = " ".join(str(error).split())[:400]
            raise ModelError(f"the model {self.name} failed while it read a text: {words}") from error
        return out.logits[0, -1].float()

    def stream(
        self, tokens: Sequence[int], limit: int, *, temperature: float = 0.0, seed: int = 0, cache: Any = None
    ) -> Pieces:
        """At most `limit` further tokens, as text in pieces of whole words. Greedy at temperature 0.

        Otherwise tokens are drawn from softmax(logits / temperature): the largest of logits / temperature + Gumbel
        noise is such a draw, and takes its noise from a generator of this run alone. Keys and values go to `cache`, a
        new one of transformers' own where it is None. Raises ModelError if the model fails, also in the middle.
        """
        return Pieces(self, tokens, limit, temperature, seed, cache)


@dataclass
class Pieces:
    """The text of one run; after the last piece, `tokens` says how many were made and `cut` whether more would come."""

    lm: CausalLM
    prompt: Sequence[int]
    limit: int
    temperature: float
    seed: int
    cache: Any = None
    tokens: int = 0
    cut: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _error: Exception | None = None

    def __iter__(self) -> Generator[str]:
        from transformers import TextIteratorStreamer

        streamer = TextIteratorStreamer(self.lm.tokenizer, skip_prompt=True, skip_special_tokens=True)
        thread = threading.Thread(target=copy_context().run, args=(self._run, streamer), daemon=True)
        thread.start()
        try:
            yield from (piece for piece in streamer if piece)
        finally:
            self._stop.set()
            thread.join()
        if isinstance(self._error, FoveaError):
            raise self._error
        if self._error is not None:
            words = " ".join(str(self._error).split())[:400]
            raise ModelError(
                f"the model {self.lm.name} failed: {type(self._error).__name__}: {words}",
                fix="a smaller model, fewer passages or device: cpu, if memory ran out",
            ) from self._error

    def _run(self, streamer: Any) -> None:
        """In the thread: whatever happens, the reader is told that the text has ended."""
        try:
            self._generate(streamer)
        except Exception as error:
            self._error = error
        finally:
            streamer.end()

    def _generate(self, streamer: Any) -> None:
        import torch

        model = self.lm.model
        ids = torch.tensor([list(self.prompt)], device=model.device)
        ends = self.lm.ends
        with torch.inference_mode():
            made = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=self.limit,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                eos_token_id=ends or None,
                pad_token_id=ends[0] if ends else None,
                logits_processor=[self._noise(model.device)] if self.temperature else [],
                stopping_criteria=[lambda ids, _: torch.full((len(ids),), self._stopped(), device=ids.device)],
                streamer=streamer,
                **self._cache(),
            )
        self.tokens = made.shape[1] - ids.shape[1]
        self.cut = self.tokens >= self.limit and int(made[0, -1]) not in ends

    def _stopped(self) -> bool:
        return self._stop.is_set() or is_cancelled()

    def _cache(self) -> dict[str, Any]:
        return {} if self.cache is None else cache_argument(self.lm.model, self.cache)

    def _noise(self, device: torch.device) -> Any:
        import torch

        source = torch.Generator(device).manual_seed(self.seed)

        def process(_: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            drawn = torch.rand(scores.shape, generator=source, device=device).clamp_min(1e-20)
            return scores.float() / self.temperature - torch.log(-torch.log(drawn))

        return process
