-- Our own SAML keys. The private key is sealed. Of each purpose at most one is
-- published and not used yet, and one is in use.
CREATE TABLE saml_key (
    id          TEXT   PRIMARY KEY,
    purpose     TEXT   NOT NULL,      -- signing, encryption
    state       TEXT   NOT NULL,      -- next, current, retired
    certificate BLOB   NOT NULL,      -- DER
    sealed      BLOB   NOT NULL,
    created     BIGINT NOT NULL,
    changed     BIGINT NOT NULL       -- when it came into its state
);
CREATE UNIQUE INDEX saml_key_state ON saml_key (purpose, state) WHERE state <> 'retired';
