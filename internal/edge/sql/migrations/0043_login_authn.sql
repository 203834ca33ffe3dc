-- When the person proved themselves to the identity provider, as it said; 0: not
-- known. OpenID Connect tells it as auth_time.
ALTER TABLE login_session ADD COLUMN authn_instant BIGINT NOT NULL DEFAULT 0;
