-- Every statement of the SQLite store. `:name` parameters; see migrations/ for the tables.

-- ------------------------------------------------------------------ submit

-- name: last_seq
SELECT last FROM sequence

-- name: set_last_seq
UPDATE sequence SET last = ?

-- Changes nothing: makes a transaction of somebody else's the one that writes, before it reads.
-- name: take_write_lock
UPDATE sequence SET last = last

-- name: message_by_key
SELECT m.id, m.digest, m.state, l.token IS NOT NULL AND l.head = m.seq, m.seq
FROM message m JOIN lane l ON l.id = m.lane WHERE m.bot = ? AND m.key = ?

-- name: message_by_id
SELECT m.state, l.token IS NOT NULL AND l.head = m.seq, m.seq
FROM message m JOIN lane l ON l.id = m.lane WHERE m.id = ?

-- name: lane_to_enter
SELECT id, waiting, prio, token, chat_at, moved_to, suppressed FROM lane WHERE bot = ? AND chat = ?

-- name: enter_new_lane
INSERT INTO lane (bot, chat, waiting, head, prio, head_at, next_at) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: lengthen_lane
UPDATE lane SET waiting = waiting + ? WHERE id = ?

-- name: head_lane
UPDATE lane SET waiting = waiting + ?, head = ?, prio = ?, head_at = ?, next_at = ? WHERE id = ?

-- name: insert_plain_message
INSERT INTO message (seq, id, lane, bot, state, prio, pos, due_at, accepted_at, method, params)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: lift_suppression
UPDATE lane SET suppressed = NULL, suppressed_at = NULL WHERE id = ?

