"""Docs are tests: the examples run, the commands and links exist."""

from __future__ import annotations

import asyncio
import re
import shlex
import textwrap
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest

import kurir
from kurir.blocking import BlockingKurir
from kurir.cli import cli as command_line
from kurir.core.events import Settled
from kurir.simulator.harness import Telegram

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf8"), re.DOTALL | re.MULTILINE)


def _run(code: str, names: dict[str, Any]) -> None:
    """An example; one that awaits is put into a coroutine."""
    if "asyncio.run(" in code or not re.search(r"^async with|await ", code, re.MULTILINE):
        exec(compile(code, "example", "exec"), names)
        return
    exec(compile("async def example():\n" + textwrap.indent(code, "    "), "example", "exec"), names)
    asyncio.run(names["example"]())


@pytest.fixture
def names(telegram: Telegram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the examples take for granted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KURIR_TELEGRAM_URL", telegram.url)
    for name in ("report.pdf", "one.jpg", "two.jpg"):
        (tmp_path / name).write_bytes(b"%" + name.encode())
    public = {name: getattr(kurir, name) for name in kurir.__all__}
    return {**public, "BlockingKurir": BlockingKurir, "Settled": Settled, "TOKEN": telegram.token} | {
        "Path": Path,
        "timedelta": timedelta,
    }


@pytest.mark.parametrize("number", range(len(blocks(ROOT / "docs/library.md", "python"))))
def test_an_example_of_the_library_page_runs(number: int, names: dict[str, Any]) -> None:
    _run(blocks(ROOT / "docs/library.md", "python")[number], names)


def test_the_example_of_the_readme_runs_and_arrives(telegram: Telegram, names: dict[str, Any]) -> None:
    (code,) = blocks(ROOT / "README.md", "python")
    _run(code.replace("123456789:AAE...", telegram.token), names)
    assert telegram.texts(42) == ["Your order is on its way"]


def _commands() -> list[str]:
    found = []
    for page in PAGES:
        for block in blocks(page, "(?:sh|console|text)?"):
            lines = re.sub(r"\\\n\s*", " ", block).splitlines()
            found += [line.split("#")[0].strip() for line in lines if re.match(r"\s*(\$ )?kurir [a-z]", line)]
    return sorted({line.removeprefix("$ ").strip() for line in found})


@pytest.mark.parametrize("line", _commands())
def test_a_command_in_the_documents_exists_with_its_options(line: str) -> None:
    words = shlex.split(re.split(r"\s(?:&|\||>|<)(?:\s|$)", line)[0].rstrip(" &"))[1:]
    command: click.Command = command_line
    context = click.Context(command_line)
    while isinstance(command, click.Group):
        name = next(word for word in words if not word.startswith("-"))
        words = words[words.index(name) + 1 :]
        found = command.get_command(context, name)
        assert found is not None, f"no command {name!r} in: {line}"
        command = found
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if re.match(r"--[a-z]", word):
            assert word.split("=")[0] in options | {"--help", "--json"}, f"{command.name} has no {word}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_the_documents_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf8")):
        if not link.startswith(("http:", "https:")):
            assert (page.parent / link).exists(), link


def test_the_makes_of_the_readme_are_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", (ROOT / "README.md").read_text("utf8"), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
