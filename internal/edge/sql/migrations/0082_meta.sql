-- What the trust policies of data roles ask of Carnet's own AWS identity. One row.
CREATE TABLE meta_identity (
    id          BIGINT PRIMARY KEY,
    external_id TEXT   NOT NULL
);
