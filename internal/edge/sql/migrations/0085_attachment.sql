-- What a process of a node asks, until its person decides.
CREATE TABLE attachment_request (
    request       BLOB   PRIMARY KEY,     -- digest of what the node asks with
    user_code     TEXT   NOT NULL UNIQUE,
    node          TEXT   NOT NULL,
    uid           BIGINT NOT NULL,
    scope         TEXT   NOT NULL,
    scope_id      BIGINT NOT NULL,        -- 64 bits, as they stand
    account       TEXT   NOT NULL,
    asked         BIGINT NOT NULL,
    expires       BIGINT NOT NULL,
    state         TEXT   NOT NULL,        -- pending, attached, refused
    attachment    TEXT   NOT NULL         -- what came of it; empty: nothing yet
);
CREATE INDEX attachment_request_node ON attachment_request (node, uid);
CREATE INDEX attachment_request_expires ON attachment_request (expires);

-- People bound to processes of nodes. Exactly one of login_session and delegation
-- is set.
CREATE TABLE attachment (
    id                TEXT   PRIMARY KEY,
    cluster           TEXT   NOT NULL,
    node              TEXT   NOT NULL,
    uid               BIGINT NOT NULL,
    scope             TEXT   NOT NULL,
    scope_id          BIGINT NOT NULL,
    account           TEXT   NOT NULL,
    person            TEXT   NOT NULL,
    idp               TEXT   NOT NULL,
    name              TEXT   NOT NULL,
    login_session     TEXT   NOT NULL,
    delegation        TEXT   NOT NULL,
    how               TEXT   NOT NULL,
    orchestrator      TEXT   NOT NULL,
    role              TEXT   NOT NULL,    -- current; empty: none
    made              BIGINT NOT NULL,
    expires           BIGINT NOT NULL,
    ended             BIGINT NOT NULL,    -- 0 while it lives
    why               TEXT   NOT NULL,
    epoch             BIGINT NOT NULL
);
CREATE INDEX attachment_live ON attachment (ended, expires);
CREATE INDEX attachment_place ON attachment (node, uid);
CREATE INDEX attachment_person ON attachment (person);

-- Whose a uid of a node is while anything is attached under it: one person's.
CREATE TABLE attachment_uid (
    node   TEXT   NOT NULL,
    uid    BIGINT NOT NULL,
    person TEXT   NOT NULL,
    PRIMARY KEY (node, uid)
);
