-- What became of each role of a login session. Keys are sealed; a failure has
-- a code and no keys.
CREATE TABLE role_session (
    login_session    TEXT   NOT NULL,
    role             TEXT   NOT NULL,
    place            BIGINT NOT NULL,  -- among the assertion's Role values
    session_name     TEXT   NOT NULL,
    assumed_role_arn TEXT   NOT NULL,
    access_key_id    TEXT   NOT NULL,
    expiration       BIGINT NOT NULL,  -- 0: failure
    sealed           BLOB   NOT NULL,  -- empty: failure
    code             TEXT   NOT NULL,
    message          TEXT   NOT NULL,
    mend             TEXT   NOT NULL,
    ends             BIGINT NOT NULL,
    PRIMARY KEY (login_session, role)
);
CREATE INDEX role_session_ends ON role_session (ends);

-- The longest duration that a role is known to grant.
CREATE TABLE role_longest (
    role    TEXT   PRIMARY KEY,
    seconds BIGINT NOT NULL,
    learned BIGINT NOT NULL
);
