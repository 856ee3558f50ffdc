"""Sizes, times, places: what is too much is refused, and what nobody waits for is not made."""

import asyncio
import json
import threading
import time

import pytest

from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.server.app import create_app
from fovea.pipelines.server.gate import Gate
from fovea.pipelines.server.problems import Problem
from fovea.pipelines.server.served import Served
from fovea.pipelines.server.settings import ServeSettings
from tests.serving import client, stored
from tests.slow_generator import STARTED, STOPPED, Slow

JSON = [(b"content-type", b"application/json"), (b"host", b"localhost")]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def pipeline(base):
    with stored(base) as made:
        yield made


@pytest.fixture
def slow(base):
    STARTED.clear()
    STOPPED.clear()
    with stored(base, generate=Slow()) as made:
        yield made


class Request:
    """One request by hand: its body comes when it is told to, and the client goes when it is told to."""

    def __init__(self, app, path, body=b"", more=()):
        self.app, self.gone, self.sent = app, asyncio.Event(), []
        self.coming = [{"type": "http.request", "body": body, "more_body": bool(more)}, *more]
        self.scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": path,
            "raw_path": path.encode(), "query_string": b"", "headers": JSON, "scheme": "http", "root_path": "",
            "client": ("127.0.0.1", 1), "server": ("localhost", 80),
        }  # fmt: skip

    async def receive(self):
        if self.coming:
            message = self.coming.pop(0)
            if callable(message):
                return await message()
            return message
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)

    async def run(self):
        await self.app(self.scope, self.receive, self.send)

    @property
    def status(self):
        return self.sent[0]["status"] if self.sent else 0

    @property
    def text(self):
        return b"".join(m.get("body", b"") for m in self.sent).decode()


def body(**more):
    return json.dumps({"question": "tea", **more}).encode()


@pytest.mark.parametrize("path", ["/search", "/ask", "/v1/chat/completions"])
def test_a_body_is_counted_as_it_comes(pipeline, path):
    """No Content-Length says how long it is: the parts that come after the limit are not read."""
    read = []

    def part():
        async def receive():
            read.append(1)
            return {"type": "http.request", "body": b"x" * 400, "more_body": True}

        return receive

    served = Served({"qa": pipeline}, ServeSettings(max_body=1000))
    request = Request(create_app(served), path, b'{"question": "', [part() for _ in range(100)])
    asyncio.run(request.run())
    assert (request.status, len(read)) == (413, 3)
    assert "more than 1,000 bytes" in request.text


def test_a_length_that_is_too_large_is_refused_before_the_body(pipeline):
    with client(pipeline, ServeSettings(max_body=100)) as asked:
        reply = asked.post("/search", json={"question": "x" * 200})
        assert (reply.status_code, reply.json()["error"]["type"]) == (413, "request_too_large")
        assert asked.post("/search", json={"question": "tea"}).status_code == 200


def test_a_body_that_does_not_come_is_not_waited_for(pipeline):
    async def never():
        await asyncio.sleep(60)

    served = Served({"qa": pipeline}, ServeSettings(timeout=0.1))
    request = Request(create_app(served), "/search", b"{", [never])
    asyncio.run(asyncio.wait_for(request.run(), 10))
    assert request.status == 408


@pytest.mark.parametrize("path", ["/ask", "/v1/chat/completions"])
def test_an_answer_has_its_time(slow, path):
    with client(slow, ServeSettings(timeout=0.6)) as asked:
        ask = {"question": "tea", "model": "qa", "messages": [{"role": "user", "content": "tea"}]}
        ask = {k: v for k, v in ask.items() if (k == "question") == (path == "/ask")}
        reply = asked.post(path, json=ask)
        assert (reply.status_code, reply.json()["error"]["type"]) == (504, "timeout_error")
        assert STOPPED.wait(5)
        streamed = asked.post(path, json={**ask, "stream": True})
        assert (streamed.status_code, "timeout_error" in streamed.text, "word1" in streamed.text) == (200, True, True)


CHAT = {"model": "qa", "messages": [{"role": "user", "content": "tea"}]}


@pytest.mark.parametrize("length", ["9" * 30, "9" * 5000, "²"])
def test_a_length_that_is_no_number_of_this_world(pipeline, length):
    served = Served({"qa": pipeline}, ServeSettings())
    request = Request(create_app(served), "/search", body())
    request.scope["headers"] = [*JSON, (b"content-length", length.encode("latin-1"))]
    asyncio.run(request.run())
    assert request.status == (200 if length == "²" else 413)


