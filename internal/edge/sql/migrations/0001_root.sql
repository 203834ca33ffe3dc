-- One counter per topic and stripe: a commit raises it, every server polls it.
-- Servers use different stripes, so that they don't wait for each other.
CREATE TABLE topic (
    name   TEXT   NOT NULL,
    stripe BIGINT NOT NULL,
    seq    BIGINT NOT NULL,
    PRIMARY KEY (name, stripe)
);
