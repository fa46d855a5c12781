"""What went wrong at the bucket, in Kurir's errors. Nothing of a request is quoted: its headers are secret."""

from __future__ import annotations

from typing import Final

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    MetadataRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as NoConnection

from kurir.core.errors import StoreAway, StoreError, StoreFull

ASKING: Final = (ClientError, BotoCoreError, aiohttp.ClientError, TimeoutError, OSError, ValueError)
"""What a request raises; ValueError for an endpoint of the AWS settings that is no address."""

_CREDENTIALS: Final = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    ProfileNotFound,
    TokenRetrievalError,
    SSOError,
)
_WRONG_KEY: Final = frozenset(
    ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AuthorizationHeaderMalformed")
)
_NO_ROOM: Final = frozenset(("QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "ServiceQuotaExceeded"))
_BUSY: Final = frozenset(("SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "TooManyRequests"))
_CANNOT: Final = frozenset(("NotImplemented", "MethodNotAllowed"))

_GIVE_THEM: Final = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role."
_ALLOW: Final = "Allow s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject there."
_CHECK: Final = "Check KURIR_FILES and the AWS settings (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, ~/.aws/config)."
_WAIT: Final = "See whether it runs and can be reached from here; what waits for it goes on by itself."


class Missing(StoreError):
    """There is no such object, or upload."""


class Refused(StoreError):
    """The bucket does not let it be done, or cannot."""


def trouble(error: BaseException, where: str, action: str) -> StoreError:
    """What to raise for what a request to the bucket `where` raised (one of `ASKING`)."""
    if isinstance(error, ClientError):
        return _answered(error, where, action)
    if isinstance(error, _CREDENTIALS):
        return StoreError(f"no credentials for {where}: {type(error).__name__}", _GIVE_THEM)
    if isinstance(error, TimeoutError):
        return StoreAway(f"{where} did not answer in time", _WAIT)
    if isinstance(error, HTTPClientError | NoConnection | aiohttp.ClientError | OSError):
        return StoreAway(f"{where} cannot be reached: {type(error).__name__}", _WAIT)
    if isinstance(error, ValueError) and "endpoint" in str(error):
        return StoreError(f"{where} cannot be asked: its endpoint is no address", _CHECK)
    return StoreError(f"{where} cannot be asked: {type(error).__name__}", _CHECK)


def _answered(error: ClientError, where: str, action: str) -> StoreError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = f"{code} ({status})" if code != str(status) else code
    if code == "NoSuchBucket":
        return StoreError(f"{where}: there is no such bucket", "Create it, or put KURIR_FILES right.")
    if code in ("NoSuchKey", "NoSuchUpload") or status == 404:
        return Missing(f"{where} did not let us {action}: {said}", "Ask again; if it stays so, check KURIR_FILES.")
    if code == "RequestTimeTooSkewed":
        return StoreError(f"{where} refuses requests: this machine's clock is wrong", "Set the clock.")
    if code in _WRONG_KEY:
        return StoreError(f"{where} does not take the credentials: {said}", "Put them, or the region, right.")
    if code in _NO_ROOM or status == 507:
        return StoreFull(f"{where} has no room: {said}", "Give it more; the message was not accepted.")
    if code in _CANNOT or status in (405, 501):
        return Refused(f"{where} knows no way to {action}: {said}", "Check KURIR_FILES, or use a server that does.")
    if code in _BUSY or status >= 500 or status in (408, 429):
        return StoreAway(f"{where} is busy or broken: {said}", _WAIT)
    if status in (401, 403):
        return Refused(f"{where} does not let us {action}: {said}", _ALLOW)
    return StoreError(f"{where} did not let us {action}: {said}", "Check KURIR_FILES and the bucket's settings.")
