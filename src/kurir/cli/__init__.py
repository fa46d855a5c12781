"""The command line: `kurir --help`. Each command lives in a file of its own and is imported when it is called."""

from __future__ import annotations

from .main import cli, main

__all__ = ["cli", "main"]
