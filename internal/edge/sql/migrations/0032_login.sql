-- Login sessions. A parked one has a ticket and no cookie, an open one a cookie
-- and no ticket. Handles and cookies are digests of random secrets.
CREATE TABLE login_session (
    id            TEXT    PRIMARY KEY,
    person        TEXT    NOT NULL,
    idp           TEXT    NOT NULL,
    idp_name      TEXT    NOT NULL,
    user_name     TEXT    NOT NULL,
    display_name  TEXT    NOT NULL,
    administrator BOOLEAN NOT NULL,
    started       BIGINT  NOT NULL,
    expires       BIGINT  NOT NULL,
    notes         TEXT    NOT NULL,  -- JSON array
    epoch         BIGINT  NOT NULL,
    cookie        BLOB    UNIQUE
);
CREATE INDEX login_session_expires ON login_session (expires);

CREATE TABLE login_ticket (
    handle        BLOB   PRIMARY KEY,
    login_session TEXT   NOT NULL UNIQUE REFERENCES login_session (id) ON DELETE CASCADE,
    pre_login     BLOB   NOT NULL,
    return_to     TEXT   NOT NULL,
    expires       BIGINT NOT NULL
);
CREATE INDEX login_ticket_expires ON login_ticket (expires);

-- One-use codes and opaque tokens of command lines, as digests.
CREATE TABLE cli_code (
    digest        BLOB   PRIMARY KEY,
    login_session TEXT   NOT NULL REFERENCES login_session (id) ON DELETE CASCADE,
    challenge     TEXT   NOT NULL,
    expires       BIGINT NOT NULL
);
CREATE INDEX cli_code_session ON cli_code (login_session);
CREATE INDEX cli_code_expires ON cli_code (expires);

CREATE TABLE cli_token (
    digest        BLOB   PRIMARY KEY,
    login_session TEXT   NOT NULL REFERENCES login_session (id) ON DELETE CASCADE
);
CREATE INDEX cli_token_session ON cli_token (login_session);

CREATE TABLE setup_link (
    digest  BLOB   PRIMARY KEY,
    expires BIGINT NOT NULL
);
