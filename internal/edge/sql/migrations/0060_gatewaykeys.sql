-- Keys without a session token, good at the gateway alone. Exactly one of
-- login_session, delegation and service_principal alone says whose they are.
CREATE TABLE gateway_key (
    id                TEXT   PRIMARY KEY,
    access_key_id     TEXT   NOT NULL UNIQUE,
    sealed            BLOB   NOT NULL,      -- the secret
    login_session     TEXT   NOT NULL,
    delegation        TEXT   NOT NULL,
    service_principal TEXT   NOT NULL,
    person            TEXT   NOT NULL,
    idp               TEXT   NOT NULL,
    name              TEXT   NOT NULL,
    cluster           TEXT   NOT NULL,      -- empty: none
    networks          TEXT   NOT NULL,      -- JSON list
    certificates      TEXT   NOT NULL,      -- JSON list of SHA-256, hex
    roles             TEXT   NOT NULL,      -- JSON list of ARNs
    default_role      TEXT   NOT NULL,      -- empty: none
    delivered         BIGINT NOT NULL,      -- 1: made for a person who asked
    follows           TEXT   NOT NULL,      -- the key that it was rolled from
    made              BIGINT NOT NULL,
    expires           BIGINT NOT NULL,
    revoked           BIGINT NOT NULL,      -- 0 while it stands
    used              BIGINT NOT NULL,      -- 0 before the first use
    epoch             BIGINT NOT NULL
);
CREATE INDEX gateway_key_expires ON gateway_key (expires);
CREATE INDEX gateway_key_owner ON gateway_key (login_session, delegation, service_principal);
-- One key is rolled once.
CREATE UNIQUE INDEX gateway_key_follows ON gateway_key (follows) WHERE follows <> '';

-- Where engines call from.
CREATE TABLE gateway_cluster (
    name_fold    TEXT   PRIMARY KEY,
    name         TEXT   NOT NULL,
    networks     TEXT   NOT NULL,
    certificates TEXT   NOT NULL,
    made         BIGINT NOT NULL
);

-- Which role serves a part of a bucket, among those that a person holds.
CREATE TABLE prefix_grant (
    id     TEXT   PRIMARY KEY,
    bucket TEXT   NOT NULL,
    prefix TEXT   NOT NULL,
    role   TEXT   NOT NULL,
    made   BIGINT NOT NULL,
    UNIQUE (bucket, prefix, role)
);
