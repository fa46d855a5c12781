-- Kurir's tables. People should read the views at the end: their columns stay; the tables may change.
-- Times are Unix seconds, as everywhere in Kurir. What changes all the time is small and has few indexes; what ended is
-- appended to `ended` and then left alone. No row is written again and again by every transaction.

-- One row a bot: who may send for it, and whether it may send.
CREATE TABLE bot (
  id           bigint PRIMARY KEY,                  -- Telegram's numeric bot id
  holder       text,                                -- who holds the lease
  token        bigint  NOT NULL DEFAULT 0,          -- fencing token, grows with each change of holder
  lease_until  float8  NOT NULL DEFAULT 0,
  orphans      boolean NOT NULL DEFAULT false,      -- lanes may be in flight under older tokens
  paused_until float8  NOT NULL DEFAULT 0,
  paused_why   text,
  looks        bigint  NOT NULL DEFAULT 0           -- grows when a lane may have become ready in the past: see `claim`
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- The processes that send, so that they can share the bots.
CREATE TABLE worker (
  holder text PRIMARY KEY,
  until  float8   NOT NULL,
  bots   bigint[] NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- Counters: what `delta` says is added to `tally` and `day` now and then. A transaction only ever appends.
CREATE TABLE delta (
  bot       bigint  NOT NULL,
  day       text,                                   -- what ended counts for this day, too
  waiting   integer NOT NULL DEFAULT 0,
  lanes     integer NOT NULL DEFAULT 0,
  delivered integer NOT NULL DEFAULT 0,
  dead      integer NOT NULL DEFAULT 0,
  cancelled integer NOT NULL DEFAULT 0,
  expired   integer NOT NULL DEFAULT 0,
  fenced    integer NOT NULL DEFAULT 0
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE TABLE tally (
  bot       bigint PRIMARY KEY,
  waiting   bigint NOT NULL,                        -- includes what is in flight
  lanes     bigint NOT NULL,                        -- with messages waiting
  delivered bigint NOT NULL,
  dead      bigint NOT NULL,
  cancelled bigint NOT NULL,
  expired   bigint NOT NULL,
  fenced    bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

CREATE TABLE day (
  bot       bigint NOT NULL,
  day       text   NOT NULL,                        -- YYYY-MM-DD, UTC, on which messages ended
  delivered bigint NOT NULL,
  dead      bigint NOT NULL,
  cancelled bigint NOT NULL,
  expired   bigint NOT NULL,
  PRIMARY KEY (day, bot)
) WITH (fillfactor = 50);

-- Requests whose answer may have to be given twice. The primary key is what keeps one from being carried out twice.
CREATE TABLE request (
  id     bigint PRIMARY KEY,
  at     float8 NOT NULL DEFAULT extract(epoch FROM clock_timestamp())::float8,
  answer text   NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

CREATE SEQUENCE lane_id AS bigint;
CREATE SEQUENCE message_seq AS bigint;              -- order of acceptance
CREATE SEQUENCE change AS bigint;                   -- moved on by what pollers should notice besides new messages

-- What a (bot, chat) is called: a lane's own name, or one that it had before.
CREATE TABLE name (
  bot      bigint NOT NULL,
  chat     text   COLLATE "C" NOT NULL,
  lane     bigint,                                  -- null: an alias
  moved_to text   COLLATE "C",                               -- the chat has this name now, which is never an alias itself
  PRIMARY KEY (bot, chat)
);
CREATE INDEX name_moved_to ON name (bot, moved_to) WHERE moved_to IS NOT NULL;

-- One small row a (bot, chat). In flight iff token is not null. Whoever changes the messages of a lane holds its lock.
CREATE TABLE lane (
  id            bigint   PRIMARY KEY,
  bot           bigint   NOT NULL,
  token         bigint,                             -- of the lease under which the head is in flight
  request       bigint,                             -- of the claim that put it in flight
  head          bigint,                             -- seq of the message whose turn it is
  head_at       float8,                             -- when the head came to its turn, or its due_at if later
  chat_at       float8   NOT NULL DEFAULT 0,        -- the chat hears nothing before
  next_at       float8,                             -- ready at: max(head_at, chat_at); of no interest in flight
  suppressed_at float8,
  waiting       integer  NOT NULL DEFAULT 0,
  prio          smallint,                           -- the head's; null iff there is no head
  chat          text     COLLATE "C" NOT NULL,
  suppressed    text,                               -- why nobody writes to this chat
  chat_why      text                                -- why somebody paused the chat until `chat_at`
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000,
  autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
-- The claim: ready lanes of a bot, most urgent first, longest ready first. Neither the backlog nor the lanes that are not
-- ready stand in its way.
CREATE INDEX lane_ready ON lane (bot, prio, next_at, id) WHERE token IS NULL AND prio IS NOT NULL;
CREATE INDEX lane_flight ON lane (bot, token) WHERE token IS NOT NULL;
CREATE INDEX lane_suppressed ON lane (id) WHERE suppressed IS NOT NULL;

-- What waits or is in flight.
CREATE TABLE message (
  seq          bigint   PRIMARY KEY,
  lane         bigint   NOT NULL,
  bot          bigint   NOT NULL,
  pos          bigint   NOT NULL,                   -- place in the lane
  due_at       float8   NOT NULL,
  accepted_at  float8   NOT NULL,
  expires_at   float8,
  asked_at     float8,                              -- when it was to leave at the earliest; null: at once
  requeued_at  float8,                              -- when it was last set waiting again by hand
  tried_at     float8,                              -- when its last attempt began
  tries        integer  NOT NULL DEFAULT 0,
  attempts     integer  NOT NULL DEFAULT 0,
  doubts       integer  NOT NULL DEFAULT 0,
  crashes      integer  NOT NULL DEFAULT 0,
  prio         smallint NOT NULL,
  later        boolean  NOT NULL,                   -- has lost its place until due_at
  id           text     COLLATE "C" NOT NULL,
  method       text     NOT NULL,
  params       text     NOT NULL,
  reason       text,
  key          text     COLLATE "C",
  target       text     COLLATE "C",
  files        text,
  metadata     text,
  options      text,
  tried        text                                 -- its attempts: JSON arrays, separated by commas
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000,
  autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE UNIQUE INDEX message_id ON message (id);
CREATE INDEX message_lane ON message (lane, prio, pos) WHERE NOT later;
CREATE INDEX message_later ON message (bot, due_at) WHERE later;
CREATE INDEX message_later_lane ON message (lane) WHERE later;
CREATE INDEX message_expires ON message (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX message_target ON message (lane, target) WHERE target IS NOT NULL;
CREATE INDEX message_tried ON message (bot, tried_at) WHERE tried_at IS NOT NULL;

-- What was submitted inside other people's transactions: it enters its lane when they have committed, so that a lane is never
-- locked for as long as they take. `extra` as in the function `submit`.
CREATE TABLE arrival (
  seq         bigint   PRIMARY KEY,
  bot         bigint   NOT NULL,
  accepted_at float8   NOT NULL,
  prio        smallint NOT NULL,
  chat        text     COLLATE "C" NOT NULL,
  id          text     COLLATE "C" NOT NULL,
  method      text     NOT NULL,
  params      text     NOT NULL,
  extra       text
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
CREATE UNIQUE INDEX arrival_id ON arrival (id);
CREATE INDEX arrival_bot ON arrival (bot, seq);

-- What ended: 2 delivered · 3 dead · 4 cancelled · 5 expired.
CREATE TABLE ended (
  seq           bigint   PRIMARY KEY,
  lane          bigint   NOT NULL,
  bot           bigint   NOT NULL,
  pos           bigint   NOT NULL,
  due_at        float8   NOT NULL,
  accepted_at   float8   NOT NULL,
  ended_at      float8   NOT NULL,
  expires_at    float8,
  asked_at      float8,
  requeued_at   float8,
  tried_at      float8,
  tries         integer  NOT NULL,
  attempts      integer  NOT NULL,
  doubts        integer  NOT NULL,
  crashes       integer  NOT NULL,
  prio          smallint NOT NULL,
  state         smallint NOT NULL,
  id            text     COLLATE "C" NOT NULL,
  method        text     NOT NULL,
  params        text     NOT NULL,
  reason        text,
  key           text     COLLATE "C",
  target        text     COLLATE "C",
  files         text,
  metadata      text,
  options       text,
  tried         text,
  result        text,                               -- Telegram's, JSON
  superseded_by text
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1);
CREATE UNIQUE INDEX ended_id ON ended (id);
CREATE INDEX ended_lane ON ended (lane, seq);
CREATE INDEX ended_at ON ended (bot, ended_at, seq);
CREATE INDEX ended_badly ON ended (state, seq) WHERE state <> 2;

-- Idempotency keys, as long as their message's record lives.
CREATE TABLE key (
  bot    bigint NOT NULL,
  key    text   COLLATE "C" NOT NULL,
  digest bytea,
  id     text   COLLATE "C" NOT NULL,               -- the message's
  PRIMARY KEY (bot, key)
);

CREATE TABLE metadata (
  key   text   COLLATE "C" NOT NULL,
  value text   COLLATE "C" NOT NULL,
  seq   bigint NOT NULL
);
CREATE INDEX metadata_value ON metadata (key, md5(value), seq);
CREATE INDEX metadata_seq ON metadata (seq);

-- Which messages need which file.
CREATE TABLE message_file (
  sha256 text   COLLATE "C" NOT NULL,
  seq    bigint NOT NULL,
  PRIMARY KEY (sha256, seq)
);
CREATE INDEX message_file_seq ON message_file (seq);

-- What Telegram calls a file that a bot has uploaded once.
CREATE TABLE file_id (
  bot     bigint NOT NULL,
  sha256  text   COLLATE "C" NOT NULL,
  kind    text   COLLATE "C" NOT NULL,
  file_id text   NOT NULL,
  PRIMARY KEY (bot, sha256, kind)
);

-- What is kept of an API key: never the secret.
CREATE TABLE api_key (
  id         text   PRIMARY KEY,
  name       text   NOT NULL,
  role       text   NOT NULL,                       -- admin · send · read
  digest     bytea  NOT NULL UNIQUE,                -- SHA-256 of the secret
  created_at float8 NOT NULL,
  revoked_at float8,                                -- opens nothing from then on
  number     bigint GENERATED ALWAYS AS IDENTITY
);

-- One row, written to find out whether the server takes what is written.
CREATE TABLE pulse (at float8 NOT NULL);
INSERT INTO pulse VALUES (0);

-- ------------------------------------------------------------------ for people

CREATE VIEW messages AS
SELECT m.id, m.bot, l.chat, m.method,
  CASE WHEN l.token IS NOT NULL AND l.head = m.seq THEN 'sending' ELSE 'waiting' END AS state,
  false AS is_sent, (ARRAY['critical', 'high', 'normal', 'low'])[m.prio + 1] AS priority,
  m.reason AS error, m.attempts, m.tries, m.doubts, m.crashes, to_timestamp(m.accepted_at) AS accepted_at,
  CASE WHEN m.due_at > 0 THEN to_timestamp(m.due_at) END AS due_at, NULL::timestamptz AS ended_at,
  to_timestamp(m.expires_at) AS expires_at, m.key AS idempotency_key, m.metadata, m.params, NULL::text AS superseded_by
FROM message m JOIN lane l ON l.id = m.lane
UNION ALL
SELECT id, bot, chat, method, 'waiting', false, (ARRAY['critical', 'high', 'normal', 'low'])[prio + 1], NULL, 0, 0, 0, 0,
  to_timestamp(accepted_at), to_timestamp((extra::json ->> 'due')::float8), NULL,
  to_timestamp((extra::json ->> 'expires')::float8), extra::json ->> 'key', extra::json ->> 'metadata', params, NULL
FROM arrival
UNION ALL
SELECT m.id, m.bot, l.chat, m.method, (ARRAY['delivered', 'dead', 'cancelled', 'expired'])[m.state - 1],
  m.state = 2, (ARRAY['critical', 'high', 'normal', 'low'])[m.prio + 1],
  m.reason, m.attempts, m.tries, m.doubts, m.crashes, to_timestamp(m.accepted_at),
  CASE WHEN m.due_at > 0 THEN to_timestamp(m.due_at) END, to_timestamp(m.ended_at),
  to_timestamp(m.expires_at), m.key, m.metadata, m.params, m.superseded_by
FROM ended m JOIN lane l ON l.id = m.lane;

CREATE VIEW attempts AS
SELECT m.id AS message, m.bot, l.chat, (a.value ->> 0)::integer AS number,
  to_timestamp((a.value ->> 1)::float8) AS started_at, round(((a.value ->> 2)::float8 * 1000)::numeric)::bigint AS duration_ms,
  a.value ->> 3 AS outcome, (a.value ->> 4)::integer AS status, a.value ->> 5 AS error,
  CASE WHEN a.place = m.attempts THEN m.result END AS result
FROM (SELECT id, bot, lane, attempts, tried, result FROM ended
    UNION ALL SELECT id, bot, lane, attempts, tried, NULL FROM message) m
  JOIN lane l ON l.id = m.lane
  CROSS JOIN LATERAL json_array_elements(('[' || m.tried || ']')::json) WITH ORDINALITY a (value, place);

CREATE VIEW deliveries_by_day AS
WITH every AS (
  SELECT day, bot, delivered, dead, cancelled, expired FROM day
  UNION ALL SELECT day, bot, delivered, dead, cancelled, expired FROM delta WHERE day IS NOT NULL)
SELECT day, bot, sum(delivered + dead + expired) AS total, sum(delivered) AS sent, sum(dead + expired) AS failed,
  sum(cancelled) AS cancelled,
  round(100.0 * sum(delivered) / nullif(sum(delivered + dead + expired), 0), 2) AS success_rate
FROM every GROUP BY day, bot;

CREATE VIEW deliveries_by_month AS
SELECT substr(day, 1, 7) AS month, bot, sum(total) AS total, sum(sent) AS sent, sum(failed) AS failed,
  sum(cancelled) AS cancelled, round(100.0 * sum(sent) / nullif(sum(total), 0), 2) AS success_rate
FROM deliveries_by_day GROUP BY 1, 2;

CREATE VIEW chats AS
SELECT l.bot, l.chat, l.waiting, l.token IS NOT NULL AS sending,
  (SELECT id FROM message WHERE seq = l.head) AS next_message,
  CASE WHEN l.token IS NOT NULL THEN NULL WHEN l.head IS NOT NULL THEN to_timestamp(l.next_at) WHEN l.waiting > 0 THEN
    (SELECT to_timestamp(greatest(min(due_at), l.chat_at)) FROM message WHERE lane = l.id AND later) END AS next_at,
  CASE WHEN l.chat_at = 'infinity' THEN 'resumed' WHEN l.chat_at > 0 THEN to_timestamp(l.chat_at)::text END AS quiet_until,
  l.chat_why AS quiet_why, l.suppressed, to_timestamp(l.suppressed_at) AS suppressed_at
FROM lane l;

CREATE VIEW suppressions AS
SELECT bot, chat, suppressed AS why, to_timestamp(suppressed_at) AS since FROM lane WHERE suppressed IS NOT NULL;