-- name: insert_message
INSERT INTO message (seq, id, lane, bot, state, prio, pos, due_at, accepted_at, ended_at, expires_at, method, params,
  reason, key, digest, target, files, metadata, options, asked_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: insert_metadata
INSERT OR IGNORE INTO metadata (key, value, seq) VALUES (?, ?, ?)

-- name: insert_message_file
INSERT OR IGNORE INTO message_file (sha256, seq) VALUES (?, ?)

-- The waiting message that a newer one of the same target may replace.
-- name: superseded
SELECT m.seq, m.pos, m.id FROM message m JOIN lane l ON l.id = m.lane
WHERE m.lane = :lane AND m.target = :target AND m.state < 2 AND m.prio = :prio
  AND NOT (l.token IS NOT NULL AND l.head = m.seq)
ORDER BY m.pos DESC LIMIT 1

-- Another operation on the same Telegram message stands behind it: the place must not be taken over.
-- name: place_is_taken
SELECT 1 FROM message WHERE lane = :lane AND target >= :subject AND target < :subject_end AND state < 2
  AND pos > :pos LIMIT 1

-- name: supersede
UPDATE message SET state = 4, reason = 'superseded', ended_at = :now, superseded_by = :id WHERE seq = :seq

-- name: inherit_place
UPDATE lane SET head = :seq, head_at = min(head_at, :now), next_at = max(chat_at, min(head_at, :now))
WHERE id = :lane AND head = :old AND token IS NULL

-- ------------------------------------------------------------------ leases

-- name: bot
SELECT holder, token, lease_until, paused_until, paused_why FROM bot WHERE id = ?

-- name: add_bot
INSERT OR IGNORE INTO bot (id) VALUES (?)

-- name: set_lease
UPDATE bot SET holder = ?, token = ?, lease_until = ? WHERE id = ?

-- name: has_orphans
SELECT 1 FROM lane WHERE bot = ? AND prio IN (0, 1, 2, 3) AND next_at = 9e999 AND token IS NOT NULL AND token < ? LIMIT 1

-- name: recent_attempts
SELECT l.chat, a.started_at FROM attempt a JOIN message m ON m.seq = a.seq JOIN lane l ON l.id = m.lane
WHERE a.rowid > (SELECT max(rowid) - 200000 FROM attempt) AND a.started_at > :since AND m.bot = :bot
ORDER BY a.started_at, l.chat

-- name: pause_bot
UPDATE bot SET paused_until = :until, paused_why = :reason
WHERE id = :bot AND NOT (:extend AND :until <= paused_until)

-- name: pause_chat
UPDATE lane SET chat_at = :until, chat_why = iif(:until > 0, :reason, NULL), next_at = iif(token IS NOT NULL, next_at, max(head_at, :until)) WHERE id = :lane

-- name: sign_of_life
UPDATE pulse SET at = ?

-- ------------------------------------------------------------------ who sends

-- name: workers
SELECT holder, until, bots FROM worker ORDER BY holder

-- name: worker_attends
INSERT INTO worker (holder, until, bots) VALUES (?, ?, ?)
ON CONFLICT (holder) DO UPDATE SET until = excluded.until, bots = excluded.bots

-- name: worker_leaves
DELETE FROM worker WHERE holder = ?

-- name: leases
SELECT id, holder FROM bot WHERE holder IS NOT NULL AND lease_until > ? ORDER BY id

-- ------------------------------------------------------------------ claim

-- name: due_later
SELECT seq, lane, prio, pos, due_at FROM message WHERE bot = ? AND state = 1 AND due_at <= ? ORDER BY due_at, seq LIMIT 1000

-- name: promote
UPDATE message SET state = 0 WHERE seq = ?

-- name: ready_lanes
SELECT l.id, l.prio, l.next_at, l.head, l.chat, l.suppressed, m.id, m.method, CAST(m.params AS BLOB), m.accepted_at, m.files,
  m.expires_at, m.options, m.tries, m.attempts, m.doubts, m.crashes, m.asked_at, m.requeued_at
FROM lane l CROSS JOIN message m ON m.seq = l.head
WHERE l.bot = ? AND l.prio = ? AND l.next_at <= ? ORDER BY l.next_at, l.id LIMIT ?

-- name: take_lane
UPDATE lane SET token = ?, next_at = 9e999 WHERE id = ?

-- name: next_ready
SELECT next_at FROM lane WHERE bot = ? AND prio = ? AND next_at > ? ORDER BY next_at LIMIT 1

-- name: next_later
SELECT m.due_at, l.chat_at, l.token IS NOT NULL FROM message m CROSS JOIN lane l ON l.id = m.lane
WHERE m.bot = ? AND m.state = 1 ORDER BY m.due_at LIMIT 100

-- name: orphans
SELECT l.id, l.prio, l.next_at, l.head, l.chat, l.suppressed, m.id, m.method, CAST(m.params AS BLOB), m.accepted_at, m.files,
  m.expires_at, m.options, m.tries, m.attempts, m.doubts, m.crashes, m.asked_at, m.requeued_at
FROM lane l CROSS JOIN message m ON m.seq = l.head
WHERE l.bot = :bot AND l.prio IN (0, 1, 2, 3) AND l.next_at = 9e999 AND l.token IS NOT NULL AND l.token < :token
  AND (m.crashes > 0) = :suspects ORDER BY l.id LIMIT :limit

-- Who was alone in flight under the newest older token.
-- name: lone_orphan
SELECT max(m.id), count(*) FROM lane l JOIN message m ON m.seq = l.head
WHERE l.bot = :bot AND l.prio IN (0, 1, 2, 3) AND l.next_at = 9e999 AND l.token < :token
GROUP BY l.token ORDER BY l.token DESC LIMIT 1

-- name: file_ids
SELECT sha256, kind, file_id FROM file_id WHERE bot = ? AND sha256 = ?

-- ------------------------------------------------------------------ settle

-- name: in_flight
SELECT 1 FROM lane WHERE id = :lane AND token = :token AND head = :seq

-- name: settle_message
UPDATE message SET state = :state, reason = :reason, due_at = :due_at, ended_at = :ended_at, tries = :tries,
  attempts = :attempts, doubts = :doubts, crashes = :crashes
WHERE seq = :seq AND EXISTS (SELECT 1 FROM lane WHERE id = :lane AND token = :token AND head = :seq)

-- A newer waiting message of the same target: the older one need not come back.
-- name: newer_of_target
SELECT n.id FROM message m JOIN message n ON n.lane = m.lane AND n.target = m.target AND n.state < 2 AND n.seq > m.seq
WHERE m.seq = ? AND m.target IS NOT NULL ORDER BY n.seq DESC LIMIT 1

-- name: mark_superseded
UPDATE message SET superseded_by = ? WHERE seq = ?

-- The lane of a claim that still holds, and who is next in it.
-- name: held
SELECT l.waiting, l.chat_at, n.seq, n.prio, n.due_at
FROM lane l LEFT JOIN message n ON n.seq = (
  SELECT seq FROM message WHERE lane = l.id AND state = 0 AND seq <> l.head ORDER BY prio, pos LIMIT 1)
WHERE l.id = ? AND l.token = ? AND l.head = ?

-- name: deliver_message
UPDATE message SET state = 2, due_at = ?, ended_at = ?, reason = ?, tries = ?, attempts = ?, doubts = ?, crashes = ? WHERE seq = ?

-- name: next_in_lane
UPDATE lane SET token = NULL, chat_why = iif(? > chat_at, NULL, chat_why), chat_at = ?, waiting = ?, head = ?, prio = ?, head_at = ?, next_at = ? WHERE id = ?

-- name: insert_attempt
INSERT INTO attempt (seq, number, started_at, duration, outcome, status, error, result) VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- name: free_lane
UPDATE lane SET token = NULL, chat_why = iif(:chat_at > chat_at, NULL, chat_why), chat_at = max(chat_at, :chat_at),
  waiting = waiting - :ended,
  (head, prio, head_at, next_at) = (
    SELECT seq, prio, max(due_at, :now), max(due_at, :now, :chat_at, lane.chat_at) FROM message
    WHERE lane = :lane AND state = 0 ORDER BY prio, pos LIMIT 1)
WHERE id = :lane RETURNING waiting

-- No message refers to the file any more: nor to what Telegram called it.
-- name: forget_file_ids
DELETE FROM file_id WHERE bot IN (SELECT id FROM bot) AND sha256 = ?

-- name: learn_file_id
INSERT INTO file_id (bot, sha256, kind, file_id) VALUES (?, ?, ?, ?)
ON CONFLICT (bot, sha256, kind) DO UPDATE SET file_id = excluded.file_id

-- name: set_suppressed
UPDATE lane SET suppressed = ?, suppressed_at = ? WHERE id = ?

-- name: lift_old_suppressions
UPDATE lane SET suppressed = NULL, suppressed_at = NULL
WHERE suppressed IS NOT NULL AND bot IN (SELECT bot FROM tally UNION SELECT id FROM bot) AND suppressed_at < ?

-- name: kill_waiting
UPDATE message SET state = 3, reason = :reason, ended_at = :now
WHERE lane = :lane AND state < 2 AND seq IS NOT (SELECT head FROM lane WHERE id = :lane AND token IS NOT NULL)

-- name: rename_lane
UPDATE lane SET chat = ? WHERE id = ?

-- name: add_alias
INSERT INTO lane (bot, chat, moved_to) VALUES (?, ?, ?)

-- name: move_messages
UPDATE message SET lane = ? WHERE lane = ?

-- name: make_alias
UPDATE lane SET waiting = 0, head = NULL, prio = NULL, head_at = NULL, next_at = NULL, token = NULL, moved_to = ? WHERE id = ?

-- name: redirect_aliases
UPDATE lane SET moved_to = :new WHERE bot = :bot AND moved_to = :old

-- name: absorb_lane
UPDATE lane SET waiting = waiting + :waiting, chat_why = iif(:chat_at > chat_at, :chat_why, chat_why),
  chat_at = max(chat_at, :chat_at) WHERE id = :lane

-- ------------------------------------------------------------------ alter, steer, suppress

-- name: lane_by_chat
SELECT id, waiting, chat_at, token, moved_to, suppressed, chat_why FROM lane WHERE bot = ? AND chat = ?

-- name: add_lane
INSERT INTO lane (bot, chat) VALUES (?, ?) RETURNING id

-- The head is looked for again; it keeps its turn if it is still the same.
-- name: refresh_lane
UPDATE lane SET (head, prio, head_at, next_at) = (
    SELECT m.seq, m.prio,
      iif(m.seq = lane.head, lane.head_at, max(m.due_at, :since)),
      max(lane.chat_at, iif(m.seq = lane.head, lane.head_at, max(m.due_at, :since)))
    FROM message m WHERE m.lane = :lane AND m.state = 0 ORDER BY m.prio, m.pos LIMIT 1)
WHERE id = :lane AND token IS NULL

-- name: add_waiting
UPDATE lane SET waiting = waiting + :n WHERE id = :lane RETURNING waiting

-- name: end_message
UPDATE message SET state = ?, reason = ?, ended_at = ? WHERE seq = ?

-- name: requeue_message
UPDATE message SET state = 0, reason = NULL, ended_at = NULL, expires_at = NULL, due_at = 0, tries = 0, doubts = 0, crashes = 0,
  superseded_by = NULL, requeued_at = :now, pos = :pos, lane = :lane WHERE seq = :seq

-- name: purge_message
DELETE FROM message WHERE seq = ?

-- name: purge_attempts
DELETE FROM attempt WHERE seq = ?

-- name: purge_metadata
DELETE FROM metadata WHERE key = ? AND value = ? AND seq = ?

-- name: purge_message_file
DELETE FROM message_file WHERE sha256 = ? AND seq = ?

-- name: file_is_used
SELECT 1 FROM message_file WHERE sha256 = ? LIMIT 1

-- name: prunable
SELECT seq, lane, bot, state, files, metadata FROM message WHERE ended_at < ? AND (key IS NULL OR ended_at < ?) ORDER BY ended_at, seq LIMIT ?

-- name: prune_lane
DELETE FROM lane WHERE id = :lane AND chat_at < :idle AND suppressed IS NULL
  AND NOT EXISTS (SELECT 1 FROM message WHERE lane = :lane)

-- ------------------------------------------------------------------ reading

-- name: records
SELECT m.seq, m.id, m.bot, l.chat, m.method, CAST(m.params AS BLOB), m.state, l.token IS NOT NULL AND l.head = m.seq, m.prio,
  m.accepted_at, m.due_at, m.ended_at, m.expires_at, m.reason, m.key, m.metadata, m.files, m.options, m.tries, m.doubts,
  m.crashes, m.superseded_by,
  (SELECT CAST(a.result AS BLOB) FROM attempt a WHERE a.seq = m.seq AND a.result IS NOT NULL ORDER BY a.number DESC LIMIT 1)
FROM message m JOIN lane l ON l.id = m.lane

-- name: attempts
SELECT number, started_at, duration, outcome, status, error FROM attempt WHERE seq = ? ORDER BY rowid

-- The lanes a chat's name stands for, one a bot at most; the bots are stepped through, not the lanes.
-- name: lanes_by_chat
WITH RECURSIVE owner (bot) AS (
  SELECT coalesce(:bot, (SELECT min(bot) FROM lane))
  UNION ALL SELECT (SELECT min(bot) FROM lane WHERE bot > owner.bot) FROM owner WHERE :bot IS NULL AND owner.bot IS NOT NULL)
SELECT id, bot, moved_to FROM lane WHERE bot IN (SELECT bot FROM owner) AND chat = :chat

-- name: lanes
SELECT l.id, l.bot, l.chat, l.waiting, l.token IS NOT NULL,
  CASE WHEN l.token IS NOT NULL THEN NULL WHEN l.head IS NOT NULL THEN l.next_at WHEN l.waiting > 0 THEN
    (SELECT max(min(due_at), l.chat_at) FROM message WHERE lane = l.id AND state = 1) END,
  l.chat_at, (SELECT id FROM message WHERE seq = l.head), l.suppressed, l.suppressed_at, l.moved_to, l.chat_why
FROM lane l

-- A lane in which something waits has a head, or all of it is for later.
-- name: lanes_that_wait
SELECT id FROM lane INDEXED BY lane_ready WHERE prio IS NOT NULL AND (:bot IS NULL OR bot = :bot)
UNION ALL SELECT lane FROM message INDEXED BY message_later WHERE state = 1 AND (:bot IS NULL OR bot = :bot)

-- How many messages wait.
-- name: all_waiting
SELECT coalesce(sum(waiting), 0) FROM tally WHERE :bot IS NULL OR bot = :bot

-- name: bots
SELECT b.id, b.holder, b.lease_until, b.paused_until, b.paused_why, t.waiting, t.sending, t.delivered, t.dead, t.cancelled,
  t.expired, t.lanes, t.fenced
FROM bot b LEFT JOIN tally t ON t.bot = b.id WHERE :bot IS NULL OR b.id = :bot
UNION ALL
SELECT bot, NULL, NULL, 0, NULL, waiting, sending, delivered, dead, cancelled, expired, lanes, fenced
FROM tally WHERE bot NOT IN (SELECT id FROM bot) AND (:bot IS NULL OR bot = :bot)
ORDER BY 1

-- name: oldest_ready
SELECT min(next_at) FROM lane WHERE bot = ? AND prio = ?

-- name: days
SELECT bot, day, delivered, dead, cancelled, expired FROM day
WHERE (:bot IS NULL OR bot = :bot) AND day IN (SELECT DISTINCT day FROM day ORDER BY day DESC LIMIT :days) ORDER BY day, bot

-- ------------------------------------------------------------------ API keys

-- name: api_key_exists
SELECT 1 FROM api_key WHERE id = ? OR digest = ?

-- name: add_api_key
INSERT INTO api_key (id, name, role, digest, created_at, revoked_at) VALUES (?, ?, ?, ?, ?, ?)

-- name: api_keys
SELECT id, name, role, digest, created_at, revoked_at FROM api_key ORDER BY created_at, rowid

-- name: revoke_api_key
UPDATE api_key SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL

-- ------------------------------------------------------------------ counters

-- name: add_tally
INSERT INTO tally (bot, waiting, sending, delivered, dead, cancelled, expired, lanes, fenced)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (bot) DO UPDATE SET waiting = waiting + excluded.waiting, sending = sending + excluded.sending,
  delivered = delivered + excluded.delivered, dead = dead + excluded.dead, cancelled = cancelled + excluded.cancelled,
  expired = expired + excluded.expired, lanes = lanes + excluded.lanes, fenced = fenced + excluded.fenced

-- name: add_day
INSERT INTO day (bot, day, delivered, dead, cancelled, expired) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (bot, day) DO UPDATE SET delivered = delivered + excluded.delivered, dead = dead + excluded.dead,
  cancelled = cancelled + excluded.cancelled, expired = expired + excluded.expired
