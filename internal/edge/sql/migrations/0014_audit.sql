-- One chain of records per writer (a server process). body is what is hashed;
-- the other columns repeat parts of it, for searching.
CREATE TABLE audit_record (
    writer TEXT   NOT NULL,
    seq    BIGINT NOT NULL,
    at     BIGINT NOT NULL,
    action TEXT   NOT NULL,
    person TEXT   NOT NULL,
    body   TEXT   NOT NULL,
    hash   BLOB   NOT NULL,
    PRIMARY KEY (writer, seq)
);
CREATE INDEX audit_record_at ON audit_record (at);
CREATE INDEX audit_record_person ON audit_record (person, at);

CREATE TABLE audit_chain (
    writer TEXT   PRIMARY KEY,
    seq    BIGINT NOT NULL,
    hash   BLOB   NOT NULL
);

CREATE TABLE audit_checkpoint (
    writer    TEXT   NOT NULL,
    seq       BIGINT NOT NULL,
    hash      BLOB   NOT NULL,
    at        BIGINT NOT NULL,
    signer    TEXT   NOT NULL,
    signature BLOB   NOT NULL,
    PRIMARY KEY (writer, seq)
);

-- The key that signs checkpoints: its public half, and the other one sealed.
CREATE TABLE audit_signer (
    id      TEXT   PRIMARY KEY,
    public  BLOB   NOT NULL,
    sealed  BLOB   NOT NULL,
    created BIGINT NOT NULL
);
