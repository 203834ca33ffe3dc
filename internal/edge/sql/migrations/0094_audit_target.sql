-- Places outside the database that take the audit trail, which server feeds
-- each of them until when, and how far each has come in each chain.
CREATE TABLE audit_target (
  name     TEXT PRIMARY KEY,
  holder   TEXT NOT NULL,   -- the server that feeds it
  until    BIGINT NOT NULL, -- unless another may, ms UTC
  taken    BIGINT NOT NULL, -- when it last took records; 0: never
  trouble  TEXT NOT NULL,   -- why it takes none; empty: nothing is wrong
  troubled BIGINT NOT NULL  -- since when
);
CREATE TABLE audit_target_place (
  target TEXT NOT NULL,
  writer TEXT NOT NULL,
  seq    BIGINT NOT NULL, -- the last record that it took
  PRIMARY KEY (target, writer)
);
