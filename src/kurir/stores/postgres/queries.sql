-- Statements beside the functions. `kurir.` stands for the schema, whatever it is called.

-- ------------------------------------------------------------------ records

-- name: waiting_records
SELECT m.seq, m.id, m.bot, l.chat, m.method, m.params,
  CASE WHEN l.token IS NOT NULL AND l.head = m.seq THEN 1 ELSE 0 END AS state, m.prio, m.accepted_at, m.due_at,
  NULL::float8 AS ended_at, m.expires_at, m.reason, m.key, m.metadata, m.files, m.options, m.tries, m.doubts, m.crashes,
  NULL::text AS superseded_by, NULL::text AS result, m.tried
FROM kurir.message m JOIN kurir.lane l ON l.id = m.lane

-- name: ended_records
SELECT m.seq, m.id, m.bot, l.chat, m.method, m.params, m.state, m.prio, m.accepted_at, m.due_at, m.ended_at, m.expires_at,
  m.reason, m.key, m.metadata, m.files, m.options, m.tries, m.doubts, m.crashes, m.superseded_by, m.result, m.tried
FROM kurir.ended m JOIN kurir.lane l ON l.id = m.lane

-- The lanes that a chat's name stands for, aliases followed, one a bot at most.
-- name: lanes_by_chat
SELECT coalesce(own.lane, today.lane) AS lane, b.id AS bot, own.moved_to
FROM kurir.bot b JOIN kurir.name own ON own.bot = b.id AND own.chat = $1
  LEFT JOIN kurir.name today ON today.bot = own.bot AND today.chat = own.moved_to
WHERE $2::int8 IS NULL OR b.id = $2

-- ------------------------------------------------------------------ lanes

-- name: lanes
SELECT l.id, l.bot, l.chat, l.waiting, l.token IS NOT NULL AS sending,
  CASE WHEN l.token IS NOT NULL THEN NULL WHEN l.head IS NOT NULL THEN l.next_at WHEN l.waiting > 0 THEN
    (SELECT greatest(min(due_at), l.chat_at) FROM kurir.message WHERE lane = l.id AND later) END AS next_at,
  l.chat_at, (SELECT id FROM kurir.message WHERE seq = l.head) AS head, l.suppressed, l.suppressed_at, l.chat_why
FROM kurir.lane l

-- A lane in which something waits has a head, is in flight, or all of it is for later.
-- name: lanes_that_wait
SELECT id FROM kurir.lane WHERE prio IS NOT NULL AND token IS NULL
UNION ALL SELECT id FROM kurir.lane WHERE token IS NOT NULL
UNION ALL SELECT lane FROM kurir.message WHERE later

-- ------------------------------------------------------------------ stats

-- name: bots
WITH sums AS (
  SELECT bot, sum(waiting) AS waiting, sum(lanes) AS lanes, sum(delivered) AS delivered, sum(dead) AS dead,
    sum(cancelled) AS cancelled, sum(expired) AS expired, sum(fenced) AS fenced
  FROM (SELECT bot, waiting, lanes, delivered, dead, cancelled, expired, fenced FROM kurir.tally
    UNION ALL SELECT bot, waiting, lanes, delivered, dead, cancelled, expired, fenced FROM kurir.delta) d
  GROUP BY bot)
SELECT coalesce(b.id, s.bot) AS bot, coalesce(s.waiting, 0)::int8 AS waiting,
  (SELECT count(*) FROM kurir.lane l WHERE l.bot = b.id AND l.token IS NOT NULL) AS sending,
  coalesce(s.delivered, 0)::int8 AS delivered, coalesce(s.dead, 0)::int8 AS dead, coalesce(s.cancelled, 0)::int8 AS cancelled,
  coalesce(s.expired, 0)::int8 AS expired, coalesce(s.lanes, 0)::int8 AS lanes,
  (SELECT min(f.next_at) FROM generate_series(0, 3) p CROSS JOIN LATERAL (
    SELECT l.next_at FROM kurir.lane l WHERE l.bot = b.id AND l.prio = p AND l.token IS NULL AND l.next_at < 'infinity'
    ORDER BY l.next_at, l.id LIMIT 1) f) AS oldest_due,
  coalesce(s.fenced, 0)::int8 AS fenced, b.holder, b.lease_until, b.paused_until, b.paused_why
FROM kurir.bot b FULL JOIN sums s ON s.bot = b.id WHERE $1::int8 IS NULL OR coalesce(b.id, s.bot) = $1 ORDER BY 1

-- name: days
WITH every AS (
  SELECT bot, day, delivered, dead, cancelled, expired FROM kurir.day
  UNION ALL SELECT bot, day, delivered, dead, cancelled, expired FROM kurir.delta
  WHERE day IS NOT NULL AND delivered + dead + cancelled + expired > 0)
SELECT bot, day, sum(delivered)::int8, sum(dead)::int8, sum(cancelled)::int8, sum(expired)::int8 FROM every
WHERE ($1::int8 IS NULL OR bot = $1) AND day IN (SELECT DISTINCT day FROM every ORDER BY day DESC LIMIT $2)
GROUP BY bot, day ORDER BY day, bot

-- name: size
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::int8 FROM pg_class c
WHERE c.relnamespace = to_regnamespace($1) AND c.relkind = 'r'

-- What the server does to a commit, and what hinders it.
-- name: server
SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
  current_setting('synchronous_commit') AS synchronous_commit,
  current_setting('synchronous_standby_names') AS synchronous_standby_names, pg_is_in_recovery() AS standby,
  current_setting('server_encoding') AS encoding, current_setting('server_version') AS version,
  current_setting('server_version_num')::integer AS version_num

-- name: health
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8 AS oldest,
  (SELECT coalesce(sum(n_dead_tup), 0)::int8 FROM pg_stat_user_tables WHERE schemaname = $1) AS dead,
  (SELECT coalesce(sum(n_live_tup), 0)::int8 FROM pg_stat_user_tables WHERE schemaname = $1) AS living
FROM pg_stat_activity WHERE backend_xmin IS NOT NULL OR backend_xid IS NOT NULL

-- name: has_arrivals
SELECT EXISTS (SELECT FROM kurir.arrival)

-- name: admit_all
SELECT kurir.admit_all($1::float8)

-- name: server_time
SELECT extract(epoch FROM clock_timestamp())::float8

-- name: whereabouts
SELECT kurir.whereabouts()

-- ------------------------------------------------------------------ hints

-- name: notify
SELECT pg_notify($1, $2)

-- What moves on whenever something changes that a courier should hear of.
-- name: marks
SELECT (SELECT last_value FROM kurir.message_seq) + (SELECT last_value FROM kurir.change)

-- ------------------------------------------------------------------ API keys

-- name: add_api_key
INSERT INTO kurir.api_key (id, name, role, digest, created_at, revoked_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING RETURNING id

-- name: same_api_key
SELECT 1 FROM kurir.api_key WHERE (id, name, role, digest, created_at) = ($1, $2, $3, $4, $5)

-- name: api_keys
SELECT id, name, role, digest, created_at, revoked_at FROM kurir.api_key ORDER BY created_at, number

-- name: revoke_api_key
UPDATE kurir.api_key SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING id

-- name: revoked_api_key
SELECT 1 FROM kurir.api_key WHERE id = $1 AND revoked_at = $2
