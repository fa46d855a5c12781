"""`kurir doctor`."""

from __future__ import annotations

from typing import Any

import pytest

from kurir.simulator.harness import Telegram
from tests.buckets import BUCKET, ENVIRONMENT, READER, shared_bucket

from .conftest import Cli


def findings(cli: Cli, level: str) -> list[Any]:
    return [f for f in cli("doctor", "--json").json["findings"] if f["level"] == level]


def test_all_is_well_with_a_simulator(cli: Cli) -> None:
    result = cli("doctor", "--json")
    assert result.code == 0
    areas = {finding["area"] for finding in result.json["findings"]}
    assert areas >= {"versions", "settings", "limits", "network", "clock", "bot", "store", "disk", "files"}


def test_a_revoked_token_is_a_problem_with_a_remedy(cli: Cli, telegram: Telegram) -> None:
    telegram.do(lambda world: setattr(world.bots[telegram.token], "revoked", True))
    assert cli("doctor").code == 1
    (problem,) = findings(cli, "problem")
    assert "@BotFather" in problem["fix"]


def test_a_network_that_is_down_is_a_problem(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KURIR_TELEGRAM_URL", "http://127.0.0.1:9")
    (problem,) = findings(cli, "problem")
    assert problem["area"] == "network"


def test_messages_that_nobody_sends_are_a_warning(cli: Cli) -> None:
    cli("send", "42", "x")
    (warning,) = findings(cli, "warning")
    assert "kurir worker" in warning["fix"]


def test_no_room_for_the_store_is_a_problem(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KURIR_STORE", "sqlite:////proc/nowhere/kurir.db")
    assert cli("doctor").code == 1
    assert any(problem["area"] == "store" for problem in findings(cli, "problem"))


def test_a_bucket_for_files_is_tried(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KURIR_FILES", shared_bucket().fresh())
    told = [finding["what"] for finding in findings(cli, "ok") if finding["area"] == "files"]
    assert len(told) == 2
    assert told[0].startswith(f"s3://{BUCKET}/test-")
    assert "can be written, listed, read and deleted in" in told[0]


def test_a_bucket_at_no_address_is_a_problem_with_a_remedy(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL_S3": "http://my_minio:9000"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KURIR_FILES", "s3://bucket?region=eu-central-1")
    (problem,) = findings(cli, "problem")
    assert problem["area"] == "files"
    assert "AWS_ENDPOINT_URL_S3" in problem["fix"]


def test_a_bucket_that_may_only_be_read_is_a_problem_with_a_remedy(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (ENVIRONMENT | READER).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KURIR_FILES", shared_bucket().fresh())
    (problem,) = findings(cli, "problem")
    assert problem["area"] == "files"
    assert "does not let us write" in problem["what"]
    assert "s3:PutObject" in problem["fix"]
