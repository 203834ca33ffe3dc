-- The open login sessions of one person, for their bound.
CREATE INDEX login_session_person ON login_session (person, started);
