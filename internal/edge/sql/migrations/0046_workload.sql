-- Whose tokens prove somebody here, by an administrator's word. Exactly one of
-- service_principal and idp is set; a name is unique among the policies of one
-- service principal, or among those for people.
CREATE TABLE federation_policy (
    id                TEXT   PRIMARY KEY,
    service_principal TEXT   NOT NULL,
    idp               TEXT   NOT NULL,
    name              TEXT   NOT NULL,
    name_fold         TEXT   NOT NULL,
    issuer            TEXT   NOT NULL,
    audiences         TEXT   NOT NULL,      -- JSON list
    subject           TEXT   NOT NULL,
    subject_claim     TEXT   NOT NULL,
    jwks              BLOB   NOT NULL,
    jwks_url          TEXT   NOT NULL,
    created           BIGINT NOT NULL,
    UNIQUE (service_principal, name_fold)
);

-- A person's word that a service principal may work as them in one role.
CREATE TABLE delegation (
    id                TEXT   PRIMARY KEY,
    person            TEXT   NOT NULL,
    idp               TEXT   NOT NULL,      -- by whom the person holds the role
    role              TEXT   NOT NULL,
    service_principal TEXT   NOT NULL,
    label             TEXT   NOT NULL,
    created           BIGINT NOT NULL,
    expires           BIGINT NOT NULL,
    revoked           BIGINT NOT NULL,      -- 0 while it stands
    epoch             BIGINT NOT NULL,
    evidence          TEXT   NOT NULL       -- JSON
);
CREATE INDEX delegation_person ON delegation (person);
CREATE INDEX delegation_service_principal ON delegation (service_principal);
CREATE INDEX delegation_expires ON delegation (expires);
