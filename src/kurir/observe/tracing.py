"""Traces, if they are wanted and OpenTelemetry is installed. `traces.py` alone knows OpenTelemetry."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Protocol, cast

from kurir.core.errors import InvalidSetting
from kurir.core.events import Event

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Tracing(Protocol):
    """A listener that makes spans, and sends what is left of them when it is closed."""

    def hear(self, event: Event) -> None: ...

    async def close(self) -> None: ...


def wanted(setting: bool | None, environ: Mapping[str, str]) -> bool:
    """`setting`: KURIR_TRACES; None: it is not set, and a collector's address in `OTEL_*` decides."""
    return any(environ.get(name) for name in ENDPOINTS) if setting is None else setting


def open_traces(bots: Mapping[int, str], version: str, *, texts: bool = False) -> Tracing:
    """Spans go where `OTEL_*` says, by default to http://localhost:4318. `bots`: names by id; `texts`: with chats, texts and
    Telegram's words. Raises InvalidSetting where OpenTelemetry is not installed."""
    try:
        module = import_module("kurir.observe.traces")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise InvalidSetting(
            "KURIR_TRACES",
            f"needs OpenTelemetry ({error.name} is not installed)",
            "Install it: pip install 'kurir[otel]'; or set KURIR_TRACES=off.",
        ) from None
    return cast("Tracing", module.otlp(bots, version, texts=texts))
