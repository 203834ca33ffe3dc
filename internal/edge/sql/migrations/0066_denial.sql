-- Why S3 requests were denied, under the ids that the answers carried. For
-- explanation only: old ones are deleted.
CREATE TABLE denial (
    request TEXT   PRIMARY KEY,
    at      BIGINT NOT NULL,
    body    TEXT   NOT NULL
);
CREATE INDEX denial_at ON denial (at);
