"""What the simulator's tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kurir.simulator import Response

TOKEN = "123:ABC"
GROUP = -100
SUPERGROUP = -1_001_234_567_890

Ask = Callable[..., Response]


def why(response: Response) -> str:
    """The description of a refusal."""
    assert response.payload["ok"] is False, response.payload
    assert response.payload["error_code"] == response.status
    return str(response.payload["description"])


def result(response: Response) -> Any:
    """The result of a success."""
    assert response.payload["ok"] is True, response.payload
    return response.payload["result"]
