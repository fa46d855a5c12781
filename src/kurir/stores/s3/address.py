"""Which bucket an URL names, and where."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from botocore.utils import is_valid_endpoint_url, is_valid_ipv6_endpoint_url

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
    parts = _split(url)
    if parts is None:
        raise InvalidSetting(SETTING, "is no URL", f"Write it like {LIKE}.")
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
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or "@" in parts.netloc or parts.query:
        raise InvalidSetting(SETTING, "its endpoint_url is no http(s) URL", "For example http://minio.example:9000.")
    if not is_valid_endpoint_url(url) and not is_valid_ipv6_endpoint_url(url):
        raise InvalidSetting(
            SETTING,
            "its endpoint_url names no host: letters, digits and - may stand in a name, _ may not",
            "Give the host a name without _, as http://minio:9000, or name its address.",
        )
    return url.rstrip("/")


def _region(region: str | None) -> str | None:
    if region is not None and not _REGION.fullmatch(region):
        raise InvalidSetting(SETTING, "its region is none", "For example eu-central-1.")
    return region


def _split(url: str) -> SplitResult | None:
    """None for what is no URL, its port included."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts
