"""Kurir: makes a Telegram bot's messages arrive."""

__version__ = "0.1.0"
