-- The trail is searched by the id of a request, which stands in the body alone, so
-- that nobody can change the one without the other (its beginning is enough to find
-- it); and by the name of an event.
CREATE INDEX audit_record_request ON audit_record (substr(body, instr(body, '"request":"') + 11, 8));
CREATE INDEX audit_record_action ON audit_record (action, at);
