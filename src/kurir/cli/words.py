"""A command whose words may begin with a minus: chat ids of groups (-100...), texts such as "- one thing"."""

from __future__ import annotations

import re
from typing import Any

import click

_NO_OPTION = re.compile(r"-[^A-Za-z-].*", re.DOTALL)
_GUARD = "\N{WORD JOINER}"


class Words(click.Command):
    """`kurir send -1001234 "- text"` works without `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, [_GUARD + a if _NO_OPTION.fullmatch(a) else a for a in args])
        ctx.params = {name: _bare(value) for name, value in ctx.params.items()}
        return rest


def _bare(value: Any) -> Any:
    if isinstance(value, str):
        return value.removeprefix(_GUARD)
    if isinstance(value, tuple):
        return tuple(_bare(item) for item in value)
    return value
