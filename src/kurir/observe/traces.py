"""OpenTelemetry traces: one a message, from accepted to ended, with a span for each attempt.

Nothing is held open while a message waits, however long: spans are made when their news is durable, with their real times.
What belongs together finds together by the trace's id and the root span's, which follow from the message's id: also over
restarts, and where several processes tell of one message. One that is set waiting again by hand lives once more: a span of
its own below the first life's.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Mapping

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from kurir.core.events import Called, Event, Settled
from kurir.core.message import Attempt, Claim, State

from .log import excerpt

FLUSH = 3.0  # seconds for what is left at the end
NANO = 1_000_000_000
BAD = frozenset({"refused", "failed", "unknown"})

Attributes = dict[str, str | int]


class Ids(RandomIdGenerator):
    """Random ids, except for the one span whose ids are given."""

    def __init__(self) -> None:
        self.given: tuple[int, int] | None = None  # trace, span

    def generate_trace_id(self) -> int:
        return self.given[0] if self.given else super().generate_trace_id()

    def generate_span_id(self) -> int:
        return self.given[1] if self.given else super().generate_span_id()


def otlp(bots: Mapping[int, str], version: str, *, texts: bool = False) -> Traces:
    """Spans to a collector over OTLP/HTTP, in batches, from a thread; the queue is bounded. `OTEL_*` settles the rest."""
    return Traces(bots, version, OTLPSpanExporter(), BatchSpanProcessor, texts=texts)


class Traces:
    """A listener. `bots`: names by id; `process`: how spans come to the exporter; `texts`: spans also tell chats, texts and
    Telegram's words."""

    def __init__(
        self,
        bots: Mapping[int, str],
        version: str,
        exporter: SpanExporter,
        process: Callable[[SpanExporter], SpanProcessor],
        *,
        texts: bool = False,
    ) -> None:
        self._bots = bots
        self._texts = texts
        self._exporter = exporter
        self._ids = Ids()
        self._provider = TracerProvider(resource=_resource(version), id_generator=self._ids, shutdown_on_exit=False)
        self._provider.add_span_processor(process(exporter))
        self._tracer = self._provider.get_tracer("kurir", version)

    def hear(self, event: Event) -> None:
        if isinstance(event, Settled):
            self._settled(event)
        elif isinstance(event, Called):
            self._called(event)

    async def close(self) -> None:
        """Send what is left, for at most `FLUSH` seconds; what a collector does not take until then is dropped."""
        end = threading.Thread(target=self._provider.shutdown, name="kurir-traces", daemon=True)
        end.start()
        await asyncio.to_thread(end.join, FLUSH)
        if end.is_alive():
            self._exporter.shutdown()

    # ---------------------------------------------------------------- a message

    def _settled(self, event: Settled) -> None:
        root = self._root(event.claim)
        if root is None:
            return
        again = event.claim.requeued_at
        life = root if again is None else _span(root.trace_id, f"{event.claim.id} {again!r}")
        if event.attempt is not None:
            self._attempt(event.claim, event.attempt, life)
        if event.state.final:
            self._message(event, life, None if again is None else root)

    def _root(self, claim: Claim) -> SpanContext | None:
        """Where the message's trace hangs; None: it is not sampled."""
        digest = hashlib.sha256(claim.id.encode()).digest()
        trace, span = int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:24]) or 1
        decision = self._provider.sampler.should_sample(Context(), trace, _name(claim)).decision
        sampled = decision is Decision.RECORD_AND_SAMPLE
        return SpanContext(trace, span, False, TraceFlags(TraceFlags.SAMPLED)) if sampled else None

    def _message(self, event: Settled, life: SpanContext, parent: SpanContext | None) -> None:
        """From accepted to ended; one that was retried by hand lives once more, below (`parent`) its first life."""
        claim, state = event.claim, event.state
        began = _ns(claim.accepted_at if claim.requeued_at is None else claim.requeued_at)
        attributes: Attributes = {
            **self._about(claim),
            "kurir.state": state.value,
            "kurir.attempts": event.attempt.number if event.attempt else claim.attempts,
        }
        if self._texts:
            attributes["kurir.chat"] = claim.chat
            attributes["kurir.text"] = excerpt(claim.params).removeprefix(": ")
            attributes["kurir.reason"] = event.reason or ""
        name = _name(claim) if parent is None else f"{_name(claim)} again"
        above = Context() if parent is None else set_span_in_context(NonRecordingSpan(parent), Context())
        self._ids.given = (life.trace_id, life.span_id)
        try:
            span = self._tracer.start_span(name, above, attributes=attributes, start_time=began)
        finally:
            self._ids.given = None
        span.set_status(Status(StatusCode.OK if state is State.DELIVERED else StatusCode.ERROR))
        span.end(max(_ns(event.at), began))

    def _attempt(self, claim: Claim, attempt: Attempt, life: SpanContext) -> None:
        attributes: Attributes = {
            **self._about(claim),
            "kurir.attempt": attempt.number,
            "kurir.outcome": attempt.outcome,
        }
        if attempt.status is not None:
            attributes["http.response.status_code"] = attempt.status
        if self._texts and attempt.error is not None:
            attributes["kurir.error"] = attempt.error
        span = self._tracer.start_span(
            f"attempt {claim.method}",
            set_span_in_context(NonRecordingSpan(life), Context()),
            SpanKind.CLIENT,
            attributes,
            start_time=_ns(attempt.started_at),
        )
        if attempt.outcome in BAD:
            span.set_status(Status(StatusCode.ERROR))
        span.end(_ns(attempt.started_at + attempt.duration))

    def _about(self, claim: Claim) -> Attributes:
        return {
            "kurir.message.id": claim.id,
            "kurir.bot": self._bots.get(claim.bot, str(claim.bot)),
            "kurir.method": claim.method,
            "kurir.priority": claim.priority.name.lower(),
        }

    # ---------------------------------------------------------------- a call that is not stored

    def _called(self, event: Called) -> None:
        attributes: Attributes = {
            "kurir.bot": self._bots.get(event.bot, str(event.bot)),
            "kurir.method": event.method,
            "kurir.outcome": event.outcome,
            "kurir.repeats": event.repeats,
        }
        ended = time.time_ns()
        span = self._tracer.start_span(
            f"call {event.method}",
            Context(),
            SpanKind.CLIENT,
            attributes,
            start_time=ended - int(event.duration * NANO),
        )
        if event.outcome in BAD:
            span.set_status(Status(StatusCode.ERROR))
        span.end(ended)


def _name(claim: Claim) -> str:
    return f"deliver {claim.method}"


def _span(trace: int, name: str) -> SpanContext:
    """A sampled span whose id follows from `name`."""
    span = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) or 1
    return SpanContext(trace, span, False, TraceFlags(TraceFlags.SAMPLED))


def _ns(at: float) -> int:
    return int(at * NANO)


def _resource(version: str) -> Resource:
    """What `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say; "kurir" where they say nothing."""
    told = Resource.create({SERVICE_VERSION: version})
    if str(told.attributes[SERVICE_NAME]).startswith("unknown_service"):
        return told.merge(Resource({SERVICE_NAME: "kurir"}))
    return told
