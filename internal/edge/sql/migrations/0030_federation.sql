-- Identity providers. Lists are JSON arrays: they are read and written whole.
CREATE TABLE identity_provider (
    id                   TEXT    PRIMARY KEY,
    name                 TEXT    NOT NULL,
    name_fold            TEXT    NOT NULL UNIQUE,
    entity_id            TEXT    NOT NULL UNIQUE,
    metadata             BLOB    NOT NULL,
    enabled              BOOLEAN NOT NULL,
    accounts             TEXT    NOT NULL,
    role_patterns        TEXT    NOT NULL,
    user_name_domains    TEXT    NOT NULL,
    administrator_groups TEXT    NOT NULL,
    groups_attribute     TEXT    NOT NULL,
    allow_auto_create    BOOLEAN NOT NULL,
    created              BIGINT  NOT NULL
);
