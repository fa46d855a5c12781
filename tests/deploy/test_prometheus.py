"""What `deploy/` gives to operators, before a real Prometheus: rules, configuration and dashboard mean what they say."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import click
import pytest
from prometheus_client.parser import text_string_to_metric_families

from kurir import Kurir, Settings
from kurir.cli import cli as command_line
from kurir.core.events import Attempted, Called
from kurir.core.judge import Finish
from kurir.core.message import Claim, Priority, State
from kurir.core.outcome import Delivered
from kurir.observe.families import Live, Local
from kurir.observe.prometheus import Metrics
from kurir.ports import Stats
from kurir.simulator.harness import Telegram
from kurir.web.health import measured, routes
from tests.serving import serving

from .conftest import Tools

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
CONFIG = DEPLOY / "prometheus" / "prometheus.yml"
DASHBOARD = json.loads((DEPLOY / "grafana" / "kurir.json").read_text("utf8"))
PATIENCE = 15.0  # seconds


def promtool(tools: Tools, *args: str, cwd: Path) -> str:
    done = subprocess.run([tools.promtool, *args], cwd=cwd, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_configuration_and_the_rules_are_valid(tools: Tools) -> None:
    assert "SUCCESS" in promtool(tools, "check", "config", CONFIG.name, cwd=CONFIG.parent)


def test_each_alert_fires_when_it_should_and_not_before(tools: Tools, tmp_path: Path) -> None:
    cases = Path(__file__).with_name("alerts_test.yml")
    shutil.copy(RULES, tmp_path)
    shutil.copy(cases, tmp_path)
    assert "SUCCESS" in promtool(tools, "test", "rules", cases.name, cwd=tmp_path)
    alerts = set(re.findall(r"- alert: (\w+)", RULES.read_text("utf8")))
    assert set(re.findall(r'alertname="(\w+)"', cases.read_text("utf8"))) == alerts


@pytest.mark.parametrize(
    ("weaker", "than"),
    [
        ("== 0", "== 7"),
        ("> 300", "> 30"),
        ("[15m])) > 20", "[15m])) > 0"),
        ('",status!="504"', '"'),
        ("max by", "sum by"),
    ],
)
def test_the_cases_convict_a_rule_that_is_wrong(tools: Tools, tmp_path: Path, weaker: str, than: str) -> None:
    rules = RULES.read_text("utf8")
    assert weaker in rules
    (tmp_path / RULES.name).write_text(rules.replace(weaker, than))
    shutil.copy(Path(__file__).with_name("alerts_test.yml"), tmp_path)
    with pytest.raises(AssertionError, match="FAILED"):
        promtool(tools, "test", "rules", "alerts_test.yml", cwd=tmp_path)


def test_a_runbook_names_commands_that_exist() -> None:
    named = set(re.findall(r"`kurir ([a-z]+(?: list)?)", RULES.read_text("utf8")))
    assert named
    for words in named:
        command: click.Command | None = command_line
        for word in words.split():
            assert isinstance(command, click.Group)
            command = command.get_command(click.Context(command_line), word)
        assert command is not None, words


def test_the_page_lists_every_metric_with_its_labels_as_the_code_tells_them() -> None:
    metrics, bot = Metrics({7: "shop"}, "1"), 7
    claim = Claim(1, 1, 1, "m1", bot, "5", "sendMessage", b"{}", Priority.NORMAL, 0.0)
    metrics.hear(Attempted(claim, Delivered(), Finish(State.DELIVERED), 0.0, 0.1))
    metrics.hear(Called(bot, "getMe", "delivered", 0.1, 0))
    metrics.request("rest", 200, 0.1)
    store = {"bytes": 1, "commits": 1, "commit_seconds": 0.1, "commit_buckets": [[1.0, 1]]}
    local = Local(0, 0, 0, False)
    text = metrics.text(Stats(store=store), [Live(bot, 30.0, 30.0, 1, False)], 0.0, local).decode()
    told = set()
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        if name.startswith("kurir_"):
            told.add((name, family.type, frozenset(labels), family.documentation))
    rows = re.findall(
        r"^\| `(kurir_\w+)` \| (\w+) \| (.*?) ?\| (.*) \|$", (DEPLOY / "README.md").read_text("utf8"), re.M
    )
    listed = {(name, kind, frozenset(labels.split(", ")) - {""}, help) for name, kind, labels, help in rows}
    assert listed == told


def test_the_links_of_the_page_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", (DEPLOY / "README.md").read_text("utf8"))
    assert links
    for link in links:
        assert (DEPLOY / link).exists(), link


# ---------------------------------------------------------------- the dashboard by itself


def queries() -> Iterator[tuple[str, str]]:
    """(panel, query) of the dashboard, with its variables filled in as Grafana would."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m").replace("$bot", ".+")


