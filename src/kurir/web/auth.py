"""Who calls, and how often: API keys with roles, a bucket of requests for each, and patience with wrong keys.

A key is `kurir_` and 43 random characters; the store keeps its SHA-256 alone. `KURIR_API_KEY` is an admin's key too.
Keys are remembered for `KEEP` seconds: one that was revoked opens nothing after 5 s, wherever it was revoked. While the
store is away they are as they were. A process that started meanwhile knows none of the store's: nothing is kept of them
elsewhere, where a revoked one might live on.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass, field

from kurir.core.errors import KurirError, StoreAway, StoreError
from kurir.core.pace import Rate
from kurir.ports import ApiKey, Clock, KeyStore

ROLES = ("admin", "send", "read")
PREFIX = "kurir_"
KEEP = 3.0  # seconds between looks at the keys
KEEP_AWAY = 1.0  # seconds between looks while the store is away
KEEP_MISS = 0.1  # seconds between looks when a key is unknown: it may be new
FAILURES = 10  # wrong keys of one address ...
FAILURE_SPAN = 60.0  # ... in so many seconds
MOST_ADDRESSES = 10_000  # remembered for that
_ENVIRONMENT = "KURIR_API_KEY"
RATE = Rate(200)
EPSILON = 1e-6  # what sums of floats may lack


class NoKey(KurirError):
    """No key was given, or one that opens nothing."""


class NotAllowed(KurirError):
    """The key's role does not allow that."""


