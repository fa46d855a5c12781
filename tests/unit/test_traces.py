"""Traces: one a message, made when its news is durable; nothing is held open, nothing private is told unless asked."""

from __future__ import annotations

import http.server
import importlib.abc
import random
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tests.library.helpers import BOT, TOKEN, in_virtual_time, playing, stage

from kurir import Settings
from kurir.cli.traces import traced
from kurir.core.errors import InvalidSetting
from kurir.core.events import Called, Settled
from kurir.core.message import Attempt, Claim, Priority, State
from kurir.observe import traces as traces_module
from kurir.observe.traces import Traces
from kurir.observe.tracing import open_traces, wanted
from kurir.settings import make_bot
from kurir.simulator import Limits

NOW = 1_800_000_000.0
PARAMS = b'{"chat_id":424242,"text":"the secret words"}'
CLAIM = Claim(1, 1, 1, "m1", 7, "424242", "sendMessage", PARAMS, Priority.HIGH, NOW)
FAILED = Attempt(1, NOW + 1, 0.5, "failed", 502, "Bad Gateway")
THROTTLED = Attempt(2, NOW + 2, 0.5, "throttled", 429, "Too Many Requests")
SENT = Attempt(3, NOW + 60, 0.25, "delivered", 200)


class Seen:
    """Traces with what they export."""

    def __init__(self, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.traces = Traces({7: "shop", BOT: "shop"}, "1.2.3", self._exporter, SimpleSpanProcessor, **options)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    def settle(self, claim: Claim, state: State, attempt: Attempt | None, reason: str | None = None) -> None:
        at = NOW + 61.0 if attempt is None else attempt.started_at + attempt.duration
        self.traces.hear(Settled(claim, state, reason, None, 0.0, at, attempt))


@pytest.fixture
def seen() -> Seen:
    return Seen()


def by_name(spans: Sequence[ReadableSpan]) -> list[tuple[str, float, float]]:
    """(name, start, end) in seconds since `NOW`."""
    return [(s.name, *(round((at or 0) / 1e9 - NOW, 3) for at in (s.start_time, s.end_time))) for s in spans]


def test_a_message_is_one_trace_from_accepted_to_ended_with_a_span_an_attempt(seen: Seen) -> None:
    seen.settle(CLAIM, State.WAITING, FAILED)
    seen.settle(replace(CLAIM, attempts=1), State.WAITING, THROTTLED)
    seen.settle(replace(CLAIM, attempts=2), State.DELIVERED, SENT)
    assert by_name(seen.spans) == [
        ("attempt sendMessage", 1.0, 1.5),
        ("attempt sendMessage", 2.0, 2.5),
        ("attempt sendMessage", 60.0, 60.25),
        ("deliver sendMessage", 0.0, 60.25),
    ]
    *attempts, root = seen.spans
    assert root.parent is None
    assert {a.parent.span_id for a in attempts if a.parent} == {root.context.span_id}
    assert {s.context.trace_id for s in seen.spans} == {root.context.trace_id}
    assert [a.kind for a in attempts] == [SpanKind.CLIENT] * 3
    assert [a.status.status_code for a in attempts] == [StatusCode.ERROR, StatusCode.UNSET, StatusCode.UNSET]
    assert root.status.status_code is StatusCode.OK
    assert dict(attempts[0].attributes or {}) == {
        "kurir.message.id": "m1",
        "kurir.bot": "shop",
        "kurir.method": "sendMessage",
        "kurir.priority": "high",
        "kurir.attempt": 1,
        "kurir.outcome": "failed",
        "http.response.status_code": 502,
    }
    assert (root.attributes or {})["kurir.state"] == "delivered"
    assert (root.attributes or {})["kurir.attempts"] == 3
    assert root.resource.attributes["service.name"] == "kurir"
    assert root.resource.attributes["service.version"] == "1.2.3"


def test_two_processes_that_tell_of_one_message_tell_one_trace() -> None:
    first, second = Seen(), Seen()
    first.settle(CLAIM, State.WAITING, FAILED)
    second.settle(CLAIM, State.DELIVERED, SENT)
    attempt, root = first.spans[0], second.spans[-1]
    assert attempt.parent is not None
    assert attempt.parent.span_id == root.context.span_id
    assert attempt.context.trace_id == root.context.trace_id


def test_what_ends_without_a_call_is_a_trace_too_and_an_error(seen: Seen) -> None:
    seen.settle(CLAIM, State.EXPIRED, None, "expired before it could be sent")
    assert by_name(seen.spans) == [("deliver sendMessage", 0.0, 61.0)]
    assert seen.spans[0].status.status_code is StatusCode.ERROR
    assert (seen.spans[0].attributes or {})["kurir.state"] == "expired"


def test_a_message_retried_by_hand_lives_once_more_in_the_same_trace_under_its_first_life(seen: Seen) -> None:
    seen.settle(CLAIM, State.DEAD, FAILED)
    for number, at in ((1, NOW + 10), (2, NOW + 20)):
        claim = replace(CLAIM, attempts=number, requeued_at=at)
        state = State.DEAD if number == 1 else State.DELIVERED
        seen.settle(claim, state, replace(SENT, number=number + 1, started_at=at + 1))
    assert by_name(seen.spans) == [
        ("attempt sendMessage", 1.0, 1.5),
        ("deliver sendMessage", 0.0, 1.5),
        ("attempt sendMessage", 11.0, 11.25),
        ("deliver sendMessage again", 10.0, 11.25),
        ("attempt sendMessage", 21.0, 21.25),
        ("deliver sendMessage again", 20.0, 21.25),
    ]
    spans = seen.spans
    assert len({span.context.span_id for span in spans}) == len(spans)
    assert len({span.context.trace_id for span in spans}) == 1
    first, root, *_ = spans
    assert root.parent is None
    for attempt, life in ((first, root), (spans[2], spans[3]), (spans[4], spans[5])):
        assert attempt.parent is not None
        assert attempt.parent.span_id == life.context.span_id
    for life in (spans[3], spans[5]):
        assert life.parent is not None
        assert life.parent.span_id == root.context.span_id


def test_nothing_private_is_told_unless_asked(seen: Seen) -> None:
    asked = Seen(texts=True)
    for one in (seen, asked):
        one.settle(
            CLAIM, State.DEAD, replace(FAILED, outcome="refused", error="can't parse 424242"), "can't parse 424242"
        )
    told = "".join(span.to_json() for span in seen.spans)
    assert "secret words" not in told
    assert "424242" not in told
    attributes = dict(asked.spans[-1].attributes or {})
    assert attributes["kurir.text"] == '"the secret words"'
    assert attributes["kurir.chat"] == "424242"
    assert attributes["kurir.reason"] == "can't parse 424242"
    assert (asked.spans[0].attributes or {})["kurir.error"] == "can't parse 424242"


def test_a_call_that_is_not_stored_is_a_trace_of_its_own(seen: Seen) -> None:
    seen.traces.hear(Called(7, "getMe", "failed", 0.25, 2))
    (span,) = seen.spans
    assert span.name == "call getMe"
    assert (span.end_time or 0) - (span.start_time or 0) == 250_000_000
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["kurir.repeats"] == 2


def test_messages_that_wait_cost_no_memory() -> None:
    traces = Traces({}, "1", _Nowhere(), SimpleSpanProcessor)

    def tell(number: int) -> None:
        claim = replace(CLAIM, id=f"m{number}")
        traces.hear(Settled(claim, State.WAITING, "failed", None, 0.0, NOW + 2, FAILED))

    for number in range(500):
        tell(number)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(500, 5500):
        tell(number)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 100_000  # bytes


class _Nowhere(InMemorySpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> Any:
        super().export(spans)
        self.clear()


def test_a_sampler_keeps_or_drops_whole_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    seen, rng = Seen(), random.Random(1)
    for _ in range(200):
        claim = replace(CLAIM, id=f"{rng.getrandbits(64):x}")
        seen.settle(claim, State.WAITING, FAILED)
        seen.settle(claim, State.DELIVERED, SENT)
    traces: dict[int, int] = {}
    for span in seen.spans:
        traces[span.context.trace_id] = traces.get(span.context.trace_id, 0) + 1
    assert set(traces.values()) == {3}
    assert 60 < len(traces) < 140


@in_virtual_time
async def test_the_trace_of_a_message_sent_by_a_courier() -> None:
    seen = Seen()
    async with playing(limits=Limits.none()) as (kurir, _):
        kurir.listen(seen.traces.hear)
        receipt = await kurir.send_text(5, "hello")
        await receipt.delivered(timeout=120)
    attempt, root = seen.spans
    assert (attempt.name, root.name) == ("attempt sendMessage", "deliver sendMessage")
    assert (attempt.attributes or {})["http.response.status_code"] == 200
    assert (root.attributes or {})["kurir.message.id"] == receipt.id
    assert TOKEN not in "".join(span.to_json() for span in seen.spans)


# ---------------------------------------------------------------- over the wire, and whether at all


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ExportTraceServiceRequest]]:
    """A collector on a port of its own; what it was sent."""
    received: list[ExportTraceServiceRequest] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest()
            request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
            received.append(request)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "kurir-of-the-shop")
    yield received
    server.shutdown()
    thread.join()
    server.server_close()


