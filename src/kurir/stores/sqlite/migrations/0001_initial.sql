-- Kurir's tables. People should read the views at the end: their columns stay; the tables may change.

-- One row a bot: who may send for it, and whether it may send.
CREATE TABLE bot (
  id           INTEGER PRIMARY KEY,          -- Telegram's numeric bot id
  holder       TEXT,                         -- who holds the lease
  token        INTEGER NOT NULL DEFAULT 0,   -- fencing token, grows with each change of holder
  lease_until  REAL    NOT NULL DEFAULT 0,   -- Unix seconds, as every time here
  paused_until REAL    NOT NULL DEFAULT 0,
  paused_why   TEXT
) STRICT;

-- Counters, kept in the transaction that changes what they count.
CREATE TABLE tally (
  bot       INTEGER PRIMARY KEY,
  waiting   INTEGER NOT NULL DEFAULT 0,      -- includes sending
  sending   INTEGER NOT NULL DEFAULT 0,
  delivered INTEGER NOT NULL DEFAULT 0,
  dead      INTEGER NOT NULL DEFAULT 0,
  cancelled INTEGER NOT NULL DEFAULT 0,
  expired   INTEGER NOT NULL DEFAULT 0,
  lanes     INTEGER NOT NULL DEFAULT 0,      -- with messages waiting
  fenced    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE day (
  bot       INTEGER NOT NULL,
  day       TEXT    NOT NULL,                -- YYYY-MM-DD, UTC, on which messages ended
  delivered INTEGER NOT NULL DEFAULT 0,
  dead      INTEGER NOT NULL DEFAULT 0,
  cancelled INTEGER NOT NULL DEFAULT 0,
  expired   INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (bot, day)
) STRICT, WITHOUT ROWID;

-- The last order number given out.
CREATE TABLE sequence (last INTEGER NOT NULL) STRICT;
INSERT INTO sequence VALUES (0);

-- One small row a (bot, chat). In flight iff token is not null.
CREATE TABLE lane (
  id            INTEGER PRIMARY KEY,
  bot           INTEGER NOT NULL,
  chat          TEXT    NOT NULL,
  waiting       INTEGER NOT NULL DEFAULT 0,
  head          INTEGER,                     -- seq of the message whose turn it is
  prio          INTEGER,                     -- the head's; null iff there is no head
  head_at       REAL,                        -- when the head came to its turn, or its due_at if later
  chat_at       REAL    NOT NULL DEFAULT 0,  -- the chat hears nothing before
  next_at       REAL,                        -- ready at: max(head_at, chat_at); infinite in flight
  token         INTEGER,
  moved_to      TEXT,                        -- this chat has another id now: the row is but an alias
  suppressed    TEXT,                        -- why nobody writes to this chat
  suppressed_at REAL,
  UNIQUE (bot, chat)
) STRICT;
-- The claim: ready lanes of a bot, most urgent first, longest ready first. Neither the backlog nor the lanes that are not
-- ready stand in its way.
CREATE INDEX lane_ready ON lane (bot, prio, next_at) WHERE prio IS NOT NULL;
CREATE INDEX lane_suppressed ON lane (bot, suppressed_at) WHERE suppressed IS NOT NULL;

-- state: 0 waiting with its place · 1 waiting, later · 2 delivered · 3 dead · 4 cancelled · 5 expired
CREATE TABLE message (
  seq           INTEGER PRIMARY KEY,         -- order of acceptance
  id            TEXT    NOT NULL UNIQUE,
  lane          INTEGER NOT NULL,
  bot           INTEGER NOT NULL,
  state         INTEGER NOT NULL,
  prio          INTEGER NOT NULL,
  pos           INTEGER NOT NULL,            -- place in the lane
  due_at        REAL    NOT NULL,
  accepted_at   REAL    NOT NULL,
  ended_at      REAL,
  expires_at    REAL,
  method        TEXT    NOT NULL,
  params        TEXT    NOT NULL,
  tries         INTEGER NOT NULL DEFAULT 0,
  attempts      INTEGER NOT NULL DEFAULT 0,
  doubts        INTEGER NOT NULL DEFAULT 0,
  crashes       INTEGER NOT NULL DEFAULT 0,
  reason        TEXT,
  key           TEXT,
  digest        BLOB,
  target        TEXT,
  files         TEXT,
  metadata      TEXT,
  options       TEXT,
  superseded_by TEXT
) STRICT;
CREATE INDEX message_lane ON message (lane, state, prio, pos);
CREATE INDEX message_state ON message (state) WHERE state <> 2;
CREATE INDEX message_later ON message (bot, due_at) WHERE state = 1;
CREATE INDEX message_ended ON message (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX message_expires ON message (expires_at) WHERE expires_at IS NOT NULL AND state < 2;
CREATE INDEX message_target ON message (lane, target) WHERE target IS NOT NULL AND state < 2;
CREATE UNIQUE INDEX message_key ON message (bot, key) WHERE key IS NOT NULL;

CREATE TABLE attempt (
  seq        INTEGER NOT NULL,               -- the message's
  number     INTEGER NOT NULL,
  started_at REAL    NOT NULL,
  duration   REAL    NOT NULL,               -- seconds
  outcome    TEXT    NOT NULL,
  status     INTEGER,                        -- HTTP
  error      TEXT,
  result     TEXT                            -- Telegram's, of the attempt that delivered
) STRICT;
CREATE INDEX attempt_seq ON attempt (seq);

CREATE TABLE metadata (
  key   TEXT    NOT NULL,
  value TEXT    NOT NULL,
  seq   INTEGER NOT NULL,
  PRIMARY KEY (key, value, seq)
) STRICT, WITHOUT ROWID;

-- Which messages need which spooled file.
CREATE TABLE message_file (
  sha256 TEXT    NOT NULL,
  seq    INTEGER NOT NULL,
  PRIMARY KEY (sha256, seq)
) STRICT, WITHOUT ROWID;

-- What Telegram calls a file that a bot has uploaded once.
CREATE TABLE file_id (
  bot     INTEGER NOT NULL,
  sha256  TEXT    NOT NULL,
  kind    TEXT    NOT NULL,
  file_id TEXT    NOT NULL,
  PRIMARY KEY (bot, sha256, kind)
) STRICT, WITHOUT ROWID;

-- ------------------------------------------------------------------ for people

CREATE VIEW messages AS
SELECT m.id, m.bot, l.chat, m.method,
  CASE m.state WHEN 2 THEN 'delivered' WHEN 3 THEN 'dead' WHEN 4 THEN 'cancelled' WHEN 5 THEN 'expired'
    ELSE iif(l.token IS NOT NULL AND l.head = m.seq, 'sending', 'waiting') END AS state,
  m.state = 2 AS is_sent,
  CASE m.prio WHEN 0 THEN 'critical' WHEN 1 THEN 'high' WHEN 2 THEN 'normal' ELSE 'low' END AS priority,
  m.reason AS error, m.attempts, m.tries, m.doubts, m.crashes,
  datetime(m.accepted_at, 'unixepoch') AS accepted_at,
  iif(m.due_at > 0, datetime(m.due_at, 'unixepoch'), NULL) AS due_at,
  datetime(m.ended_at, 'unixepoch') AS ended_at,
  datetime(m.expires_at, 'unixepoch') AS expires_at,
  m.key AS idempotency_key, m.metadata, m.params, m.superseded_by
FROM message m JOIN lane l ON l.id = m.lane;

CREATE VIEW attempts AS
SELECT m.id AS message, m.bot, l.chat, a.number, datetime(a.started_at, 'unixepoch') AS started_at,
  CAST(round(a.duration * 1000) AS INTEGER) AS duration_ms, a.outcome, a.status, a.error, a.result
FROM attempt a JOIN message m ON m.seq = a.seq JOIN lane l ON l.id = m.lane;

CREATE VIEW deliveries_by_day AS
SELECT day, bot, delivered + dead + expired AS total, delivered AS sent, dead + expired AS failed, cancelled,
  iif(delivered + dead + expired > 0, round(100.0 * delivered / (delivered + dead + expired), 2), NULL) AS success_rate
FROM day;

CREATE VIEW deliveries_by_month AS
SELECT substr(day, 1, 7) AS month, bot, sum(delivered + dead + expired) AS total, sum(delivered) AS sent,
  sum(dead + expired) AS failed, sum(cancelled) AS cancelled,
  iif(sum(delivered + dead + expired) > 0,
    round(100.0 * sum(delivered) / sum(delivered + dead + expired), 2), NULL) AS success_rate
FROM day GROUP BY 1, 2;
