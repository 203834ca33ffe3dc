-- What a gateway key was delivered for on a node; empty: nothing.
ALTER TABLE gateway_key ADD COLUMN attachment TEXT NOT NULL DEFAULT '';
