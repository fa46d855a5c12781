-- Which processes send, so that they can share the bots.

CREATE TABLE worker (
  holder TEXT PRIMARY KEY,                   -- as in its leases
  until  REAL NOT NULL,                      -- taken for alive until then
  bots   TEXT NOT NULL                       -- a JSON list of those it could send for
) STRICT, WITHOUT ROWID;
