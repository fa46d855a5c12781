"""`/health/live`, `/health/ready`, `/metrics`: what is to be seen from outside, without a key."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kurir import __version__
from kurir.app import Kurir
from kurir.observe.families import Live, Local
from kurir.observe.prometheus import CONTENT_TYPE, Metrics
from kurir.services.health import Check, Health, HealthWatch
from kurir.stores.breaker import Breaker, Circuit
from kurir.telegram.redact import redact

NOT_KEPT = {"Cache-Control": "no-store"}


def measured(kurir: Kurir) -> Metrics:
    """Metrics that count from now on."""
    metrics = Metrics(_names(kurir), __version__)
    kurir.listen(metrics.hear)
    return metrics


def routes(kurir: Kurir, metrics: Metrics) -> list[Route]:
    """For `kurir serve`, with a courier or without, and `kurir worker`. Make them before Kurir is started: they listen."""
    journal = kurir.spooling.journal if kurir.spooling is not None else None
    watch = HealthWatch(kurir.store, kurir.clock, _names(kurir), lambda: kurir.couriers, journal)
    kurir.listen(watch.hear)

    async def live(_: Request) -> Response:
        """200 as long as this process's loop turns."""
        return _json({"status": "ok"}, 200)

    async def ready(_: Request) -> Response:
        """200 `ok` or `degraded`; 503 `dead` while the store is away and no spool takes its place."""
        health = await watch.check()
        return _json(body(health), 503 if health.status == "dead" else 200)

    async def scraped(_: Request) -> Response:
        health = await watch.check()
        told = health.stats if health.store_up else None
        text = metrics.text(told, couriers(kurir), health.at, local(health, watch.breaker))
        return Response(text, media_type=CONTENT_TYPE, headers=NOT_KEPT)

    return [Route("/health/live", live), Route("/health/ready", ready), Route("/metrics", scraped)]


def body(health: Health) -> dict[str, Any]:
    """As JSON: `{"status", "checks": [{"name", "ok", "detail", "remedy"?}]}`."""
    return {"status": health.status, "checks": [_check(check) for check in health.checks]}


def couriers(kurir: Kurir) -> list[Live]:
    """The couriers at work in this process, as the metrics want them."""
    found = []
    for bot, courier in kurir.couriers.items():
        pace = courier.pace.state()
        found.append(Live(bot, pace.rate, pace.ceiling, courier.in_flight, courier.reach.out))
    return found


def local(health: Health, breaker: Breaker | None) -> Local:
    """What this machine knows of its store, as the metrics want it."""
    spool = health.spool
    open = None if breaker is None else breaker.circuit is not Circuit.CLOSED
    return Local(None, open=open) if spool is None else Local(spool.messages, spool.stuck, spool.bytes, open)


def _names(kurir: Kurir) -> dict[int, str]:
    return {bot.id: bot.name for bot in kurir.settings.bots}


def _check(check: Check) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": check.name, "ok": check.ok, "detail": redact(check.detail)}
    return shown if check.ok else {**shown, "remedy": check.remedy}


def _json(content: dict[str, Any], status: int) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json", headers=NOT_KEPT)
