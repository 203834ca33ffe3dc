-- What more the local authority holds. Roles and buckets keep their tables, so
-- that a server of the release before goes on reading them.

-- JSON: what a SAML provider has beside its metadata.
ALTER TABLE iam_saml_provider ADD COLUMN more TEXT NOT NULL DEFAULT '{}';

-- Users, groups, managed policies and all else, one row each; document is JSON,
-- read and written whole. Secrets in it are sealed.
CREATE TABLE iam_entity (
    kind       TEXT   NOT NULL,
    account    TEXT   NOT NULL,          -- empty where the key is unique everywhere
    entity_key TEXT   NOT NULL,          -- the name, letter case folded where IAM does
    id         TEXT   NOT NULL,          -- unique id; empty where IAM has none
    document   TEXT   NOT NULL,
    created    BIGINT NOT NULL,
    PRIMARY KEY (kind, account, entity_key)
);
CREATE UNIQUE INDEX iam_entity_id ON iam_entity (id) WHERE id <> '';

-- Ids of what was deleted, so that none is ever given out again.
CREATE TABLE iam_entity_gone (
    id TEXT PRIMARY KEY
);

-- What each newer revision touched, so that servers read that alone. A revision
-- without a row here was made by an older release: then everything is read.
CREATE TABLE iam_change (
    revision   BIGINT NOT NULL,
    kind       TEXT   NOT NULL,
    account    TEXT   NOT NULL,
    entity_key TEXT   NOT NULL,
    PRIMARY KEY (revision, kind, account, entity_key)
);
