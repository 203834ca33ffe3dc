-- The places of gateway keys become clusters. gateway_cluster stays for servers of the
-- release before. An id is cls_ and 26 letters and digits of base32, from 104 random
-- bits.
INSERT INTO cluster (id, name, name_fold, kind, assigned, networks, certificates, settings, revision, made)
SELECT 'cls_' || replace(replace(replace(replace(lower(hex(randomblob(13))), '0', 'g'), '1', 'h'), '8', 'i'), '9', 'j'),
       name, name_fold, 'high-concurrency', '', networks, certificates, '{}', 1, made
FROM gateway_cluster;
