-- Whether the roles of an assertion replace the person's mapped ones.
ALTER TABLE installation ADD COLUMN role_sync BOOLEAN NOT NULL DEFAULT FALSE;
