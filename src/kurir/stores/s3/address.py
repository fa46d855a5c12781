"""Which bucket an URL names, and where."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from kurir.core.errors import InvalidSetting

SETTING: Final = "KURIR_FILES"
LIKE: Final = "s3://bucket/prefix?endpoint_url=https://s3.example&region=eu-central-1"
KNOWN: Final = ("endpoint_url", "region")

_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_REGION: Final = re.compile(r"[A-Za-z0-9-]{1,40}")


@dataclass(frozen=True, slots=True)
class Address:
    """A part of a bucket. `str` of it shows no more than which."""

    bucket: str
    prefix: str  # what keys begin with: empty, or ends in a slash
    endpoint_url: str | None = None  # None: AWS, or as the AWS settings of the machine say
    region: str | None = None  # None: as they say

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def parse(url: str) -> Address:
    """Raises InvalidSetting, which shows nothing of a secret that somebody wrote into the URL."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise InvalidSetting(SETTING, "holds credentials", "Give them as AWS does: AWS_ACCESS_KEY_ID, AWS_PROFILE, ...")
    if not _BUCKET.fullmatch(parts.netloc) or parts.fragment:
        raise InvalidSetting(SETTING, "names no S3 bucket", f"Write it like {LIKE}.")
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise InvalidSetting(SETTING, "has a query that cannot be read", f"Write it like {LIKE}.") from None
    given = dict(pairs)
    if unknown := sorted(set(given) - set(KNOWN)):
        raise InvalidSetting(SETTING, f"the parameter {unknown[0]!r} is unknown", f"Known: {', '.join(KNOWN)}.")
    prefix = "".join(f"{part}/" for part in parts.path.split("/") if part)
    return Address(parts.netloc, prefix, _endpoint(given.get("endpoint_url")), _region(given.get("region")))


def _endpoint(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
        raise InvalidSetting(SETTING, "its endpoint_url is no http(s) URL", "For example http://minio.example:9000.")
    return url.rstrip("/")


def _region(region: str | None) -> str | None:
    if region is not None and not _REGION.fullmatch(region):
        raise InvalidSetting(SETTING, "its region is none", "For example eu-central-1.")
    return region
