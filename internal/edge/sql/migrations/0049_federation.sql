-- OpenID providers stand beside SAML identity providers: their settings as a
-- JSON object, the client secret sealed. Their entity_id is "oidc", issuer and
-- client id, parted by spaces, which no SAML entity id holds.
ALTER TABLE identity_provider ADD COLUMN protocol TEXT NOT NULL DEFAULT '';
ALTER TABLE identity_provider ADD COLUMN oidc TEXT NOT NULL DEFAULT '{}';
ALTER TABLE identity_provider ADD COLUMN client_secret BLOB;
