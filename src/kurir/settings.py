"""Settings: `KURIR_*` in the environment, over `kurir.toml`, over defaults. Read once, validated, frozen.

The commented file `kurir.example.toml` is their documentation. A new knob needs a reason.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .core.errors import InvalidSetting
from .core.pace import Limits, Rate
from .core.policy import Policy

TOKEN = re.compile(r"\d{3,20}:[A-Za-z0-9_-]{3,100}")
DEFAULT_STORE = "sqlite:///kurir.db"
DEFAULT_URL = "https://api.telegram.org"
S3 = "s3://"
DAY = 86400.0  # seconds
_DAYS = ("history", "suppression")  # settings that are days in the file and seconds here


@dataclass(frozen=True, slots=True)
class Bot:
    """One bot. `token` is never shown."""

    name: str
    token: str = field(repr=False)
    limits: Limits = Limits()
    test: bool = False  # it lives in Telegram's test environment
    wait: float | None = None  # seconds a call through the gateway waits for its delivery; None: as `gateway_wait` says
    respond_async: bool = False  # a gateway call not delivered in time gets a placeholder instead of an error

    @property
    def id(self) -> int:
        return int(self.token.split(":", 1)[0])


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. Times in seconds, sizes in bytes."""

    store: str = field(default=DEFAULT_STORE, repr=False)  # may hold a password
    bots: tuple[Bot, ...] = ()
    telegram_url: str = field(default=DEFAULT_URL, repr=False)  # may hold a password
    local_server: bool = False  # telegram_url is a local Bot API server (--local)
    proxy: str | None = field(default=None, repr=False)  # may hold a password
    connect_timeout: float = 10.0
    read_timeout: float = 75.0
    files: Path | str | None = None  # a folder, or s3://...; None: beside the SQLite file, or in the store of a server
    concurrency: int = 100  # messages of one bot in flight at once (B13)
    history: float = 30 * DAY  # ended messages are kept so long
    suppression: float = 30 * DAY  # a chat that cannot be written to is tried again after so long
    policy: Policy = Policy()
    log_level: str = "info"
    log_texts: bool = False  # the log (and traces) may quote what messages say
    traces: bool | None = None  # OpenTelemetry; None: if OTEL_EXPORTER_OTLP_ENDPOINT is set
    listen: str = "127.0.0.1:8080"  # host:port of the doors
    api_key: str | None = field(default=None, repr=False)  # opens all of REST
    gateway_wait: float = 25.0  # seconds a call through the gateway waits for its delivery
    rest_rate: float = 200.0  # requests/s of one API key that is no admin's; 0: no limit
    spool: Path | None = None  # the local journal for messages while the store is away; None: they are refused
    spool_mb: int = 1024  # 10^6 bytes it holds at most
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Knob:
    """One setting: where it stands in the environment and in the file, and how its text becomes a value."""

    env: str
    toml: str  # dotted
    name: str
    parse: Callable[[str, Any], Any]


def load(environ: Mapping[str, str] | None = None, file: Path | None = None) -> Settings:
    """Read the settings. `file`: instead of `KURIR_CONFIG` or `./kurir.toml`. Raises InvalidSetting."""
    environ = os.environ if environ is None else environ
    table = _file(environ, file)
    for name in SECTIONS:
        _table(name, table.get(name, {}), f"Write [{name}] and its settings below.")
    values: dict[str, Any] = {}
    for knob in KNOBS:
        if (text := environ.get(knob.env)) not in (None, ""):
            values[knob.name] = knob.parse(knob.env, text)
        elif (found := _dotted(table, knob.toml)) is not None:
            values[knob.name] = knob.parse(knob.toml, found)
    values["policy"] = _policy(table.get("retry", {}))
    values["bots"] = _bots(environ, table)
    values["warnings"] = tuple(_unknown(environ, table))
    return Settings(**values)


