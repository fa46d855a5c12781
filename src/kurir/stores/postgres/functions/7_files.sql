-- Files are written piece by piece, each piece in a transaction of its own, and are there when the last step says so.

-- Begins to write a file; null if it is there already: then it is marked as used.
CREATE FUNCTION begin_file(its_sha256 text, now float8) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  begun bigint;
BEGIN
  PERFORM durable();
  UPDATE file SET used_at = greatest(used_at, now) WHERE sha256 = its_sha256 AND ready;
  IF NOT FOUND THEN
    INSERT INTO file (sha256, used_at) VALUES (its_sha256, now) RETURNING id INTO begun;
  END IF;
  RETURN begun;
END $$ SET search_path FROM CURRENT;

-- False when the file was swept meanwhile. It need not be on disk before the last step is: the log is flushed in order.
CREATE FUNCTION write_piece(its_file bigint, its_number integer, its_bytes bytea) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  INSERT INTO piece (file, number, bytes)
  SELECT f.id, its_number, its_bytes FROM file f WHERE f.id = its_file AND NOT f.ready FOR KEY SHARE
  ON CONFLICT DO NOTHING;
  RETURN EXISTS (SELECT FROM piece WHERE file = its_file AND number = its_number);
END $$ SET search_path FROM CURRENT;

-- From now on the file is there. False when it was swept meanwhile.
CREATE FUNCTION finish_file(its_file bigint, now float8) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  PERFORM durable();
  UPDATE file SET ready = true, used_at = greatest(used_at, now) WHERE id = its_file;
  RETURN FOUND;
EXCEPTION WHEN unique_violation THEN  -- somebody else's writing of the same file came first
  UPDATE file f SET used_at = greatest(f.used_at, now) FROM file own
  WHERE own.id = its_file AND f.sha256 = own.sha256 AND f.ready;
  DELETE FROM file WHERE id = its_file;
  RETURN FOUND;
END $$ SET search_path FROM CURRENT;

-- Removes files last used before a time, and what was begun before `abandoned` and never finished; answers how many went
-- of the former.
CREATE FUNCTION drop_files(sha256s text[], before float8, abandoned float8) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  gone integer;
BEGIN
  DELETE FROM file WHERE NOT ready AND used_at < abandoned;
  DELETE FROM file WHERE ready AND sha256 = ANY (sha256s) AND used_at < before;
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END $$ SET search_path FROM CURRENT;
