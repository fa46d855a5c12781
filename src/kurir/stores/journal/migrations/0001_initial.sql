-- The journal: messages that were accepted while the store was away, and are not in the store yet.

CREATE TABLE entry (
  pos         INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order of acceptance
  id          TEXT    NOT NULL UNIQUE,
  bot         INTEGER NOT NULL,                   -- Telegram's numeric bot id
  chat        TEXT    NOT NULL,
  method      TEXT    NOT NULL,
  params      TEXT    NOT NULL,                   -- JSON
  accepted_at REAL    NOT NULL,                   -- Unix seconds, as every time here
  prio        INTEGER NOT NULL,
  due_at      REAL    NOT NULL,
  expires_at  REAL,
  key         TEXT,                               -- idempotency key
  digest      BLOB,                               -- hash of the body; set when the key is
  target      TEXT,
  coalesce_   INTEGER NOT NULL,                   -- it may replace an older waiting message of the same target
  force_      INTEGER NOT NULL,                   -- it lifts a suppression of its chat
  files       TEXT,                               -- JSON
  metadata    TEXT,                               -- JSON
  options     TEXT,                               -- JSON
  fate        TEXT,                               -- it goes to the store as a cancelled message, for this reason
  stuck       TEXT                                -- the store does not take it, for this reason: it is passed over
) STRICT;
CREATE UNIQUE INDEX entry_key ON entry (bot, key) WHERE key IS NOT NULL;
CREATE INDEX entry_stuck ON entry (pos) WHERE stuck IS NOT NULL;
CREATE INDEX entry_files ON entry (files) WHERE files IS NOT NULL;

-- Written now and then, to see whether the journal takes what is written.
CREATE TABLE pulse (at REAL NOT NULL) STRICT;
INSERT INTO pulse VALUES (0);
