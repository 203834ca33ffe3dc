-- What clients were given in people's names. All of it ends with the login
-- session. Codes and refresh tokens are digests of random secrets.
CREATE TABLE oauth_code (
    digest        BLOB   PRIMARY KEY,
    level         TEXT   NOT NULL,
    client        TEXT   NOT NULL REFERENCES oauth_client (id) ON DELETE CASCADE,
    login_session TEXT   NOT NULL REFERENCES login_session (id) ON DELETE CASCADE,
    redirect_uri  TEXT   NOT NULL,
    challenge     TEXT   NOT NULL,
    scope         TEXT   NOT NULL,
    nonce         TEXT   NOT NULL,
    expires       BIGINT NOT NULL
);
CREATE INDEX oauth_code_client ON oauth_code (client);
CREATE INDEX oauth_code_session ON oauth_code (login_session);
CREATE INDEX oauth_code_expires ON oauth_code (expires);

-- One row for each approval that was redeemed. handle is what all its refresh
-- tokens begin with; code is that of the code that was redeemed, so that a second
-- use of it finds what it gave.
CREATE TABLE oauth_grant (
    id            TEXT   PRIMARY KEY,
    handle        BLOB   NOT NULL UNIQUE,
    code          BLOB   UNIQUE,
    level         TEXT   NOT NULL,
    client        TEXT   NOT NULL REFERENCES oauth_client (id) ON DELETE CASCADE,
    login_session TEXT   NOT NULL REFERENCES login_session (id) ON DELETE CASCADE,
    person        TEXT   NOT NULL,
    scope         TEXT   NOT NULL,
    created       BIGINT NOT NULL,
    ends          BIGINT NOT NULL
);
CREATE INDEX oauth_grant_client ON oauth_grant (client);
CREATE INDEX oauth_grant_session ON oauth_grant (login_session, created);
CREATE INDEX oauth_grant_ends ON oauth_grant (ends);

-- Access tokens by their jti, each with the refresh token that was given beside
-- it.
CREATE TABLE oauth_token (
    access_id   TEXT   PRIMARY KEY,
    oauth_grant TEXT   NOT NULL REFERENCES oauth_grant (id) ON DELETE CASCADE,
    refresh     BLOB   UNIQUE,           -- NULL: none (any more)
    parent      TEXT   NOT NULL,         -- the access_id beside whose refresh token gave it
    issued      BIGINT NOT NULL,
    ends        BIGINT NOT NULL,         -- of the access token
    rotated     BIGINT NOT NULL          -- when the refresh token was used; 0: not yet
);
CREATE INDEX oauth_token_grant ON oauth_token (oauth_grant);
CREATE INDEX oauth_token_ends ON oauth_token (ends);
