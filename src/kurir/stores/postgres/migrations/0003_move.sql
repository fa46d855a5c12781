-- Who fills this store with what another one holds, and how far; empty but for that time.
CREATE TABLE move (mark text NOT NULL);
