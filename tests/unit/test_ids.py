"""Message ids."""

from __future__ import annotations

import random
from itertools import pairwise

from kurir.core.ids import RANDOM_BITS, make_id

NOW = 1_800_000_000.0
ALL = (1 << RANDOM_BITS) - 1


def test_ids_sort_by_time() -> None:
    rng = random.Random(1)
    times = sorted(rng.uniform(0, 4e9) for _ in range(1000))
    distinct = [times[0]] + [b for a, b in pairwise(times) if int(a * 1000) < int(b * 1000)]
    ids = [make_id(at, rng.getrandbits(RANDOM_BITS)) for at in distinct]
    assert ids == sorted(ids)


def test_a_millisecond_outweighs_all_random_bits() -> None:
    assert make_id(NOW, ALL) < make_id(NOW + 0.001, 0)


def test_ids_are_24_lower_case_letters_and_digits() -> None:
    for bits in (0, 1, ALL):
        id = make_id(NOW, bits)
        assert len(id) == 24
        assert id.isalnum()
        assert id == id.lower()


def test_every_random_bit_tells_ids_apart() -> None:
    assert len({make_id(NOW, 1 << bit) for bit in range(RANDOM_BITS)}) == RANDOM_BITS
