"""The Bot-API-compatible gateway: what api.telegram.org speaks, so that any bot library can use it."""
