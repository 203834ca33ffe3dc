-- The node that a gateway key was delivered on; empty: none.
ALTER TABLE gateway_key ADD COLUMN node TEXT NOT NULL DEFAULT '';