def chosen(settings: Settings | None, token: str | None, overrides: dict[str, Any]) -> Settings:
    """Those given, else those of the environment and the file; with one bot of that token, and single ones replaced.
    Raises InvalidSetting."""
    s = load() if settings is None else settings
    limits = overrides.pop("pace", None)
    if token is not None:
        s = replace(s, bots=(make_bot("default", token),))
    if limits is not None:
        s = replace(s, bots=tuple(replace(b, limits=pace(limits, b.limits, "pace")) for b in s.bots))
    knobs = {knob.name: knob for knob in KNOBS}
    for name, value in overrides.items():
        if name not in Settings.__slots__:
            raise InvalidSetting(name, "is unknown", f"Known: {', '.join(Settings.__slots__)}.")
        if name in knobs and value != getattr(s, name):
            given = str(value) if isinstance(value, Path) else value
            parsed = knobs[name].parse(name, given)
            overrides[name] = value if isinstance(value, int | float) and name in _DAYS else parsed
    return replace(s, **overrides) if overrides else s


def _file(environ: Mapping[str, str], file: Path | None) -> dict[str, Any]:
    config = environ.get("KURIR_CONFIG")
    named = file or (Path(config) if config else None)
    path = named or Path("kurir.toml")
    if not path.is_file():
        if named is not None:
            raise InvalidSetting("KURIR_CONFIG", f"{path} does not exist", "Name an existing file, or unset it.")
        return {}
    try:
        return tomllib.loads(path.read_text("utf8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting(str(path), f"is no TOML: {error}", "Compare it with kurir.example.toml.") from None


def _dotted(table: Mapping[str, Any], name: str) -> Any:
    value: Any = table
    for part in name.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


# ---------------------------------------------------------------- values


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidSetting(name, f"is a {type(value).__name__}", "Write it as text.")
    return value


def _url(name: str, value: Any) -> str:
    url = _text(name, value).rstrip("/")
    if not re.match(r"https?://[^/\s]+", url):
        raise InvalidSetting(name, "is no http(s) URL", f"For example {DEFAULT_URL}.")
    return url


def _proxy(name: str, value: Any) -> str:
    url = _text(name, value)
    if not re.match(r"(https?|socks5h?|socks4)://\S+", url):
        raise InvalidSetting(name, "is no proxy URL", "For example socks5://user:password@host:1080.")
    return url


def _flag(name: str, value: Any) -> bool:
    text = str(value).lower()
    if text not in ("1", "0", "true", "false", "on", "off", "yes", "no"):
        raise InvalidSetting(name, f"{value!r} is neither on nor off", "Write on or off.")
    return text in ("1", "true", "on", "yes")


def number(name: str, value: Any, least: float, most: float = 1e12) -> float:
    try:
        parsed = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        raise InvalidSetting(name, f"{value!r} is no number", f"Give {least:g} or more.") from None
    if not least <= parsed <= most:
        raise InvalidSetting(name, f"{value} is out of range", f"Give {least:g} to {most:g}.")
    return parsed


def _seconds(name: str, value: Any) -> float:
    return number(name, value, 0.1)


def _days(name: str, value: Any) -> float:
    return number(name, value, 0) * DAY


def _count(name: str, value: Any) -> int:
    count = number(name, value, 1, 10_000)
    if count != int(count):
        raise InvalidSetting(name, f"{value} is no whole number", "Give 1 to 10000.")
    return int(count)


def _megabytes(name: str, value: Any) -> int:
    return int(number(name, value, 1, 1e6))


def _path(name: str, value: Any) -> Path:
    text = _text(name, value)
    if "://" in text:
        raise InvalidSetting(name, f"{text.split('://')[0]}://... is no path", "Give a path on this machine.")
    if not text.strip():
        raise InvalidSetting(name, "is empty", "Give a path on this machine.")
    return Path(text).expanduser()


def place(name: str, value: Any) -> Path | str:
    """Where files are: a folder, or what begins like the URL of a bucket. Raises InvalidSetting."""
    return value if isinstance(value, str) and value.startswith(S3) else _path(name, value)


def _level(name: str, value: Any) -> str:
    level = _text(name, value).lower()
    if level not in ("debug", "info", "warning", "error"):
        raise InvalidSetting(name, f"{value!r} is no level", "Use debug, info, warning or error.")
    return level


def _delays(name: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, list):
        raise InvalidSetting(name, "is no list", "Write it as [1, 2, 4].")
    return tuple(number(f"{name}[{i}]", delay, 0) for i, delay in enumerate(value))


def _listen(name: str, value: Any) -> str:
    """host:port; a bare port means this machine only; an IPv6 host stands in brackets."""
    text = f"127.0.0.1:{value}" if str(value).isdigit() else _text(name, value)
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\s\[\]]*):(\d{1,5})", text)
    if match is None or int(match[2]) > 65535:
        raise InvalidSetting(name, f"{value!r} is no address", "Write host:port, for example 127.0.0.1:8080.")
    return text


