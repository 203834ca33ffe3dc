-- What AWS handed out by us and may honour longer than we do. A row outlives what it
-- rests on.
CREATE TABLE aws_key (
    id                TEXT   PRIMARY KEY,  -- of the access key, else of the ID token
    account           TEXT   NOT NULL,
    role              TEXT   NOT NULL,     -- ARN
    person            TEXT   NOT NULL,
    login_session     TEXT   NOT NULL,
    delegation        TEXT   NOT NULL,
    service_principal TEXT   NOT NULL,
    session_name      TEXT   NOT NULL,
    issuer            TEXT   NOT NULL,
    subject           TEXT   NOT NULL,
    access_key_id     TEXT   NOT NULL,
    issued            BIGINT NOT NULL,
    until             BIGINT NOT NULL,
    reach             BIGINT NOT NULL      -- of keys bought with the same proof past us
);
CREATE INDEX aws_key_person ON aws_key (person);
CREATE INDEX aws_key_login_session ON aws_key (login_session);
CREATE INDEX aws_key_service_principal ON aws_key (service_principal);
CREATE INDEX aws_key_delegation ON aws_key (delegation);
CREATE INDEX aws_key_role ON aws_key (role);
CREATE INDEX aws_key_reach ON aws_key (reach);

-- Whose older keys a role at AWS shall deny.
CREATE TABLE aws_deny (
    role  TEXT   NOT NULL,
    form  TEXT   NOT NULL,  -- name, subject or all
    value TEXT   NOT NULL,
    cut   BIGINT NOT NULL,  -- keys issued before
    ends  BIGINT NOT NULL,
    seq   BIGINT NOT NULL,  -- of the role, when it was queued
    PRIMARY KEY (role, form, value)
);

-- How far each role has come, and which server is at it.
CREATE TABLE aws_deny_role (
    role    TEXT   PRIMARY KEY,
    seq     BIGINT NOT NULL,
    written BIGINT NOT NULL,
    due     BIGINT NOT NULL,
    tries   BIGINT NOT NULL,
    trouble TEXT   NOT NULL,
    holder  TEXT   NOT NULL,
    lease   BIGINT NOT NULL
);
CREATE INDEX aws_deny_role_due ON aws_deny_role (due);
