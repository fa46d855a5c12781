-- The files that entries refer to, each once: their bytes count as the journal's.

CREATE TABLE file (
  sha256 TEXT    NOT NULL PRIMARY KEY,
  size   INTEGER NOT NULL,  -- bytes
  uses   INTEGER NOT NULL   -- references from entries
) STRICT, WITHOUT ROWID;

CREATE TRIGGER entry_came AFTER INSERT ON entry WHEN NEW.files IS NOT NULL BEGIN
  INSERT INTO file (sha256, size, uses)
  SELECT json_extract(value, '$[1]'), json_extract(value, '$[2]'), 1 FROM json_each(NEW.files) WHERE TRUE
  ON CONFLICT (sha256) DO UPDATE SET uses = uses + 1;
END;

CREATE TRIGGER entry_went AFTER DELETE ON entry WHEN OLD.files IS NOT NULL BEGIN
  UPDATE file SET uses = uses - (SELECT count(*) FROM json_each(OLD.files) WHERE json_extract(value, '$[1]') = sha256)
  WHERE sha256 IN (SELECT json_extract(value, '$[1]') FROM json_each(OLD.files));
  DELETE FROM file WHERE uses = 0;
END;

INSERT INTO file (sha256, size, uses)
SELECT json_extract(f.value, '$[1]'), max(json_extract(f.value, '$[2]')), count(*)
FROM entry JOIN json_each(entry.files) f
WHERE entry.files IS NOT NULL
GROUP BY 1;

CREATE INDEX file_unused ON file (uses) WHERE uses = 0;
DROP INDEX entry_files;
