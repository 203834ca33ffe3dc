-- Data keys, wrapped under a key-encryption key that is never in here.
CREATE TABLE keyring_key (
    id         TEXT   PRIMARY KEY,
    ring       TEXT   NOT NULL,
    generation BIGINT NOT NULL,
    kek        TEXT   NOT NULL,      -- id of the key-encryption key
    wrapped    BLOB   NOT NULL,
    created    BIGINT NOT NULL,
    used_from  BIGINT NOT NULL,      -- 0: published, not in use yet
    UNIQUE (ring, generation)
);

-- What each server has loaded, so that a key is used only when all know it.
CREATE TABLE keyring_server (
    server     TEXT   PRIMARY KEY,
    generation BIGINT NOT NULL,      -- lowest of the newest generations of all rings
    seen       BIGINT NOT NULL
);
