"""How large a request may be."""

from __future__ import annotations

from dataclasses import dataclass

from kurir.telegram.files import CLOUD_LIMIT


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes, if not said otherwise. The defaults follow the official server (tdlib/td,
    `tdnet/td/net/HttpReader.h`); its 1 MiB of parameters gets some room for what encodings add."""

    params: int = (1 << 20) + (1 << 16)  # query string, and all of the body that is no file
    query: int = 1 << 18
    file: int = CLOUD_LIMIT  # of each file
    files: int = 50  # how many
    fields: int = 1_000  # how many parts of a multipart body, files among them
    header: int = 1 << 14  # headers of one part
    body: int = (1 << 31) - 1  # the whole body
