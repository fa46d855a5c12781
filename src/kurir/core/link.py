"""Is it the message, or the network? What the bot's last calls say about the way to Telegram."""

from __future__ import annotations

from collections import deque

from .outcome import Answer, Break, NoReply, Reply

AT_ONCE = frozenset({Break.REFUSED, Break.DNS, Break.UNREACHABLE, Break.CONNECT_TIMEOUT, Break.TLS, Break.PROXY})
IN_A_ROW = 5  # other breaks, over so many different chats with no success between, are an outage
SUSPICIOUS = 5  # breaks in a row, whatever the chats: worth a probe
PROBES = (1.0, 2.0, 4.0, 8.0, 10.0)  # seconds before the 1st, 2nd, ... probe; the last repeats
WINDOW = 40  # calls looked back on
FRESH = 60.0  # seconds after which a call says nothing any more
LOSSY = 0.1  # share of the other chats' calls that break from which on the network is to blame


def broke(answer: Answer) -> bool:
    """No answer, or one that a machine on the way (or Telegram in distress) gave."""
    return isinstance(answer, NoReply) or answer.status >= 500


class Link:
    """The way to Telegram, of one bot. Times are Unix seconds."""

    def __init__(self) -> None:
        self.outage_since: float | None = None
        self.why = ""
        self.probes = 0
        self._calls: deque[tuple[float, str, bool]] = deque(maxlen=WINDOW)
        self._reached = False  # since the outage began, something took our bytes
        self._row: list[str] = []  # chats of the breaks since the last success

    @property
    def suspicious(self) -> bool:
        """Several calls in a row broke, too few chats to call it an outage: a probe would tell."""
        return self.outage_since is None and len(self._row) >= SUSPICIOUS

    def observe(self, chat: str, answer: Answer, now: float) -> None:
        """One call ended. `chat` is "" for a probe."""
        if isinstance(answer, NoReply) and answer.kind is Break.FILE:
            return  # nothing was tried: it says nothing of the way
        bad = broke(answer)
        self._calls.append((now, chat, not bad))
        if not bad:
            self._row.clear()
            return
        self._row.append(chat)
        at_once = isinstance(answer, NoReply) and not answer.sent and answer.kind in AT_ONCE
        probe_failed = chat == "" and len(self._row) > SUSPICIOUS
        if self.outage_since is not None:
            self._hear_something(answer)
        elif at_once or probe_failed or len(set(self._row)) >= IN_A_ROW:
            self.outage_since = now
            self.probes = 0
            self._reached = not at_once
            self.why = answer.kind.value if isinstance(answer, NoReply) else f"HTTP {answer.status}"

    def _hear_something(self, answer: Answer) -> None:
        """In an outage, the first call that gets through to somebody, if to no answer: the way is opening, so the probes
        start over."""
        if not self._reached and (isinstance(answer, Reply) or answer.sent):
            self._reached = True
            self.probes = 0

    def recovered(self, now: float) -> float:
        """The upstream answered: seconds the outage lasted."""
        assert self.outage_since is not None
        seconds = now - self.outage_since
        self.outage_since = None
        self._row.clear()
        return seconds

    def next_probe(self) -> float:
        """Seconds until the next probe."""
        delay = PROBES[min(self.probes, len(PROBES) - 1)]
        self.probes += 1
        return delay

    def to_blame(self, chat: str, now: float) -> bool:
        """Whether a break in `chat` is the network's doing: an outage, or other chats' calls break as well (since the
        last success, or every tenth of late), or there is nothing to compare with."""
        if self.outage_since is not None or len(set(self._row)) > 1:
            return True
        others = [good for at, other, good in self._calls if other != chat and now - at <= FRESH]
        return sum(others) < (1 - LOSSY) * len(others) if others else True
