"""schemathesis over the OpenAPI document: requests that fit it and requests that do not; no 5xx, answers as described."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable

from kurir.simulator.harness import Telegram

from .door import KEY, opened

schemathesis = pytest.importorskip("schemathesis")
checks = pytest.importorskip("schemathesis.checks")
modes = pytest.importorskip("schemathesis.generation").GenerationMode

EXAMPLES = 12  # of each operation, of either kind
LEAST = {"fitting": 200, "unfitting": 200}  # requests made; less is no test
LEAST_OPERATIONS = 26  # of 27; GET /v1/docs has nothing that could be wrong
LEAST_WRONG = 40  # bodies that had to be refused
STREAMS = {"/v1/events"}  # an answer without end
CHECKS = (
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)
HEADERS = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture
def url(telegram: Telegram, tmp_path: Path) -> Iterator[str]:
    """A door in a thread of its own."""
    ready, done = threading.Event(), asyncio.Event()
    told: dict[str, Any] = {}

    async def serve() -> None:
        told["loop"] = asyncio.get_running_loop()
        async with opened(telegram, tmp_path, courier=False) as door:
            told["url"] = door.url
            ready.set()
            await done.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    yield told["url"]
    told["loop"].call_soon_threadsafe(done.set)
    thread.join(10)


def wrong_json(case: Any) -> bool:
    """Whether its body is JSON that does not fit. What stands in a query, a header or a form is text, which may be meant."""
    parts = {place.value: part.mode for place, part in case.meta.components.items()}
    return case.media_type == "application/json" and parts.get("body") is modes.NEGATIVE


def asked(operation: Any, mode: Any) -> tuple[int, int]:
    """How many requests were made, and how many of them with a body that had to be refused."""
    told = checks.CHECKS.get_by_names(["not_a_server_error", *CHECKS])
    refused = checks.CHECKS.get_by_names(["negative_data_rejection"])
    calls = wrong = 0

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        nonlocal calls, wrong
        calls += 1
        wrong += wrong_json(case)
        case.call_and_validate(checks=[*told, *(refused if wrong_json(case) else [])], headers=HEADERS)

    with contextlib.suppress(Unsatisfiable):  # nothing can be wrong about a GET without parameters
        ask()
    return calls, wrong


@pytest.mark.parametrize("kind", ["fitting", "unfitting"])
@pytest.mark.filterwarnings("default")
def test_no_request_breaks_it_and_every_answer_is_as_described(url: str, kind: str) -> None:
    mode = modes.POSITIVE if kind == "fitting" else modes.NEGATIVE
    schema = schemathesis.openapi.from_url(f"{url}/v1/openapi.json")
    found = [one.ok() for one in schema.get_all_operations()]
    made = {one.label: asked(one, mode) for one in found if one.path not in STREAMS}
    assert sum(calls > 0 for calls, _ in made.values()) >= LEAST_OPERATIONS, made
    assert sum(calls for calls, _ in made.values()) >= LEAST[kind], made
    assert kind == "fitting" or sum(wrong for _, wrong in made.values()) >= LEAST_WRONG, made
