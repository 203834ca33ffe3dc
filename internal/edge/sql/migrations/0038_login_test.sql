-- Reports of test sign-ins, for the administrator's browser that began one.
-- Sealed: they hold what an identity provider says of a person.
CREATE TABLE login_test (
    handle    BLOB   PRIMARY KEY,
    pre_login BLOB   NOT NULL,
    sealed    BLOB   NOT NULL,
    expires   BIGINT NOT NULL
);
CREATE INDEX login_test_expires ON login_test (expires);
