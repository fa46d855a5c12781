"""What a proxy in front of Telegram answers."""

from __future__ import annotations

REASONS = {413: "Request Entity Too Large", 500: "Internal Server Error", 502: "Bad Gateway",
           503: "Service Temporarily Unavailable", 504: "Gateway Time-out"}  # fmt: skip


def html_page(status: int) -> str:
    """A page like nginx's."""
    words = f"{status} {REASONS.get(status, 'Error')}"
    return (
        f"<html>\r\n<head><title>{words}</title></head>\r\n<body>\r\n<center><h1>{words}</h1></center>\r\n"
        "<hr><center>nginx/1.18.0</center>\r\n</body>\r\n</html>\r\n"
    )
