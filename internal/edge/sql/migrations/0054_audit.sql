-- Exchanges of workloads name no person: they need no place in the index by
-- which a person's records are found.
DROP INDEX audit_record_person;
CREATE INDEX audit_record_person ON audit_record (person, at) WHERE person <> '';