@pytest.mark.parametrize(("path", "ask"), [("/ask", {"question": "tea"}), ("/v1/chat/completions", CHAT)])
def test_the_time_of_a_stream_runs_while_it_waits_too(slow, path, ask):
    """For a place, and for the first piece."""
    long = Pipeline(base=slow.base, spec=slow.spec.model_copy(update={"generate": Slow(seconds=1.2, words=2)}))
    served = Served({"qa": long}, ServeSettings(concurrent=1, timeout=0.5))

    async def two():
        requests = [Request(app, path, json.dumps({**ask, "stream": True}).encode()) for _ in range(2)]
        await asyncio.gather(*(request.run() for request in requests))
        return [(request.status, "timeout_error" in request.text) for request in requests]

    app = create_app(served)
    assert asyncio.run(two()) == [(504, True), (504, True)]
    served.close()


@pytest.mark.parametrize(("path", "ask"), [("/ask", {"question": "tea"}), ("/v1/chat/completions", CHAT)])
def test_a_client_that_reads_nothing_holds_no_place_for_ever(slow, monkeypatch, path, ask):
    monkeypatch.setattr("fovea.pipelines.server.events.LAST", 0.2)
    served = Served({"qa": slow}, ServeSettings(concurrent=1, timeout=0.5))

    async def stuck():
        request = Request(create_app(served), path, json.dumps({**ask, "stream": True}).encode())

        async def send(message):
            request.sent.append(message)
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()  # As a server does whose client's window is full.

        request.send = send
        await asyncio.wait_for(request.run(), 5)
        async with asyncio.timeout(1), served.answering.place():
            return request

    request = asyncio.run(stuck())
    assert (request.status, len(request.sent)) == (200, 2)
    assert b"fovea_requests_cancelled_total{" in served.metrics.text()[0]


@pytest.mark.parametrize("stream", [False, True])
def test_when_the_client_goes_the_model_stops_and_the_place_is_free(slow, stream):
    served = Served({"qa": slow}, ServeSettings(concurrent=1))

    async def leave():
        request = Request(create_app(served), "/ask", body(stream=stream))
        running = asyncio.ensure_future(request.run())
        assert await asyncio.to_thread(STARTED.wait, 5)
        await asyncio.sleep(0.12 if stream else 0)
        request.gone.set()
        await asyncio.wait_for(running, 5)
        async with asyncio.timeout(1), served.answering.place():
            pass
        return request

    request = asyncio.run(leave())
    assert STOPPED.wait(5)
    assert "word39" not in request.text
    assert b"fovea_requests_cancelled_total{" in served.metrics.text()[0]


def test_only_so_many_are_answered_at_once_and_wait(slow):
    brief = slow.spec.model_copy(update={"generate": Slow(words=4)})
    served = Served({"qa": Pipeline(base=slow.base, spec=brief)}, ServeSettings(concurrent=1, waiting=1))
    app = create_app(served)

    async def three():
        requests = [Request(app, "/ask", body()) for _ in range(3)]
        await asyncio.gather(*(request.run() for request in requests))
        return requests

    replies = asyncio.run(three())
    assert sorted(reply.status for reply in replies) == [200, 200, 503]
    refused = next(reply for reply in replies if reply.status == 503)
    assert (b"retry-after", b"1") in refused.sent[0]["headers"]
    served.close()


def test_a_gate_gives_its_places_back_whatever_happens():
    async def through():
        gate, most, now = Gate(2, 100), 0, 0

        async def one(number):
            nonlocal most, now
            async with gate.place():
                now += 1
                most = max(most, now)
                try:
                    await asyncio.sleep(0.001)
                    if number % 3 == 0:
                        raise ValueError
                finally:
                    now -= 1

        tasks = [asyncio.ensure_future(one(n)) for n in range(60)]
        await asyncio.sleep(0)
        for task in tasks[::7]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        full = Gate(1, 0)
        async with gate.place(), gate.place(), full.place():
            with pytest.raises(Problem, match="wait already"):
                async with full.place():
                    pass
        return most, gate.waiting

    assert asyncio.run(through()) == (2, 0)


def test_searches_go_on_while_answers_are_written(slow):
    with client(slow, ServeSettings(concurrent=1)) as asked:
        answering = threading.Thread(target=asked.post, args=("/ask",), kwargs={"json": {"question": "tea"}})
        answering.start()
        assert STARTED.wait(5)
        began = time.monotonic()
        assert asked.post("/search", json={"question": "tea"}).status_code == 200
        assert time.monotonic() - began < 1.5, "an answer takes two seconds"
        assert answering.is_alive()
        answering.join()
