-- All that is stored, out and in. Names stand for the store's schema: the transaction's search path is set to it. A statement
-- that reads a section takes the last key that was read, and a limit.

-- ------------------------------------------------------------------ out

-- name: dump_sequence
SELECT last_value FROM message_seq WHERE is_called

-- name: dump_bots
WITH fences AS (
  SELECT bot, sum(fenced)::int8 AS fenced
  FROM (SELECT bot, fenced FROM tally UNION ALL SELECT bot, fenced FROM delta WHERE fenced <> 0) d GROUP BY bot)
SELECT coalesce(b.id, f.bot) AS bot, coalesce(b.token, 0), coalesce(b.paused_until, 0), b.paused_why, coalesce(f.fenced, 0)
FROM bot b FULL JOIN fences f ON f.bot = b.id
WHERE coalesce(b.id, f.bot) > $1 AND (b.token > 0 OR b.paused_until > 0 OR f.fenced > 0) ORDER BY 1 LIMIT $2

-- name: dump_lanes
SELECT id, bot, chat, chat_at, chat_why, CASE WHEN token IS NULL AND head IS NOT NULL THEN head_at END, suppressed,
  CASE WHEN suppressed IS NOT NULL THEN suppressed_at END
FROM lane WHERE id > $1 ORDER BY id LIMIT $2

-- name: dump_aliases
SELECT bot, chat, moved_to FROM name WHERE lane IS NULL AND (bot, chat) > ($1::int8, $2) ORDER BY bot, chat LIMIT $3

-- name: dump_messages
SELECT m.*, (SELECT chat FROM lane WHERE id = m.lane) AS chat,
  (SELECT token FROM lane WHERE id = m.lane AND head = m.seq AND m.state = 0) AS token,
  (SELECT digest FROM key k WHERE k.bot = m.bot AND k.key = m.key) AS digest
FROM (
  (SELECT seq, id, bot, lane, method, params, 0 AS state, prio, pos, accepted_at, later, due_at, NULL::float8 AS ended_at,
    expires_at, asked_at, requeued_at, reason, NULL AS result, key, target, files, metadata, options, tries, doubts, crashes,
    NULL AS superseded_by, tried
  FROM message WHERE seq > $1 ORDER BY seq LIMIT $2)
  UNION ALL
  (SELECT seq, id, bot, lane, method, params, state, prio, pos, accepted_at, false, due_at, ended_at,
    expires_at, asked_at, requeued_at, reason, result, key, target, files, metadata, options, tries, doubts, crashes,
    superseded_by, tried
  FROM ended WHERE seq > $1 ORDER BY seq LIMIT $2)) m
ORDER BY seq LIMIT $2

-- name: dump_file_ids
SELECT bot, sha256, kind, file_id FROM file_id WHERE (bot, sha256, kind) > ($1::int8, $2, $3)
ORDER BY bot, sha256, kind LIMIT $4

-- name: dump_days
SELECT bot, day, sum(delivered)::int8, sum(dead)::int8, sum(cancelled)::int8, sum(expired)::int8 FROM (
  SELECT bot, day, delivered, dead, cancelled, expired FROM day
  UNION ALL SELECT bot, day, delivered, dead, cancelled, expired FROM delta
  WHERE day IS NOT NULL AND delivered + dead + cancelled + expired > 0) every
WHERE (bot, day) > ($1::int8, $2) GROUP BY bot, day ORDER BY bot, day LIMIT $3

-- name: dump_keys
SELECT number, id, name, role, digest, created_at, revoked_at FROM api_key WHERE number > $1 ORDER BY number LIMIT $2

-- ------------------------------------------------------------------ in

-- name: search_path
SELECT set_config('search_path', $1, true)

-- name: durable
SELECT durable()

-- name: load_sequence
SELECT setval('message_seq', $1::int8) FROM message_seq WHERE NOT is_called OR last_value < $1::int8

-- name: load_bots
INSERT INTO bot AS b (id, token, paused_until, paused_why)
SELECT * FROM unnest($1::int8[], $2::int8[], $3::float8[], $4::text[]) r (bot, token, until, why) ORDER BY bot
ON CONFLICT (id) DO UPDATE SET token = greatest(b.token, excluded.token), paused_until = excluded.paused_until,
  paused_why = excluded.paused_why, looks = b.looks + 1

-- name: load_fenced
INSERT INTO delta (bot, fenced)
SELECT r.bot, r.fenced - s.fenced FROM unnest($1::int8[], $2::int8[]) r (bot, fenced) CROSS JOIN LATERAL (
  SELECT coalesce(sum(d.fenced), 0) AS fenced
  FROM (SELECT bot, fenced FROM tally UNION ALL SELECT bot, fenced FROM delta) d WHERE d.bot = r.bot) s
WHERE r.fenced <> s.fenced

-- name: enter_lanes
SELECT enter_lanes($1::int8[], $2::text[])

-- name: load_lanes
UPDATE lane l SET chat_at = r.chat_at, chat_why = r.chat_why, suppressed = r.suppressed, suppressed_at = r.suppressed_at,
  head_at = CASE WHEN head IS NOT NULL THEN coalesce(r.head_at, l.head_at) ELSE r.head_at END,
  next_at = CASE WHEN head IS NOT NULL THEN greatest(r.chat_at, coalesce(r.head_at, l.head_at)) END
FROM unnest($1::int8[], $2::float8[], $3::text[], $4::float8[], $5::text[], $6::float8[])
  r (id, chat_at, chat_why, head_at, suppressed, suppressed_at)
WHERE l.id = r.id

