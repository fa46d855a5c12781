"""schemathesis over the OpenAPI document: requests that fit it and requests that do not; no 5xx, answers as described."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
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

EXAMPLES = 5  # of each operation, of either kind
SECONDS = 25.0
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


@pytest.mark.parametrize("mode", [modes.POSITIVE, modes.NEGATIVE], ids=["fitting", "unfitting"])
@pytest.mark.filterwarnings("default")
def test_no_request_breaks_it_and_every_answer_is_as_described(url: str, mode: Any) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/v1/openapi.json")
    names = ["not_a_server_error", *CHECKS, *(["negative_data_rejection"] if mode is modes.NEGATIVE else [])]
    wanted = checks.CHECKS.get_by_names(names)
    end = time.monotonic() + SECONDS / 2
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path in STREAMS:
            continue

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            if time.monotonic() < end:
                case.call_and_validate(checks=wanted, headers=HEADERS)

        with contextlib.suppress(Unsatisfiable):  # nothing can be wrong about a GET without parameters
            ask()
        tried += 1
    assert tried > 10
