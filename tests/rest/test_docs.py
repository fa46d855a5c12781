"""docs/rest.md: its examples run, its tables are complete."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path

from kurir.web.rest.incoming import FIELDS
from kurir.web.rest.problems import INTERNAL, KINDS

from .door import KEY, Door

PAGE = (Path(__file__).parents[2] / "docs/rest.md").read_text("utf8")


async def test_the_examples_run(still: Door) -> None:
    assert shutil.which("curl"), "install curl: the examples are its"
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 6
    await still.send()
    for block in blocks:
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-euo",
            "pipefail",
            "-c",
            block,
            env={**os.environ, "URL": still.url, "KEY": KEY},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 0, (block, out, err)
    assert len((await still.get("/v1/messages")).json["items"]) == 6


async def test_the_table_of_routes_is_complete(still: Door) -> None:
    told = set(re.findall(r"^\| `([A-Z]+) (/v1/[^`]+)` \| ([a-z, ]+) \|", PAGE, re.MULTILINE))
    served = {
        (operation.verb, operation.path, ", ".join(sorted(operation.roles)) or "no key")
        for operation in still.rest.operations
    }
    assert told == served


def test_the_table_of_errors_is_complete() -> None:
    told = set(re.findall(r"^\| (\d{3}) \| `([a-z-]+)` \|", PAGE, re.MULTILINE))
    assert told == {(str(kind.status), kind.name) for kind in [INTERNAL, *(kind for _, kind in KINDS)]}


def test_the_table_of_fields_is_complete() -> None:
    table = PAGE.split("| field | means |")[1].split("\n\n")[0]
    names = {
        name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1] if "|" in row else "")
    }
    assert names == FIELDS - {"method", "params"}
