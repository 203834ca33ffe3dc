-- Why minting stopped, if it did: at most one row.
CREATE TABLE issuer_stop (
    id     BIGINT PRIMARY KEY,   -- 1
    at     BIGINT NOT NULL,
    reason TEXT   NOT NULL,
    key_id TEXT   NOT NULL
);
