"""Tokens and passwords are left out; and no text, whoever wrote it, keeps the process busy."""

from __future__ import annotations

import pytest

from kurir.core.errors import LONGEST, InvalidMessage
from kurir.telegram.redact import redact

TOKEN = "123456789:AAEabcdefghijklmnopqrstuvwxyz012345"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"https://api.telegram.org/bot{TOKEN}/sendMessage", "https://api.telegram.org/bot<token>/sendMessage"),
        (f"the token is {TOKEN}.", "the token is <token>."),
        (TOKEN.replace(":", "%3A"), "<token>"),
        ("/bot123:short/getMe", "/bot<token>/getMe"),
        ("redis://user:secret@host:6379/0", "redis://<user>@host:6379/0"),
        ("redis://:p@ss/w0rd@host:6379/0", "redis://<user>@host:6379/0"),
        ("postgresql://me:p/w@db.example:5432/kurir?pool=5", "postgresql://<user>@db.example:5432/kurir?pool=5"),
        (
            "postgresql://db/kurir?user=me&password=secret&pool=5",
            "postgresql://db/kurir?user=me&password=<password>&pool=5",
        ),
        ("redis://host:6379/0", "redis://host:6379/0"),
        (
            "rediss://host/0?ssl_certfile=/c&ssl_password=secret",
            "rediss://host/0?ssl_certfile=/c&ssl_password=<password>",
        ),
        (
            "redis+sentinel://me:p@s/s@one:26379,two/mail/0?sentinel_username=it&sentinel_password=secret&pool=5",
            "redis+sentinel://<user>@one:26379,two/mail/0?sentinel_username=it&sentinel_password=<password>&pool=5",
        ),
        ("socks5://:secret@host", "socks5://<user>@host"),
        ("http://host:8080/bot/path", "http://host:8080/bot/path"),
        ("12:30:45 at 5:7", "12:30:45 at 5:7"),
    ],
)
def test_a_secret_is_left_out_and_nothing_else(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "piece", ["a", "1", "/bot", "a://", "a:", "://:", "1:", "/bot1:", "@", "a://b:c", "redis://a:b", "?password="]
)
def test_a_long_text_takes_no_longer_than_it_is(piece: str) -> None:
    """A pattern that went back over it would take hours."""
    assert redact(piece * (2_000_000 // len(piece)))


def test_an_error_quotes_no_more_than_people_read() -> None:
    error = InvalidMessage("x" * 10**6, "y" * 10**6, "Do this.")
    assert len(error.what) <= LONGEST
    assert len(error.field) <= LONGEST
    assert str(error).endswith("Do this.")
