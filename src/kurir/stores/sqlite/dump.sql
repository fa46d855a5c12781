-- All that is stored, out and in. A statement that reads a section takes the last key that was read, and a limit.

-- ------------------------------------------------------------------ out

-- name: dump_bots
SELECT i.id, coalesce(b.token, 0), coalesce(b.paused_until, 0.0), b.paused_why, coalesce(t.fenced, 0)
FROM (SELECT id FROM bot UNION SELECT bot FROM tally) i LEFT JOIN bot b ON b.id = i.id LEFT JOIN tally t ON t.bot = i.id
WHERE i.id > ? AND (b.token > 0 OR b.paused_until > 0 OR t.fenced > 0) ORDER BY i.id LIMIT ?

-- name: dump_lanes
SELECT id, bot, chat, chat_at, chat_why, iif(token IS NULL AND head IS NOT NULL, head_at, NULL), suppressed,
  iif(suppressed IS NULL, NULL, suppressed_at)
FROM lane WHERE id > ? AND moved_to IS NULL ORDER BY id LIMIT ?

-- What the chat is called today: a name that moved may have moved again.
-- name: dump_aliases
SELECT a.id, a.bot, a.chat, (
  WITH RECURSIVE name (chat) AS (
    SELECT a.moved_to UNION SELECT l.moved_to FROM name JOIN lane l ON l.bot = a.bot AND l.chat = name.chat
    WHERE l.moved_to IS NOT NULL)
  SELECT chat FROM name
  WHERE NOT EXISTS (SELECT 1 FROM lane WHERE bot = a.bot AND chat = name.chat AND moved_to IS NOT NULL))
FROM lane a WHERE a.id > ? AND a.moved_to IS NOT NULL ORDER BY a.id LIMIT ?

-- name: dump_messages
SELECT m.seq, m.id, m.bot, l.chat, m.method, CAST(m.params AS BLOB), m.state, m.prio, m.pos, m.accepted_at,
  iif(l.head = m.seq, l.token, NULL), m.due_at, m.ended_at, m.expires_at, m.asked_at, m.requeued_at, m.reason, m.key,
  m.digest, m.target, m.files, m.metadata, m.options, m.tries, m.doubts, m.crashes, m.superseded_by
FROM message m JOIN lane l ON l.id = m.lane WHERE m.seq > ? ORDER BY m.seq LIMIT ?

-- name: dump_attempts
SELECT seq, number, started_at, duration, outcome, status, error, CAST(result AS BLOB) FROM attempt
WHERE seq BETWEEN ? AND ? ORDER BY seq, rowid

-- name: dump_file_ids
SELECT bot, sha256, kind, file_id FROM file_id WHERE (bot, sha256, kind) > (?, ?, ?) ORDER BY bot, sha256, kind LIMIT ?

-- name: dump_days
SELECT bot, day, delivered, dead, cancelled, expired FROM day WHERE (bot, day) > (?, ?) ORDER BY bot, day LIMIT ?

-- name: dump_keys
SELECT rowid, id, name, role, digest, created_at, revoked_at FROM api_key WHERE rowid > ? ORDER BY rowid LIMIT ?

-- ------------------------------------------------------------------ in

-- name: load_bot
INSERT INTO bot (id, token, paused_until, paused_why) VALUES (?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET token = max(token, excluded.token), paused_until = excluded.paused_until,
  paused_why = excluded.paused_why

-- name: load_fenced
INSERT INTO tally (bot, fenced) VALUES (?, ?) ON CONFLICT (bot) DO UPDATE SET fenced = excluded.fenced

-- name: load_lane
INSERT INTO lane (bot, chat, chat_at, chat_why, head_at, suppressed, suppressed_at) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (bot, chat) DO UPDATE SET chat_at = excluded.chat_at, chat_why = excluded.chat_why, head_at = excluded.head_at,
  suppressed = excluded.suppressed, suppressed_at = excluded.suppressed_at,
  next_at = iif(token IS NULL AND head IS NOT NULL, max(excluded.chat_at, coalesce(excluded.head_at, head_at, 0)), next_at)

-- name: load_alias
INSERT INTO lane (bot, chat, moved_to) VALUES (?, ?, ?) ON CONFLICT (bot, chat) DO UPDATE SET moved_to = excluded.moved_to

-- name: land
UPDATE lane SET token = NULL WHERE id = ? AND token IS NOT NULL

-- Older copies of messages that are loaded now; `:seqs` is a JSON list.
-- name: older_copies
SELECT m.seq, m.bot, m.lane, m.state, m.files, m.metadata, l.token IS NOT NULL AND l.head = m.seq
FROM message m JOIN lane l ON l.id = m.lane WHERE m.seq IN (SELECT value FROM json_each(:seqs))

-- name: load_message
INSERT INTO message (seq, id, bot, lane, method, params, state, prio, pos, accepted_at, due_at, ended_at, expires_at, asked_at,
  requeued_at, reason, key, digest, target, files, metadata, options, tries, attempts, doubts, crashes, superseded_by)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: load_flight
UPDATE lane SET head = ?, prio = ?, token = ?, next_at = 9e999 WHERE id = ?

-- The lane's head among what is there so far. `head_at` is what was told of the lane, if it was.
-- name: head_loaded_lane
UPDATE lane SET (head, prio, next_at) = (
    SELECT m.seq, m.prio, max(lane.chat_at, coalesce(lane.head_at, :since)) FROM message m
    WHERE m.lane = :lane AND m.state = 0 ORDER BY m.prio, m.pos LIMIT 1), head_at = coalesce(head_at, :since)
WHERE id = :lane AND token IS NULL

-- name: load_file_id
INSERT INTO file_id (bot, sha256, kind, file_id) VALUES (?, ?, ?, ?)
ON CONFLICT (bot, sha256, kind) DO UPDATE SET file_id = excluded.file_id

-- name: load_day
INSERT INTO day (bot, day, delivered, dead, cancelled, expired) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (bot, day) DO UPDATE SET delivered = excluded.delivered, dead = excluded.dead, cancelled = excluded.cancelled,
  expired = excluded.expired

-- name: load_key
INSERT INTO api_key (id, name, role, digest, created_at, revoked_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, role = excluded.role, digest = excluded.digest,
  created_at = excluded.created_at, revoked_at = excluded.revoked_at

-- ------------------------------------------------------------------ the note

-- name: mark
SELECT mark FROM move

-- name: forget_mark
DELETE FROM move

-- name: set_mark
INSERT INTO move (mark) VALUES (?)