async def test_spans_reach_a_collector_over_http_before_the_end(collector: list[ExportTraceServiceRequest]) -> None:
    traces = open_traces({7: "shop"}, "1.2.3")
    traces.hear(Settled(CLAIM, State.DELIVERED, None, None, 0.0, NOW + 61, SENT))
    await traces.close()
    spans = [s for r in collector for rs in r.resource_spans for ss in rs.scope_spans for s in ss.spans]
    assert [span.name for span in spans] == ["attempt sendMessage", "deliver sendMessage"]
    names = {a.key: a.value.string_value for a in collector[0].resource_spans[0].resource.attributes}
    assert names["service.name"] == "kurir-of-the-shop"


@pytest.mark.parametrize("setting", [None, True, False])
async def test_a_command_traces_what_happens_inside_if_it_is_wanted(
    collector: list[ExportTraceServiceRequest], setting: bool | None
) -> None:
    settings = Settings(traces=setting, bots=(make_bot("shop", TOKEN),))
    scene = stage(limits=Limits.none())
    kurir = scene.kurir(settings=settings)
    async with traced(kurir), kurir:
        await (await kurir.send_text(5, "hello")).delivered(timeout=10)
    scene.world.close()
    spans = [s for r in collector for rs in r.resource_spans for ss in rs.scope_spans for s in ss.spans]
    assert [span.name for span in spans] == ([] if setting is False else ["attempt sendMessage", "deliver sendMessage"])


