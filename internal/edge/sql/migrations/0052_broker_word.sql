-- What an identity provider said last of a person, sealed: the roles, and what
-- they rest on. A later sign-in replaces it.
CREATE TABLE last_word (
    person TEXT   NOT NULL,
    idp    TEXT   NOT NULL,
    issued BIGINT NOT NULL,
    sealed BLOB   NOT NULL,
    PRIMARY KEY (person, idp)
);
