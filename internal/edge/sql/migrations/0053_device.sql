-- What devices began (RFC 8628). Places are numbered, so that what strangers
-- can fill is bounded without counting.
CREATE TABLE device_grant (
    bucket        INTEGER NOT NULL,
    place         INTEGER NOT NULL,
    device        BLOB    NOT NULL UNIQUE,   -- digest of the device code
    user_code     TEXT    NOT NULL UNIQUE,
    level         TEXT    NOT NULL,
    client        TEXT    NOT NULL,
    scope         TEXT    NOT NULL,
    source        TEXT    NOT NULL,
    user_agent    TEXT    NOT NULL,
    asked         BIGINT  NOT NULL,
    expires       BIGINT  NOT NULL,
    state         TEXT    NOT NULL,          -- waiting, approved, denied
    login_session TEXT    NOT NULL,          -- of whoever decided; empty: nobody yet
    poll_interval BIGINT  NOT NULL,          -- ms
    next_poll     BIGINT  NOT NULL,
    PRIMARY KEY (bucket, place)
);
CREATE INDEX device_grant_expires ON device_grant (expires);

-- Codes that were typed and fit nothing, by login session and by address.
CREATE TABLE device_guess (
    counted TEXT    PRIMARY KEY,
    tries   INTEGER NOT NULL,
    ends    BIGINT  NOT NULL                 -- the count starts anew after it
);