-- Lanes of chats that were loaded under names which they have no more.
-- name: lanes_named
SELECT n.lane FROM unnest($1::int8[], $2::text[]) r (bot, chat) JOIN name n ON n.bot = r.bot AND n.chat = r.chat
WHERE n.lane IS NOT NULL

-- name: load_alias
INSERT INTO name (bot, chat, moved_to) VALUES ($1, $2, $3) ON CONFLICT (bot, chat) DO UPDATE SET moved_to = excluded.moved_to

-- name: land
WITH locked AS (SELECT id FROM lane WHERE id = ANY ($1::int8[]) ORDER BY id FOR UPDATE)
UPDATE lane SET token = NULL, request = NULL WHERE id IN (SELECT id FROM locked)

-- name: refresh
SELECT refresh($1::int8[], 0)

-- name: lane_called
SELECT id, bot, chat FROM lane WHERE id = ANY ($1::int8[])

-- name: move_lane
SELECT move_lane($1::int8, $2, 0)

-- Older copies of messages that are loaded now.
-- name: older_copies
SELECT seq, lane, bot, 0::int2 AS state, id FROM message WHERE seq = ANY ($1::int8[])
UNION ALL SELECT seq, lane, bot, state, id FROM ended WHERE seq = ANY ($1::int8[])

-- name: lock_lanes
SELECT id FROM lane WHERE id = ANY ($1::int8[]) ORDER BY id FOR UPDATE

-- name: land_messages
UPDATE lane SET token = NULL, request = NULL WHERE token IS NOT NULL AND head = ANY ($1::int8[])

-- name: forget_messages
DELETE FROM message WHERE seq = ANY ($1::int8[])

-- name: forget_ended
DELETE FROM ended WHERE seq = ANY ($1::int8[])

-- name: forget_keys
DELETE FROM key WHERE id = ANY ($1::text[]) AND bot = ANY ($2::int8[])

-- name: forget_metadata
DELETE FROM metadata WHERE seq = ANY ($1::int8[])

-- name: forget_files
DELETE FROM message_file WHERE seq = ANY ($1::int8[])

-- So many messages more wait in these lanes.
-- name: lengthen
WITH l AS (
  UPDATE lane l SET waiting = waiting + r.n FROM unnest($1::int8[], $2::int4[]) r (id, n) WHERE l.id = r.id
  RETURNING l.bot, r.n, l.waiting)
INSERT INTO delta (bot, waiting, lanes)
SELECT bot, n, CASE WHEN waiting = 0 THEN -1 WHEN waiting = n THEN 1 ELSE 0 END FROM l WHERE n <> 0

-- name: count_ended
INSERT INTO delta (bot, delivered, dead, cancelled, expired)
SELECT * FROM unnest($1::int8[], $2::int4[], $3::int4[], $4::int4[], $5::int4[])

-- name: load_flights
UPDATE lane l SET head = r.seq, prio = r.prio, token = r.token, request = NULL, next_at = 'infinity'
FROM unnest($1::int8[], $2::int8[], $3::int2[], $4::int8[]) r (id, seq, prio, token) WHERE l.id = r.id

-- The heads of lanes among what is there so far. `head_at` is what was told of the lane, if it was.
-- name: head_loaded_lanes
UPDATE lane l SET head = h.seq, prio = h.prio, head_at = h.head_at,
  next_at = CASE WHEN h.seq IS NOT NULL THEN greatest(l.chat_at, h.head_at) END
FROM (
  SELECT o.id, m.seq, m.prio, coalesce(o.head_at, r.since) AS head_at
  FROM unnest($1::int8[], $2::float8[]) r (id, since) JOIN lane o ON o.id = r.id
    LEFT JOIN LATERAL (SELECT seq, prio FROM message WHERE lane = r.id AND NOT later ORDER BY prio, pos LIMIT 1) m ON true
  WHERE o.token IS NULL) h
WHERE l.id = h.id

-- name: look_anew
UPDATE bot SET looks = looks + 1 WHERE id = ANY ($1::int8[])

-- name: tell_change
SELECT nextval('change')

-- name: load_file_ids
INSERT INTO file_id (bot, sha256, kind, file_id) SELECT * FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[])
ON CONFLICT (bot, sha256, kind) DO UPDATE SET file_id = excluded.file_id

-- name: load_days
INSERT INTO day AS d (bot, day, delivered, dead, cancelled, expired)
SELECT r.bot, r.day, r.delivered - s.delivered, r.dead - s.dead, r.cancelled - s.cancelled, r.expired - s.expired
FROM unnest($1::int8[], $2::text[], $3::int8[], $4::int8[], $5::int8[], $6::int8[])
    r (bot, day, delivered, dead, cancelled, expired)
  CROSS JOIN LATERAL (
    SELECT coalesce(sum(delivered), 0) AS delivered, coalesce(sum(dead), 0) AS dead, coalesce(sum(cancelled), 0) AS cancelled,
      coalesce(sum(expired), 0) AS expired
    FROM delta WHERE delta.bot = r.bot AND delta.day = r.day) s
ON CONFLICT (day, bot) DO UPDATE SET delivered = excluded.delivered, dead = excluded.dead, cancelled = excluded.cancelled,
  expired = excluded.expired

-- name: load_key
INSERT INTO api_key (id, name, role, digest, created_at, revoked_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, role = excluded.role, digest = excluded.digest,
  created_at = excluded.created_at, revoked_at = excluded.revoked_at

-- ------------------------------------------------------------------ the note

-- name: mark
SELECT mark FROM move

-- name: forget_mark
DELETE FROM move

-- name: set_mark
INSERT INTO move (mark) VALUES ($1)
