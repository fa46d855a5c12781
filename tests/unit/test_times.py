"""Times as users write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from kurir.core.errors import InvalidMessage
from kurir.core.times import unix

NOW = 1_800_000_000.0
MOSCOW = timezone(timedelta(hours=3))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1_800_000_000, 1_800_000_000.0),
        (1_800_000_000.5, 1_800_000_000.5),
        (0, 0.0),
        (datetime(2027, 1, 15, 8, 0, tzinfo=UTC), 1_800_000_000.0),
        (datetime(2027, 1, 15, 11, 0, tzinfo=MOSCOW), 1_800_000_000.0),
        ("2027-01-15T08:00:00Z", 1_800_000_000.0),
        ("2027-01-15T08:00:00z", 1_800_000_000.0),
        ("2027-01-15t08:00:00Z", 1_800_000_000.0),
        ("2027-01-15T08:00:00.250Z", 1_800_000_000.25),
        ("2027-01-15T11:00:00+03:00", 1_800_000_000.0),
        ("2027-01-15 08:00:00+00:00", 1_800_000_000.0),
        (timedelta(minutes=5), NOW + 300),
        (timedelta(seconds=-5), NOW - 5),
    ],
)
def test_what_is_taken(value: object, seconds: float) -> None:
    assert unix("due_at", value, NOW) == seconds  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [datetime(2027, 1, 15, 8, 0), "2027-01-15T08:00:00", "2027-01-15"])
def test_naive_times_are_refused_with_the_remedy(value: object) -> None:
    with pytest.raises(InvalidMessage, match=r"no time zone.*Add one") as caught:
        unix("due_at", value, NOW)  # type: ignore[arg-type]
    assert caught.value.field == "due_at"


def test_milliseconds_are_refused_with_the_remedy() -> None:
    with pytest.raises(InvalidMessage, match="not milliseconds"):
        unix("expires_at", 1_800_000_000_000, NOW)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 1e300, 10**400, timedelta(days=999_999_999)])
def test_what_is_no_moment_is_refused(value: object) -> None:
    with pytest.raises(InvalidMessage, match="out of range"):
        unix("due_at", value, NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["tomorrow", "", "18:00", True, [], {}, None, b"2027-01-15T08:00:00Z"])
def test_anything_else_is_refused_naming_the_field(value: object) -> None:
    with pytest.raises(InvalidMessage) as caught:
        unix("due_at", value, NOW)  # type: ignore[arg-type]
    assert caught.value.field == "due_at"
    assert caught.value.remedy
