-- What is set per identity provider beyond its list, and what is known of its
-- metadata: JSON objects, read and written whole. A revision lets two who edit
-- at once notice each other.
ALTER TABLE identity_provider ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';
ALTER TABLE identity_provider ADD COLUMN metadata_state TEXT NOT NULL DEFAULT '{}';
ALTER TABLE identity_provider ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;

-- One row: what holds for the whole installation.
CREATE TABLE installation (
    id            BIGINT  PRIMARY KEY,  -- 1
    organisation  TEXT    NOT NULL,     -- UUID, made at the first start
    unified_login BOOLEAN NOT NULL
);
