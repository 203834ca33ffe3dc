-- What the identity provider said of a login session: by it, single logout
-- finds the login sessions that it ends. Empty for a set-up link and for login
-- sessions of older releases.
ALTER TABLE login_session ADD COLUMN name_id TEXT NOT NULL DEFAULT '';
ALTER TABLE login_session ADD COLUMN name_id_format TEXT NOT NULL DEFAULT '';
ALTER TABLE login_session ADD COLUMN name_qualifier TEXT NOT NULL DEFAULT '';
ALTER TABLE login_session ADD COLUMN sp_name_qualifier TEXT NOT NULL DEFAULT '';
ALTER TABLE login_session ADD COLUMN session_index TEXT NOT NULL DEFAULT '';
ALTER TABLE login_session ADD COLUMN authn_context TEXT NOT NULL DEFAULT '';
ALTER TABLE login_session ADD COLUMN idp_ends BIGINT NOT NULL DEFAULT 0; -- SessionNotOnOrAfter; 0: none
CREATE INDEX login_session_name_id ON login_session (idp, name_id);

-- A parked sign-in that was begun at the identity provider waits for a "yes".
ALTER TABLE login_ticket ADD COLUMN unsolicited BOOLEAN NOT NULL DEFAULT FALSE;
