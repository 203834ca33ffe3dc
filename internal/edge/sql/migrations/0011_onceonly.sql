-- Ids that were used. Only a digest is kept, so a row has a fixed size.
CREATE TABLE used_once (
    kind   TEXT   NOT NULL,
    digest BLOB   NOT NULL,
    until  BIGINT NOT NULL,
    PRIMARY KEY (kind, digest)
);
CREATE INDEX used_once_until ON used_once (until);
