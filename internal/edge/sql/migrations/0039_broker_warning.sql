-- What is said of a role whose keys came, and the command that mends it.
ALTER TABLE role_session ADD COLUMN warning TEXT NOT NULL DEFAULT '';
ALTER TABLE role_session ADD COLUMN command TEXT NOT NULL DEFAULT '';
