-- Files of messages, in pieces. One that is not `ready` is being written, or was abandoned.
CREATE TABLE file (
  id      bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  sha256  text    COLLATE "C" NOT NULL,
  used_at float8  NOT NULL,                         -- when a message was handed over with it last, or its writing began
  ready   boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX file_ready ON file (sha256) WHERE ready;
CREATE INDEX file_abandoned ON file (used_at) WHERE NOT ready;

CREATE TABLE piece (
  file   bigint  NOT NULL REFERENCES file ON DELETE CASCADE,
  number integer NOT NULL,                          -- from 0
  bytes  bytea   NOT NULL,
  PRIMARY KEY (file, number)
);
ALTER TABLE piece ALTER COLUMN bytes SET STORAGE EXTERNAL;  -- files are compressed already
