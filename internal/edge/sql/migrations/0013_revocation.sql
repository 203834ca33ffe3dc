-- What no longer holds: a token of (kind, id) with an epoch up to this one.
CREATE TABLE revocation (
    kind  TEXT   NOT NULL,
    id    TEXT   NOT NULL,
    epoch BIGINT NOT NULL,
    at    BIGINT NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE INDEX revocation_epoch ON revocation (epoch);

-- One row: the last epoch. Its lock makes epochs commit in their order.
CREATE TABLE revocation_head (
    one   BIGINT PRIMARY KEY CHECK (one = 1),
    epoch BIGINT NOT NULL
);
INSERT INTO revocation_head (one, epoch) VALUES (1, 0);

-- Which server has applied what.
CREATE TABLE revocation_server (
    server TEXT   PRIMARY KEY,
    epoch  BIGINT NOT NULL,
    seen   BIGINT NOT NULL
);
