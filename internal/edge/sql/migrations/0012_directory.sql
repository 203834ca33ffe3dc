-- Who exists and what they hold. Ids are random and never reused, so a row
-- that comes back under an old name is another row.
CREATE TABLE person (
    id             TEXT    PRIMARY KEY,
    idp            TEXT    NOT NULL,          -- the identity provider that brought them
    user_name      TEXT    NOT NULL,          -- as given
    user_name_fold TEXT    NOT NULL,          -- unique within the identity provider
    display_name   TEXT    NOT NULL,
    mail           TEXT    NOT NULL,          -- shown, never compared
    external_id    TEXT    NOT NULL,
    active         BOOLEAN NOT NULL,
    administrator  BOOLEAN NOT NULL,
    created        BIGINT  NOT NULL,
    UNIQUE (idp, user_name_fold)
);
CREATE INDEX person_name ON person (user_name_fold, id);
CREATE UNIQUE INDEX person_external ON person (idp, external_id) WHERE external_id <> '';

-- What proves to be whom: NameID or sub, compared byte for byte.
CREATE TABLE person_identity (
    idp     TEXT   NOT NULL,
    subject TEXT   NOT NULL,
    person  TEXT   NOT NULL REFERENCES person (id) ON DELETE CASCADE,
    synced  BIGINT NOT NULL,                  -- IssueInstant of the assertion that last set the roles
    PRIMARY KEY (idp, subject)
);
CREATE INDEX person_identity_person ON person_identity (person);

CREATE TABLE person_group (
    id          TEXT   PRIMARY KEY,
    name        TEXT   NOT NULL,
    name_fold   TEXT   NOT NULL UNIQUE,
    external_id TEXT   NOT NULL,
    created     BIGINT NOT NULL
);

CREATE TABLE service_principal (
    id          TEXT    PRIMARY KEY,
    name        TEXT    NOT NULL,
    name_fold   TEXT    NOT NULL UNIQUE,
    external_id TEXT    NOT NULL,
    active      BOOLEAN NOT NULL,
    created     BIGINT  NOT NULL
);

-- member is a person, a service principal or another group; its prefix says which.
CREATE TABLE group_member (
    member       TEXT NOT NULL,
    person_group TEXT NOT NULL REFERENCES person_group (id) ON DELETE CASCADE,
    PRIMARY KEY (member, person_group)
);
CREATE INDEX group_member_group ON group_member (person_group);

-- A subject's stored right to a role. The same right may rest on several
-- origins; it is gone when the last is gone.
CREATE TABLE role_mapping (
    subject TEXT   NOT NULL,
    role    TEXT   NOT NULL,
    origin  TEXT   NOT NULL,                  -- saml, oidc, scim, admin
    idp     TEXT   NOT NULL,                  -- empty for admin
    set_at  BIGINT NOT NULL,
    PRIMARY KEY (subject, role, origin, idp)
);
CREATE INDEX role_mapping_role ON role_mapping (role);
