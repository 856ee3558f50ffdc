"""Metrics: what Prometheus reads: requests by route and status, seconds, how many run, seconds of stages."""

from __future__ import annotations

import re

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from fovea.rag.trace import Trace

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_TURN = re.compile(r"^(again|round \d+) ")


class Metrics:
    """The counts of one server. Labels are names of routes, pipelines and stages, never what was asked."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        to = self.registry
        self.requests = Counter("fovea_requests", "Requests answered.", ["method", "route", "status"], registry=to)
        self.seconds = Histogram(
            "fovea_request_seconds", "Seconds a request took.", ["route"], buckets=BUCKETS, registry=to
        )
        self.running = Gauge("fovea_requests_running", "Requests that run now.", registry=to)
        self.stages = Histogram(
            "fovea_stage_seconds",
            "Seconds of one stage of a question.",
            ["pipeline", "stage"],
            buckets=BUCKETS,
            registry=to,
        )
        self.tokens = Counter("fovea_tokens", "Tokens of prompts and answers.", ["pipeline", "kind"], registry=to)
        self.cancelled = Counter("fovea_requests_cancelled", "Requests whose client went.", ["route"], registry=to)

    def staged(self, pipeline: str, trace: Trace | None) -> None:
        """Count the stages of a question; later rounds count with the first."""
        for stage in trace.stages if trace else ():
            self.stages.labels(pipeline, _TURN.sub("", stage.name)).observe(stage.seconds)

    def text(self) -> tuple[bytes, str]:
        """All of it in Prometheus' format, and the media type of that."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
