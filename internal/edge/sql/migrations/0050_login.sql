-- A back-channel logout names a login session by the identity provider's own name
-- of it. The ID token of a sign-in by OpenID Connect, sealed: its provider wants
-- it back at a logout.
CREATE INDEX login_session_index ON login_session (idp, session_index);
ALTER TABLE login_session ADD COLUMN id_token BLOB;
