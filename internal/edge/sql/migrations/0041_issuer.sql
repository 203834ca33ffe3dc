-- Keys of our OpenID issuers. The private key is sealed, and destroyed once the
-- key is gone; the public one stays. What a server does with a key is a function
-- of these times and of now; 0: not decided yet.
CREATE TABLE issuer_key (
    id             TEXT   PRIMARY KEY,   -- kid: the thumbprint of the public key
    level          TEXT   NOT NULL,      -- workspace, account
    algorithm      TEXT   NOT NULL,      -- RS256, ES256
    serial         BIGINT NOT NULL,      -- counts the keys of level and algorithm
    public         BLOB   NOT NULL,      -- PKIX
    sealed         BLOB   NOT NULL,      -- PKCS #8; empty once destroyed
    created        BIGINT NOT NULL,
    published_from BIGINT NOT NULL,
    used_from      BIGINT NOT NULL,
    retired_from   BIGINT NOT NULL,
    gone_after     BIGINT NOT NULL,
    UNIQUE (level, algorithm, serial)
);
