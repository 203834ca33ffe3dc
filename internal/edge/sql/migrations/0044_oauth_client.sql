-- Programs that may ask for tokens, and what they and service principals prove
-- themselves with. A secret is there as a digest only.
CREATE TABLE oauth_client (
    id        TEXT    PRIMARY KEY,
    name      TEXT    NOT NULL,
    name_fold TEXT    NOT NULL UNIQUE,
    enabled   BOOLEAN NOT NULL,
    document  TEXT    NOT NULL,          -- JSON: all else
    created   BIGINT  NOT NULL
);

-- client is the id of a client or of a service principal; its prefix says which.
CREATE TABLE oauth_credential (
    id        TEXT   PRIMARY KEY,
    client    TEXT   NOT NULL,
    kind      TEXT   NOT NULL,           -- secret or key
    digest    BLOB   UNIQUE,             -- of a secret
    jwk       TEXT   NOT NULL,           -- JSON, of a key; else empty
    owner     TEXT   NOT NULL,
    created   BIGINT NOT NULL,
    expires   BIGINT NOT NULL,           -- 0: never
    last_used BIGINT NOT NULL            -- 0: not yet
);
CREATE INDEX oauth_credential_client ON oauth_credential (client, created);
