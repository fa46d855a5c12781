"""The Redis store: Redis 6.2 to 8 and Valkey, alone or as a cluster. Needs `kurir[redis]`."""

from .store import RedisStore

__all__ = ["RedisStore"]
