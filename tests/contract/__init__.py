"""The store contract: one suite over every store. A new store is one line in `stores.py`."""
