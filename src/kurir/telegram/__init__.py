"""The way to Telegram: one HTTP call, and the files that go with it."""
