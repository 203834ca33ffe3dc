-- How a role is served, what its renewals rest on (sealed), and how they went.
-- A server of the release before writes rows without: they are not renewed.
ALTER TABLE role_session ADD COLUMN served   TEXT   NOT NULL DEFAULT 'saml';
ALTER TABLE role_session ADD COLUMN evidence BLOB;
ALTER TABLE role_session ADD COLUMN obtained BIGINT NOT NULL DEFAULT 0;   -- 0: not known
ALTER TABLE role_session ADD COLUMN renewals BIGINT NOT NULL DEFAULT 0;
ALTER TABLE role_session ADD COLUMN trouble  TEXT   NOT NULL DEFAULT '';  -- empty: the last renewal was not refused
