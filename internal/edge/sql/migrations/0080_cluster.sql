-- Machines that people share.
CREATE TABLE cluster (
    id           TEXT   PRIMARY KEY,
    name         TEXT   NOT NULL,
    name_fold    TEXT   NOT NULL UNIQUE,
    kind         TEXT   NOT NULL,
    assigned     TEXT   NOT NULL,      -- the one person of a standard cluster; empty: nobody
    networks     TEXT   NOT NULL,      -- JSON list: where its engines call the gateway from
    certificates TEXT   NOT NULL,      -- JSON list of SHA-256, hex
    settings     TEXT   NOT NULL,      -- JSON
    revision     BIGINT NOT NULL,
    made         BIGINT NOT NULL
);

-- One machine that joined.
CREATE TABLE node (
    id           TEXT   PRIMARY KEY,
    cluster      TEXT   NOT NULL REFERENCES cluster (id) ON DELETE CASCADE,
    name         TEXT   NOT NULL,
    name_fold    TEXT   NOT NULL,
    public_key   BLOB   NOT NULL,      -- SPKI
    old_key      BLOB   NOT NULL,      -- the one before; empty: none
    old_key_ends BIGINT NOT NULL,      -- until when it counts
    joined       BIGINT NOT NULL,
    epoch        BIGINT NOT NULL,
    UNIQUE (cluster, name_fold)
);

-- How a node was seen last. Rows change often, and nobody is told.
CREATE TABLE node_health (
    node   TEXT   PRIMARY KEY REFERENCES node (id) ON DELETE CASCADE,
    report TEXT   NOT NULL,            -- JSON
    seen   BIGINT NOT NULL
);

-- What lets a machine join, by its digest. That it was used is a used_once.
CREATE TABLE join_token (
    digest  BLOB   PRIMARY KEY,
    cluster TEXT   NOT NULL REFERENCES cluster (id) ON DELETE CASCADE,
    made_by TEXT   NOT NULL,           -- a person; empty: on the host
    made    BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX join_token_cluster ON join_token (cluster, expires);
CREATE INDEX join_token_expires ON join_token (expires);
