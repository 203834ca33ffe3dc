-- What provisioning systems say of subjects beside what the directory decides
-- by. A group or a machine without a row here was made by an administrator, and
-- no provisioning system sees it.
CREATE TABLE provisioned (
    subject TEXT   PRIMARY KEY,   -- psn_…, grp_…, spn_…
    kind    TEXT   NOT NULL,      -- psn, grp, spn
    idp     TEXT   NOT NULL,      -- whose word it is
    rest    TEXT   NOT NULL,      -- other attributes, JSON; empty for none
    version BIGINT NOT NULL,
    changed BIGINT NOT NULL
);
CREATE INDEX provisioned_idp ON provisioned (idp, kind, subject);

-- Bearer tokens of provisioning systems, by digest.
CREATE TABLE provisioning_credential (
    id      TEXT   PRIMARY KEY,
    idp     TEXT   NOT NULL,
    label   TEXT   NOT NULL,
    owner   TEXT   NOT NULL,
    kinds   TEXT   NOT NULL,      -- psn grp spn, with spaces between
    digest  BLOB   NOT NULL UNIQUE,
    made    BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    used    BIGINT NOT NULL       -- 0: never
);