class TooMany(KurirError):
    """Too often. `retry_after`: seconds."""

    def __init__(self, what: str, remedy: str, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(what, remedy)


def digest_of(secret: str) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf8", "surrogateescape")).digest()


def make_key(name: str, role: str, now: float) -> tuple[ApiKey, str]:
    """A new key, and its secret, which is kept nowhere."""
    secret = PREFIX + secrets.token_urlsafe(32)
    return ApiKey(f"k_{secrets.token_hex(6)}", name, role, digest_of(secret), now), secret


class Bucket:
    """Requests one key may make: `rate` a second, `burst` at once. None: as many as it likes."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: Rate | None, burst: int) -> None:
        self._rate = None if rate is None else rate.per_second
        self._burst = float(burst)
        self._left = float(burst)
        self._at = 0.0

    def wait(self, now: float) -> float:
        """0: it may, and has. Else in how many seconds it might."""
        if self._rate is None:
            return 0.0
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._left < 1.0 - EPSILON:
            return (1.0 - self._left) / self._rate
        self._left = max(0.0, self._left - 1.0)
        return 0.0


@dataclass(frozen=True, slots=True)
class Caller:
    """A key that was recognised."""

    id: str
    name: str
    role: str
    digest: bytes = field(repr=False)
    bucket: Bucket = field(repr=False)


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much a key may ask for. The admin's keys have no rate."""

    rate: Rate | None = RATE  # requests/s; None: no limit
    burst: int = 400  # requests at once
    body: int = 16 << 20  # bytes of a JSON body


def allowance(rate: float) -> Allowance:
    """What the setting says: requests/s, 0 for no limit."""
    return Allowance(rate=Rate(rate), burst=max(1, int(2 * rate))) if rate else Allowance(rate=None)


class Failures:
    """Wrong keys by address, in bounded memory."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def note(self, address: str, now: float) -> float:
        """One more. 0: it is told so; else the seconds for which this address hears nothing but "too many"."""
        times = self._seen.get(address)
        if times is None:
            if len(self._seen) >= MOST_ADDRESSES:
                self._seen.popitem(last=False)
            times = self._seen[address] = deque(maxlen=FAILURES)
        self._seen.move_to_end(address)
        if len(times) == FAILURES and times[0] > now - FAILURE_SPAN:
            return times[0] + FAILURE_SPAN - now
        times.append(now)
        return 0.0


class Keyring:
    """Tells who calls. Right keys are never held up by the wrong ones of the same address."""

    def __init__(self, store: KeyStore, admin: str | None, clock: Clock, allowance: Allowance) -> None:
        self._store = store
        self._clock = clock
        self._allowance = allowance
        self._fixed: dict[bytes, Caller] = {}
        if admin:
            digest = digest_of(admin)
            self._fixed[digest] = Caller("env", _ENVIRONMENT, "admin", digest, Bucket(None, 1))
        self._callers = self._fixed
        self._read_at = -KEEP
        self._reading: asyncio.Task[None] | None = None
        self._failures = Failures()

    async def admit(self, authorization: bytes | None, address: str, roles: frozenset[str]) -> Caller:
        """Who calls with this `Authorization` header. Raises NoKey, NotAllowed, TooMany; StoreAway while nobody can tell."""
        now = self._clock.now()
        caller = await self._find(authorization, now)
        if caller is None:
            raise self._refused(authorization, address, now)
        if caller.role not in roles:
            needed = " or ".join(role for role in ROLES if role in roles)
            raise NotAllowed(
                f"key {caller.name!r} has the role {caller.role}, which does not allow this",
                f"Use a key with the role {needed}.",
            )
        wait = caller.bucket.wait(now)
        if wait:
            raise TooMany(
                f"key {caller.name!r} asks too often",
                "Wait, send several messages in one request, or raise KURIR_REST_RATE.",
                wait,
            )
        return caller

    async def holds(self, caller: Caller) -> bool:
        """Whether its key still opens what it opened: asked again and again by who goes on for long."""
        if caller.digest in self._fixed:
            return True
        await self._read(self._clock.now(), KEEP)
        known = self._callers.get(caller.digest)
        return known is not None and known.id == caller.id

    async def _find(self, authorization: bytes | None, now: float) -> Caller | None:
        if authorization is None or authorization[:7].lower() != b"bearer ":
            with suppress(StoreError):  # whatever the keys are, this is none
                await self._read(now, KEEP)
            return None
        digest = hashlib.sha256(authorization[7:].strip()).digest()
        caller = self._fixed.get(digest)
        if caller is None:
            await self._read(now, KEEP)
            caller = self._callers.get(digest)
        if caller is None:
            await self._read(now, KEEP_MISS)
            caller = self._callers.get(digest)
        return caller if caller is not None and hmac.compare_digest(caller.digest, digest) else None

    async def _read(self, now: float, keep: float) -> None:
        """Look at the keys again, unless that was done in the last `keep` seconds; all who wait share one look."""
        if 0 <= now - self._read_at < keep:
            return
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._look(now))
        await asyncio.shield(self._reading)

    async def _look(self, now: float) -> None:
        try:
            keys = await self._store.keys()
        except StoreError as error:
            if self._read_at < 0:
                raise StoreAway(
                    f"whether this API key opens anything cannot be looked up: {error.what}",
                    "Ask again when the store is back; the key of KURIR_API_KEY is known without it.",
                ) from error
            self._read_at = self._clock.now() - KEEP + KEEP_AWAY
            return  # nothing can be revoked there either: the keys are as they were
        before = self._callers
        callers = dict(self._fixed)
        for key in keys:
            if key.revoked_at is None and key.digest not in callers:
                known = before.get(key.digest)
                callers[key.digest] = known if known is not None and known.id == key.id else self._caller(key)
        self._callers = callers
        self._read_at = now

    def _caller(self, key: ApiKey) -> Caller:
        rate = None if key.role == "admin" else self._allowance.rate
        return Caller(key.id, key.name, key.role, key.digest, Bucket(rate, self._allowance.burst))

    def _refused(self, authorization: bytes | None, address: str, now: float) -> KurirError:
        if not self._callers and self._read_at >= 0:
            return NoKey(
                "there is no API key yet", "Make one: `kurir keys add NAME --role admin`; or set KURIR_API_KEY."
            )
        if authorization is None:  # that is no guess
            return NoKey("no API key was given", "Send the header `Authorization: Bearer KEY`.")
        wait = self._failures.note(address, now)
        if wait:
            return TooMany("too many wrong keys from this address", "Wait, and use a key that exists.", wait)
        return NoKey(
            "this API key opens nothing",
            "Send `Authorization: Bearer KEY` with a key of `kurir keys list` that is not revoked.",
        )