def test_the_dashboard_has_its_rows_and_no_panel_covers_another() -> None:
    panels = DASHBOARD["panels"]
    rows = [panel["title"] for panel in panels if panel["type"] == "row"]
    assert rows == ["At a glance", "Flow", "Delays", "Pace", "Failures", "Store and processes"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


# ---------------------------------------------------------------- a real Prometheus


class Prometheus:
    """Its HTTP API."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def get(self, path: str, **params: str) -> Any:
        async with self._session.get(f"{self._url}/api/v1/{path}", params=params) as answer:
            body = await answer.json()
        assert body["status"] == "success", f"{params}: {body}"
        return body["data"]

    async def query(self, query: str) -> list[Any]:
        result: list[Any] = (await self.get("query", query=query))["result"]
        return result

    async def until(self, query: str) -> None:
        """Until it has a result."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                if await self.query(query):
                    return
            except aiohttp.ClientError:
                pass  # it is not up yet
            assert time.monotonic() < end, f"never: {query}"
            await asyncio.sleep(0.1)


@contextmanager
def running(tools: Tools, folder: Path, target: str) -> Iterator[str]:
    """Prometheus with our rules and configuration, but for the address and a quicker pace."""
    config = CONFIG.read_text("utf8").replace("127.0.0.1:8080", target).replace("15s", "200ms")
    (folder / "prometheus.yml").write_text(config)
    shutil.copy(RULES, folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [tools.prometheus, "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], cwd=folder, stdout=log, stderr=log)
        try:
            yield f"http://{address}"
        finally:
            process.kill()
            process.wait(10)


@asynccontextmanager
async def watched(tools: Tools, telegram: Telegram, folder: Path) -> AsyncIterator[Prometheus]:
    """A Kurir at work, and a Prometheus that has looked at it a few times."""
    store = f"sqlite:///{folder}/kurir.db"
    spool = folder / "spool.db"
    kurir = Kurir(store, telegram.token, settings=Settings(), telegram_url=telegram.url, spool=spool)
    metrics = measured(kurir)
    shown = routes(kurir, metrics)
    async with kurir, serving(shown) as url, aiohttp.ClientSession() as session:
        metrics.request("gateway", 200, 0.01)
        metrics.hear(Called(kurir.settings.bots[0].id, "getMe", "delivered", 0.01, 0))
        await (await kurir.send_text(42, "Hello")).delivered(timeout=10)
        with running(tools, folder, url.removeprefix("http://")) as address:
            prometheus = Prometheus(address, session)
            await prometheus.until("count_over_time(kurir_delivered_total[1m]) >= 3")
            yield prometheus


def names(query: str) -> set[str]:
    return set(re.findall(r"\b(?:kurir|process)_\w+|\bup\b", query))


async def test_a_real_prometheus_scrapes_kurir_and_every_rule_and_panel_finds_what_it_names(
    tools: Tools, telegram: Telegram, tmp_path: Path
) -> None:
    async with watched(tools, telegram, tmp_path) as prometheus:
        assert [s["value"][1] for s in await prometheus.query('up{job="kurir"}')] == ["1"]
        assert [s["value"][1] for s in await prometheus.query("kurir_delivered_total")] == ["1"]
        there = set(await prometheus.get("label/__name__/values"))
        for panel, query in queries():
            assert names(query) <= there, panel
            if " == " not in query:
                assert await prometheus.query(query), f"{panel}: {query}"
        (group,) = (await prometheus.get("rules"))["groups"]
        assert len(group["rules"]) == RULES.read_text("utf8").count("- alert: ")
        for rule in group["rules"]:
            assert rule["health"] == "ok", rule
            assert names(rule["query"]) <= there, rule["name"]
            assert rule["state"] == "inactive", rule["name"]
            assert rule["annotations"]["summary"]
            assert len(rule["annotations"]["runbook"]) > 20
        labels = set(await prometheus.get("labels", **{"match[]": '{__name__=~"kurir_.*"}'}))
        assert labels <= LABELS


LABELS = {
    *("__name__", "job", "instance"),
    *("bot", "priority", "reason", "outcome", "class", "state", "to", "loop", "door", "status", "le"),
    *("version", "python", "store"),
}
