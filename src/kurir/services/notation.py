"""Settlements as JSON, for the time between two processes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from kurir.core.message import Attempt, Claim, Draft, FileRef, OnUnknown, Options, Ordering, Priority, State
from kurir.ports import Settlement

ODD = "surrogateescape"  # bytes that are no UTF-8 come back as they were


def line_of(settlement: Settlement) -> bytes:
    """One line of ASCII, whatever the texts hold. Raises TypeError, ValueError for what JSON has no words for."""
    return json.dumps(written(settlement)).encode("ascii")


def parsed(line: bytes) -> Settlement:
    """What `line_of` wrote. Raises some Exception for anything else."""
    return read(json.loads(line))


def written(settlement: Settlement) -> dict[str, Any]:
    """A JSON object."""
    fields = asdict(settlement)
    fields["claim"] = _plain(fields["claim"])
    fields["claim"]["file_ids"] = [[*place, file_id] for place, file_id in settlement.claim.file_ids.items()]
    fields["follow_ups"] = [_plain(draft) for draft in fields["follow_ups"]]
    return _plain(fields)


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Bytes are JSON, but for the digest."""
    return {
        name: (value.hex() if name == "digest" else value.decode(errors=ODD)) if isinstance(value, bytes) else value
        for name, value in fields.items()
    }


def read(fields: Mapping[str, Any]) -> Settlement:
    """The settlement. Raises TypeError, ValueError, LookupError for what is none."""
    result = fields["result"]
    return Settlement(
        **{
            **fields,
            "claim": _claim(fields["claim"]),
            "state": State(fields["state"]),
            "attempt": _attempt(fields["attempt"]),
            "before": _attempt(fields["before"]),
            "result": None if result is None else result.encode(errors=ODD),
            "file_ids": tuple((sha256, kind, file_id) for sha256, kind, file_id in fields["file_ids"]),
            "follow_ups": tuple(_draft(draft) for draft in fields["follow_ups"]),
        }
    )


def _claim(fields: Mapping[str, Any]) -> Claim:
    known = {(sha256, kind): file_id for sha256, kind, file_id in fields["file_ids"]}
    return Claim(**{**fields, **_shared(fields), "file_ids": known})


def _draft(fields: Mapping[str, Any]) -> Draft:
    digest = fields["digest"]
    return Draft(**{**fields, **_shared(fields), "digest": None if digest is None else bytes.fromhex(digest)})


def _shared(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What claims and drafts have alike."""
    return {
        "params": fields["params"].encode(errors=ODD),
        "priority": Priority(fields["priority"]),
        "files": tuple(FileRef(**file) for file in fields["files"]),
        "options": _options(fields["options"]),
    }


def _options(fields: Mapping[str, Any]) -> Options:
    backoff, on_unknown = fields["backoff"], fields["on_unknown"]
    return Options(
        **{
            **fields,
            "backoff": None if backoff is None else tuple(backoff),
            "ordering": Ordering(fields["ordering"]),
            "on_unknown": None if on_unknown is None else OnUnknown(on_unknown),
        }
    )


def _attempt(fields: Mapping[str, Any] | None) -> Attempt | None:
    return None if fields is None else Attempt(**fields)
