"""Statements live in `.sql` and `.lua` files, named and commented; here they are loaded."""

from __future__ import annotations

import re
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


def statements(package: str, file: str) -> dict[str, str]:
    """The statements of a file by name. Each begins with a line `-- name: some_name`; comments are kept out."""
    text = resources.files(package).joinpath(file).read_text("utf8")
    pieces = _NAME.split(text)[1:]
    return {
        name: "\n".join(line for line in body.splitlines() if not line.lstrip().startswith("--")).strip().rstrip(";")
        for name, body in zip(pieces[::2], pieces[1::2], strict=True)
    }


def migrations(package: str) -> list[tuple[int, str]]:
    """(version, script) of a package's `NNNN_name.sql` files, in order."""
    files = sorted(f.name for f in resources.files(package).iterdir() if f.name.endswith(".sql"))
    return [(int(name[:4]), resources.files(package).joinpath(name).read_text("utf8")) for name in files]