def _secret(name: str, value: Any) -> str:
    if len(_text(name, value)) < 16 or not value.isascii() or not value.isprintable() or " " in value:
        raise InvalidSetting(name, "is too easily guessed", "Use 16 characters or more, without blanks.")
    return str(value)


def _wait(name: str, value: Any) -> float:
    return number(name, value, 0, 3600)


def _rate(name: str, value: Any) -> float:
    return number(name, value, 0, 1e6)


KNOBS = (
    _Knob("KURIR_STORE", "store", "store", _text),
    _Knob("KURIR_TELEGRAM_URL", "telegram.url", "telegram_url", _url),
    _Knob("KURIR_LOCAL_SERVER", "telegram.local", "local_server", _flag),
    _Knob("KURIR_PROXY", "telegram.proxy", "proxy", _proxy),
    _Knob("KURIR_CONNECT_TIMEOUT", "telegram.connect_timeout", "connect_timeout", _seconds),
    _Knob("KURIR_READ_TIMEOUT", "telegram.read_timeout", "read_timeout", _seconds),
    _Knob("KURIR_FILES", "files", "files", place),
    _Knob("KURIR_CONCURRENCY", "concurrency", "concurrency", _count),
    _Knob("KURIR_HISTORY_DAYS", "history_days", "history", _days),
    _Knob("KURIR_SUPPRESSION_DAYS", "suppression_days", "suppression", _days),
    _Knob("KURIR_LOG_LEVEL", "log_level", "log_level", _level),
    _Knob("KURIR_LOG_TEXTS", "log_texts", "log_texts", _flag),
    _Knob("KURIR_TRACES", "traces", "traces", _flag),
    _Knob("KURIR_LISTEN", "listen", "listen", _listen),
    _Knob("KURIR_API_KEY", "api_key", "api_key", _secret),
    _Knob("KURIR_GATEWAY_WAIT", "gateway.wait", "gateway_wait", _wait),
    _Knob("KURIR_REST_RATE", "rest.rate", "rest_rate", _rate),
    _Knob("KURIR_SPOOL", "spool", "spool", _path),
    _Knob("KURIR_SPOOL_MB", "spool_mb", "spool_mb", _megabytes),
)
OTHER_ENV = ("KURIR_CONFIG", "KURIR_BOT_TOKEN", "KURIR_PACE")
OTHER_TOML = ("bots", "pace", "retry", "telegram")
SECTIONS = ("telegram", "retry", "gateway", "rest")
BOT = ("token", "pace", "test", "wait", "respond_async")

RETRY_DELAYS = ("quick", "slow")
RETRY_LIMITS = ("crash_limit", "doubt_limit")
PACE = ("on", "bot", "bot_burst", "chat", "chat_burst", "group", "paid", "low_share")


