-- Every statement of the journal; see migrations/ for the tables.

-- name: by_key
SELECT id, digest FROM entry WHERE bot = ? AND key = ?

-- One that is here already is the same submit once more.
-- name: insert
INSERT INTO entry (id, bot, chat, method, params, accepted_at, prio, due_at, expires_at, key, digest, target, coalesce_,
  force_, files, metadata, options)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING

-- name: entries
SELECT pos, fate, stuck, id, bot, chat, method, params, accepted_at, prio, due_at, expires_at, key, digest, target,
  coalesce_, force_, files, metadata, options
FROM entry

-- name: holds
SELECT EXISTS (SELECT 1 FROM entry WHERE stuck IS NULL), EXISTS (SELECT 1 FROM entry)

-- name: remove
DELETE FROM entry WHERE pos = ?

-- name: set_fate
UPDATE entry SET fate = ? WHERE pos = ?

-- name: set_stuck
UPDATE entry SET stuck = ? WHERE pos = ?

-- name: unstick
UPDATE entry SET stuck = NULL WHERE stuck IS NOT NULL

-- name: files
SELECT sha256 FROM file

-- name: file_bytes
SELECT coalesce(sum(size), 0) FROM file

-- name: has_file
SELECT 1 FROM file WHERE sha256 = ?

-- name: count
SELECT count(*) FROM entry

-- name: count_stuck
SELECT count(*) FROM entry WHERE stuck IS NOT NULL

-- name: oldest
SELECT accepted_at FROM entry ORDER BY pos LIMIT 1

-- name: sign_of_life
UPDATE pulse SET at = ?
