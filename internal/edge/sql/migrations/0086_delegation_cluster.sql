-- A delegation is to a service principal, or to a cluster: exactly one is set.
ALTER TABLE delegation ADD COLUMN cluster TEXT NOT NULL DEFAULT '';
