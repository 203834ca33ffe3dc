-- The places of gateway keys become clusters. gateway_cluster stays for servers of the
-- release before. An id is cls_ and 26 letters and digits of base32, from some 100
-- random bits.
INSERT INTO cluster (id, name, name_fold, kind, assigned, networks, certificates, settings, revision, made)
SELECT 'cls_' || translate(right(replace(gen_random_uuid()::text, '-', ''), 26), '0189', 'ghij'),
       name, name_fold, 'high-concurrency', '', networks, certificates, '{}', 1, made
FROM gateway_cluster;