@pytest.mark.parametrize("hangs", [False, True], ids=["refuses", "hangs"])
async def test_a_collector_that_is_away_holds_nobody_up(monkeypatch: pytest.MonkeyPatch, hangs: bool) -> None:
    monkeypatch.setattr(traces_module, "FLUSH", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        if not hangs:
            deaf.close()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        traces = open_traces({7: "shop"}, "1.2.3")
        began = time.monotonic()
        for number in range(3000):  # more than the queue takes
            traces.hear(Settled(replace(CLAIM, id=f"m{number}"), State.DELIVERED, None, None, 0.0, NOW + 61, SENT))
        assert time.monotonic() - began < 5
        began = time.monotonic()
        await traces.close()
        assert time.monotonic() - began < 2


def test_a_collectors_address_or_the_setting_turns_traces_on() -> None:
    address = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    assert not wanted(None, {})
    assert wanted(None, address)
    assert wanted(True, {})
    assert not wanted(False, address)


class _Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname: str, *_: Any) -> None:
        if fullname.split(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def test_without_opentelemetry_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n == "kurir.observe.traces" or n.split(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Missing(), *sys.meta_path])
    with pytest.raises(InvalidSetting, match=r"pip install 'kurir\[otel\]'"):
        open_traces({}, "1")


def test_kurir_itself_does_not_load_opentelemetry() -> None:
    code = "import sys, kurir.cli.main, kurir.observe.tracing; print('opentelemetry' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
