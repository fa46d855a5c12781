-- What the doors need: API keys, what people are told of chats, messages and suppressions, and a sign of life.

ALTER TABLE lane ADD COLUMN chat_why TEXT;        -- why somebody paused the chat until `chat_at`
ALTER TABLE message ADD COLUMN asked_at REAL;     -- when it was to leave at the earliest; null: at once
ALTER TABLE message ADD COLUMN requeued_at REAL;  -- when it was last set waiting again by hand

-- One row, written to find out whether the file takes what is written.
CREATE TABLE pulse (at REAL NOT NULL) STRICT;
INSERT INTO pulse VALUES (0);

-- What is kept of an API key: never the secret.
CREATE TABLE api_key (
  id         TEXT NOT NULL UNIQUE,
  name       TEXT NOT NULL,
  role       TEXT NOT NULL,                  -- admin · send · read
  digest     BLOB NOT NULL UNIQUE,           -- SHA-256 of the secret
  created_at REAL NOT NULL,
  revoked_at REAL                            -- opens nothing from then on
) STRICT;

-- A page of suppressed lanes, in the order of the table.
CREATE INDEX lane_suppressed_by_id ON lane (id) WHERE suppressed IS NOT NULL;

-- ------------------------------------------------------------------ for people

CREATE VIEW chats AS
SELECT l.bot, l.chat, l.waiting, l.token IS NOT NULL AS sending,
  (SELECT id FROM message WHERE seq = l.head) AS next_message,
  datetime(CASE WHEN l.token IS NOT NULL THEN NULL WHEN l.head IS NOT NULL THEN l.next_at WHEN l.waiting > 0 THEN
    (SELECT max(min(due_at), l.chat_at) FROM message WHERE lane = l.id AND state = 1) END, 'unixepoch') AS next_at,
  CASE WHEN l.chat_at = 9e999 THEN 'resumed' WHEN l.chat_at > 0 THEN datetime(l.chat_at, 'unixepoch') END AS quiet_until,
  l.chat_why AS quiet_why, l.suppressed, datetime(l.suppressed_at, 'unixepoch') AS suppressed_at
FROM lane l WHERE l.moved_to IS NULL;

CREATE VIEW suppressions AS
SELECT bot, chat, suppressed AS why, datetime(suppressed_at, 'unixepoch') AS since
FROM lane WHERE suppressed IS NOT NULL AND moved_to IS NULL;
