"""What the server keeps on disk: what a crash can cost, told in words; and what makes it unfit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kurir.core.errors import InvalidSetting

from .address import FIELD, Address

NO_EVICTION = "noeviction"
OLDEST = (6, 2)  # of Redis, or of what Valkey says it is compatible with
WAIT_AOF = (7, 2)


@dataclass(frozen=True, slots=True)
class Server:
    """One server as it describes itself. None: it does not tell (services run by others often forbid CONFIG)."""

    engine: str  # "Redis 6.2.14", "Valkey 8.1.8"
    version: tuple[int, ...]
    used_memory: int  # bytes
    maxmemory: int  # bytes, 0 = no bound
    policy: str
    appendonly: bool | None
    appendfsync: str | None
    pauses_fsync: bool  # while it rewrites its log
    save: str | None  # "seconds changes ..."; "" = no snapshots
    replicas: int
    failing: bool  # its last write to disk failed


def server_of(info: Mapping[str, Any], config: Mapping[str, str]) -> Server:
    """From INFO, and what CONFIG GET told (nothing, where it is forbidden)."""
    compatible = str(info.get("redis_version", "0"))
    if "valkey_version" in info:
        engine = f"Valkey {info['valkey_version']}"
    else:
        engine = f"Redis {compatible}"
    appendonly = info.get("aof_enabled")
    return Server(
        engine=engine,
        version=tuple(int(part) for part in compatible.split(".") if part.isdigit()),
        used_memory=int(info.get("used_memory", 0)),
        maxmemory=int(info.get("maxmemory", 0)),
        policy=str(info.get("maxmemory_policy", NO_EVICTION)),
        appendonly=None if appendonly is None else bool(appendonly),
        appendfsync=config.get("appendfsync"),
        pauses_fsync=config.get("no-appendfsync-on-rewrite") == "yes",
        save=config.get("save"),
        replicas=int(info.get("connected_slaves", 0)),
        failing="err" in (info.get("aof_last_write_status"), info.get("rdb_last_bgsave_status")),
    )


def refuse_unfit(servers: Sequence[Server], address: Address, *, cluster: bool) -> None:
    """Raises InvalidSetting for servers that would lose messages by design, or cannot do what the URL asks."""
    shown = address.shown
    if address.wait_replicas and cluster:
        raise InvalidSetting(FIELD, f"wait_replicas does not work with {shown} (a cluster)", "It needs one server.")
    for server in servers:
        if server.version < OLDEST:
            raise InvalidSetting(FIELD, f"{shown} is {server.engine}", "Kurir needs Redis 6.2 or newer, or Valkey.")
        if server.maxmemory and server.policy != NO_EVICTION:
            raise InvalidSetting(
                FIELD,
                f"{shown} removes keys when its memory is full (maxmemory-policy {server.policy}): messages would vanish",
                f"Set `maxmemory-policy {NO_EVICTION}` there (CONFIG SET, and in its redis.conf), or use another server.",
            )
        if address.wait_aof and (server.version < WAIT_AOF or server.appendonly is False or cluster):
            what = f"{server.engine}, {'a cluster' if cluster else 'appendonly no' if not server.appendonly else 'too old'}"
            raise InvalidSetting(
                FIELD,
                f"wait_aof=1 does not work with {shown} ({what})",
                "It needs one server, Redis 7.2 or newer or Valkey, with appendonly yes.",
            )


def durability(server: Server, address: Address) -> str:
    """What a crash of the server, a loss of power there, or a failover can cost."""
    told = _of_crash(server, wait_aof=address.wait_aof)
    if not address.wait_replicas:
        return told
    n = address.wait_replicas
    told = f"{told} What was accepted has reached {n} replica{'s' if n > 1 else ''} too (wait_replicas): "
    if server.replicas <= n:
        return f"{told}a failover costs nothing."
    return (
        f"{told}a failover costs nothing if the server is dead and its replicas have the same replica-priority; "
        f"if it lives on, cut off, what it accepts meanwhile (wait_replicas={server.replicas}, all of them, rules that out)."
    )


def _of_crash(server: Server, *, wait_aof: bool) -> str:
    if server.appendonly is None:
        return "The server does not tell what it keeps on disk: what a crash of it costs is not known."
    if server.appendonly:
        return _of_log(server, wait_aof)
    if server.save is None:
        return (
            "The server keeps no log (appendonly no): a crash of it costs all since its last snapshot, if it makes any."
        )
    if not server.save:
        return "The server keeps nothing on disk (appendonly no, no snapshots): a crash or a restart of it costs everything."
    longest = _span(max(int(seconds) for seconds in server.save.split()[::2]))
    return (
        f"The server keeps snapshots only (appendonly no): a crash of it costs all since the last, {longest} or more."
    )


def _of_log(server: Server, wait_aof: bool) -> str:
    if server.appendfsync == "always" and not server.pauses_fsync:
        return (
            "What was accepted is on the server's disk (appendfsync always): a crash or a loss of power costs nothing."
        )
    if wait_aof:
        return "What was accepted is on the server's disk (WAITAOF): a crash or a loss of power costs nothing."
    kept = "A crash of the server's process costs nothing, a loss of power there"
    if server.appendfsync == "everysec" and not server.pauses_fsync:
        return f"{kept} up to the last two seconds (appendfsync everysec)."
    if server.appendfsync is None:
        return f"{kept} perhaps the last seconds (appendonly yes; how often it flushes the server does not tell)."
    return f"{kept} up to half a minute (appendfsync {server.appendfsync}{_pausing(server)})."


def _pausing(server: Server) -> str:
    return ", no-appendfsync-on-rewrite yes" if server.pauses_fsync else ""


def warnings(server: Server, address: Address) -> list[str]:
    """What the operator should know or change, a sentence each."""
    told = []
    safe = server.appendonly and (address.wait_aof or (server.appendfsync == "always" and not server.pauses_fsync))
    if not safe:
        told.append(f"{_of_crash(server, wait_aof=address.wait_aof)} {_remedy(server)}")
    if server.policy != NO_EVICTION:
        when = (
            "removes messages when its memory is full"
            if server.maxmemory
            else "would remove messages under a maxmemory"
        )
        told.append(f"The server {when} (maxmemory-policy {server.policy}). Set maxmemory-policy {NO_EVICTION} there.")
    if (server.replicas or address.watched) and not address.wait_replicas:
        told.append(
            "A replica that takes over lacks what had not reached it: the last moments before a failover are lost. "
            "wait_replicas=1 in KURIR_STORE has each step wait for a replica."
        )
    if server.replicas < address.wait_replicas:
        told.append(
            f"The server has {server.replicas} replicas and wait_replicas={address.wait_replicas}: nothing is accepted or "
            "sent until it has enough of them. Start them, or lower wait_replicas in KURIR_STORE."
        )
    if server.failing:
        told.append("The server's last write to its disk failed: see its log, and whether its disk is full.")
    return told


def _remedy(server: Server) -> str:
    settings = "appendonly yes, appendfsync always" + (", no-appendfsync-on-rewrite no" if server.pauses_fsync else "")
    newer = " (or wait_aof=1 in KURIR_STORE)" if server.version >= WAIT_AOF and server.appendonly else ""
    return f"Set {settings} there{newer} for messages that must not be lost."


def _span(seconds: int) -> str:
    for size, name in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size:
            n = seconds // size
            return f"{n} {name}{'s' if n > 1 else ''}"
    return "some time"
