"""Errors, help, settings: what holds for every command."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import Cli

TOKEN = "987654321:AAsecretsecretsecretsecretsecret"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom kurir.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(sorted({'aiohttp', 'rich', 'sqlite3', 'kurir.simulator.server'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"


def test_help_is_fast() -> None:
    def seconds() -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "kurir", "--help"], check=True, capture_output=True)
        return time.perf_counter() - started

    assert min(seconds() for _ in range(5)) < 0.4


def test_every_command_has_help(cli: Cli) -> None:
    listed = cli("--help").out.split("Commands:")[1]
    names = [line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line.strip()]
    assert len(names) == 18
    for name in names:
        assert cli(name, "--help").code == 0


def test_an_error_says_what_and_what_to_do(cli: Cli) -> None:
    result = cli("show", "nonsense")
    assert result.code == 1
    assert result.out == ""
    assert result.err == (
        "error: no message 'nonsense'\n  fix: It was never accepted here, or its history was pruned.\n"
    )


def test_an_error_is_json_where_json_was_asked_for(cli: Cli) -> None:
    result = cli("show", "nonsense", "--json")
    assert json.loads(result.err)["error"] == "no message 'nonsense'"


def test_wrong_usage_exits_2_and_names_the_nearest_command(cli: Cli) -> None:
    result = cli("sned")
    assert result.code == 2
    assert "'send'" in result.err
    assert cli("send", "42", "x", "--priority", "urgent").code == 2


def test_a_token_given_by_mistake_is_not_repeated(cli: Cli) -> None:
    for args in (("send", "42", "x", "--bot", TOKEN), ("status", TOKEN), ("pause", TOKEN), ("show", TOKEN)):
        result = cli(*args)
        assert result.code in (1, 2)
        assert "secret" not in result.err + result.out


def test_an_unknown_setting_is_warned_of(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KURIR_LOG_LEVL", "debug")
    assert "KURIR_LOG_LEVEL" in cli("status").err
    assert cli("--quiet", "status").err == ""


def test_a_config_file_and_a_store_can_be_named(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KURIR_BOT_TOKEN")
    config = tmp_path / "other.toml"
    config.write_text('[bots.shop]\ntoken = "4242:AAAAAAAAAAAAAAAAAAAAAAAAAAAA"\n')
    assert cli("--config", str(config), "--store", "sqlite:///other.db", "send", "1", "x").code == 0
    assert (tmp_path / "other.db").exists()
    assert not (tmp_path / "kurir.db").exists()


def test_a_store_in_memory_is_refused_for_what_would_vanish(cli: Cli) -> None:
    result = cli("--store", "memory://", "send", "42", "x")
    assert result.code == 1
    assert "KURIR_STORE" in result.err


def test_a_command_that_nobody_reads_ends_quietly(cli: Cli) -> None:
    for n in range(3):
        cli("send", "42", f"text {n}")
    piped = f"{sys.executable} -m kurir list --json | true"
    done = subprocess.run(["bash", "-c", piped], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
