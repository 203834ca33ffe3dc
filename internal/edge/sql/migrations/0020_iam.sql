-- The local authority. Policies, tags and pins are JSON: read and written whole.
CREATE TABLE iam_revision (
    only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
    revision BIGINT NOT NULL
);
INSERT INTO iam_revision (only_row, revision) VALUES (1, 0);

CREATE TABLE iam_saml_provider (
    account   TEXT   NOT NULL,
    name_fold TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    metadata  TEXT   NOT NULL,
    created   BIGINT NOT NULL,
    PRIMARY KEY (account, name_fold)
);

-- A role's id outlives nothing: a role made again under its name is another row.
CREATE TABLE iam_role (
    id          TEXT   PRIMARY KEY,
    account     TEXT   NOT NULL,
    name_fold   TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    path        TEXT   NOT NULL,
    description TEXT   NOT NULL,
    trust       TEXT   NOT NULL,
    policies    TEXT   NOT NULL,
    boundary    TEXT   NOT NULL,
    tags        TEXT   NOT NULL,
    max_session BIGINT NOT NULL,
    created     BIGINT NOT NULL,
    UNIQUE (account, name_fold)
);

-- Ids of deleted roles, so that none is ever given out again.
CREATE TABLE iam_role_gone (
    id TEXT PRIMARY KEY
);

CREATE TABLE iam_bucket (
    name    TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    policy  TEXT NOT NULL
);