def _table(name: str, value: Any, remedy: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidSetting(name, "is no table", remedy)
    return value


def _policy(table: Mapping[str, Any]) -> Policy:
    values: dict[str, Any] = {}
    for name in RETRY_DELAYS:
        if name in table:
            values[name] = _delays(f"retry.{name}", table[name])
    for name in RETRY_LIMITS:
        if name in table:
            values[name] = _count(f"retry.{name}", table[name])
    return Policy(**values)


# ---------------------------------------------------------------- bots


def make_bot(name: str, token: Any, limits: Limits = Limits(), entry: Mapping[str, Any] = {}) -> Bot:
    """`entry`: its table in the file. Raises InvalidSetting (which never shows the token)."""
    if not isinstance(token, str) or not TOKEN.fullmatch(token.strip()):
        raise InvalidSetting(f"token of bot {name!r}", "does not look like 123456789:AA...", "Copy it from @BotFather.")
    flags = {flag: _flag(f"bots.{name}.{flag}", entry[flag]) for flag in ("test", "respond_async") if flag in entry}
    wait = _wait(f"bots.{name}.wait", entry["wait"]) if "wait" in entry else None
    return Bot(name, token.strip(), limits, wait=wait, **flags)


def _bots(environ: Mapping[str, str], table: Mapping[str, Any]) -> tuple[Bot, ...]:
    common = pace(table.get("pace", {}), Limits(), "pace")
    if switch := environ.get("KURIR_PACE"):
        common = pace({"on": switch}, common, "KURIR_PACE")
    bots: list[Bot] = []
    named = _table("bots", table.get("bots", {}), 'Write [bots.shop] token = "...".')
    for name, entry in named.items():
        _table(f"bots.{name}", entry, f'Write [bots.{name}] token = "...".')
        limits = pace(entry.get("pace", {}), common, f"bots.{name}.pace")
        bots.append(make_bot(name, entry.get("token"), limits, entry))
    if token := environ.get("KURIR_BOT_TOKEN"):
        bot = make_bot("default", token, common)
        same = [b for b in bots if b.id == bot.id]
        if same:  # a bot of the file: the environment brings its token, the file its name and pace
            bots[bots.index(same[0])] = replace(same[0], token=bot.token)
        else:
            bots.insert(0, bot)
    ids = [bot.id for bot in bots]
    if len(set(ids)) != len(ids):
        raise InvalidSetting("bots", "name the same bot twice", "Keep one entry for each token.")
    return tuple(bots)


def pace(table: Any, base: Limits, where: str) -> Limits:
    """Limits from `[pace]`: `on`, and rates such as `bot = "30/s"`."""
    if isinstance(table, str | bool):
        table = {"on": table}
    values: dict[str, Any] = {name: getattr(base, name) for name in Limits.__slots__}
    for name, value in _table(where, table, 'Write on, off, or a table: [pace] bot = "30/s".').items():
        if name in ("bot", "chat", "group", "paid"):
            try:
                values[name] = Rate.parse(str(value))
            except ValueError as error:
                raise InvalidSetting(f"{where}.{name}", str(error), 'Write it as "30/s" or "20/min".') from None
        elif name == "on":
            values[name] = _flag(f"{where}.on", value)
        elif name in ("bot_burst", "chat_burst"):
            values[name] = int(number(f"{where}.{name}", value, 1, 1000))
        elif name == "low_share":
            values[name] = number(f"{where}.{name}", value, 0, 1)
        else:
            raise InvalidSetting(f"{where}.{name}", "is unknown", f"Known: {', '.join(PACE)}.")
    return Limits(**values)


def _unknown(environ: Mapping[str, str], table: Mapping[str, Any]) -> list[str]:
    """Warnings about names that mean nothing, with the nearest that does."""
    known_env = [*(knob.env for knob in KNOBS), *OTHER_ENV]
    known_toml = [*(knob.toml.split(".")[0] for knob in KNOBS), *OTHER_TOML]
    inside = {
        "retry": [*RETRY_DELAYS, *RETRY_LIMITS],
        **{f"bots.{bot}": list(BOT) for bot in table.get("bots", {})},
        **{
            section: [knob.toml.split(".")[1] for knob in KNOBS if knob.toml.startswith(f"{section}.")]
            for section in ("telegram", "gateway", "rest")
        },
    }
    found = [("", name, known_env) for name in environ if name.startswith("KURIR_")]
    found += [("", name, known_toml) for name in table]
    found += [(f"{where}.", name, known) for where, known in inside.items() for name in _dotted(table, where) or ()]
    warnings = []
    for where, name, known in found:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {where}{near[0]}?" if near else ""
            warnings.append(f"unknown setting {where}{name}{hint}")
    return warnings
