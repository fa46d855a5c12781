"""What the random steps over the stores are made of."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from kurir.core.message import FileRef, Options, Priority, State
from kurir.ports import LaneQuery, Query

T = 1_700_000_000.0
FOREVER = float("inf")
BOTS = (1, 2)
CHATS = ("a", "b", "c")
HOLDERS = ("left", "right")

some = st.sampled_from
often_none = lambda strategy: st.one_of(st.none(), st.none(), strategy)  # noqa: E731
offsets = some((-5.0, 0.0, 1.0, 10.0, 60.0, 3000.0))
files = some(tuple(FileRef("photo", sha * 32, 9, "cat.jpg", "image/jpeg", "photo") for sha in ("aa", "bb")))


@dataclass(frozen=True)
class Shape:
    """A draft without its id and times."""

    bot: int
    chat: str
    priority: Priority
    due: float | None
    expires: float | None
    key: str | None
    digest: bytes
    target: str | None
    coalesce: bool
    force: bool
    metadata: dict[str, str] | None
    files: tuple[FileRef, ...]
    options: Options


shapes = st.builds(
    Shape,
    bot=some((1, 1, 2)),
    chat=some(("a", "a", *CHATS)),
    priority=some((Priority.NORMAL, Priority.NORMAL, *Priority)),
    due=often_none(offsets),
    expires=often_none(offsets),
    key=often_none(some(("k1", "k2", "k3"))),
    digest=some((b"1", b"1", b"1", b"2")),
    target=often_none(some(("5:edit", "5:edit", "5:pin", "6:edit"))),
    coalesce=st.booleans(),
    force=some((False, False, False, True)),
    metadata=often_none(st.dictionaries(some(("order", "user")), some(("x", "y")))),
    files=st.one_of(st.just(()), st.just(()), st.lists(files, max_size=2).map(tuple)),
    options=some((Options(), Options(), Options(max_attempts=3, backoff=(1.0, 2.0)))),
)


@dataclass(frozen=True)
class Fate:
    """What becomes of a claim."""

    state: State
    called: bool
    due: float
    later: bool
    chat: float | None
    counters: tuple[int, int, int]
    suppress: str | None
    moved_to: str | None
    file_id: str | None
    follow_up: Shape | None


fates = st.builds(
    Fate,
    state=some(
        (
            State.DELIVERED,
            State.DELIVERED,
            State.WAITING,
            State.WAITING,
            State.WAITING,
            State.DEAD,
            State.EXPIRED,
        )
    ),
    called=some((True, True, False)),
    due=offsets,
    later=st.booleans(),
    chat=often_none(some((1.0, 10.0, 100.0))),
    counters=st.tuples(*[st.integers(0, 3)] * 3),
    suppress=st.one_of(st.none(), st.none(), st.none(), some(("blocked", "deactivated"))),
    moved_to=often_none(some(CHATS)),
    file_id=often_none(some(("F1", "F2"))),
    follow_up=st.one_of(st.none(), st.none(), st.none(), shapes),
)

# Most take in many messages: what they have in common matters more than what they filter.
selections = st.builds(
    Query,
    bot=often_none(some(BOTS)),
    states=st.one_of(st.just(()), st.just(()), some(tuple((state,) for state in State))),
    chat=often_none(some(CHATS)),
    limit=st.integers(1, 5),
)

queries = st.builds(
    Query,
    bot=often_none(some(BOTS)),
    states=st.lists(some(tuple(State)), max_size=3, unique=True).map(tuple),
    chat=often_none(some(CHATS)),
    priority=often_none(some(tuple(Priority))),
    key=st.one_of(*[st.none()] * 4, some(("k1", "k2"))),
    metadata=st.one_of(
        *[st.just(())] * 3,
        st.lists(st.tuples(some(("order", "user")), some(("x", "y"))), max_size=2).map(tuple),
    ),
    reason=st.one_of(*[st.none()] * 4, some(("suppressed:", "why", "c", ""))),
    limit=st.integers(1, 5),
    oldest_first=st.booleans(),
    with_attempts=st.booleans(),
)


looks = st.builds(
    LaneQuery,
    bot=often_none(some(BOTS)),
    chat=often_none(some(CHATS)),
    waiting=st.booleans(),
    suppressed=some((False, False, True)),
    limit=st.integers(1, 3),
)
