"""A message's state as the functions and the table `ended` have it."""

from __future__ import annotations

from kurir.core.message import State

READY, LATER = 0, 1  # of settlements that wait again; answers have 1 for what is in flight
CODE_OF = {State.WAITING: READY, State.DELIVERED: 2, State.DEAD: 3, State.CANCELLED: 4, State.EXPIRED: 5}
STATE_OF = (State.WAITING, State.SENDING, State.DELIVERED, State.DEAD, State.CANCELLED, State.EXPIRED)
