#!/usr/bin/env bash
# rclone with nothing but its environment.
. "$(dirname "$0")/lib.sh"
export RCLONE_CONFIG=/dev/null RCLONE_CONFIG_CARNET_TYPE=s3 RCLONE_CONFIG_CARNET_PROVIDER=Other RCLONE_CONFIG_CARNET_ENV_AUTH=true \
  RCLONE_CONFIG_CARNET_ENDPOINT=$CLIENT_ENDPOINT RCLONE_CONFIG_CARNET_REGION=$AWS_REGION RCLONE_CONFIG_CARNET_FORCE_PATH_STYLE=true RCLONE_CONFIG_CARNET_NO_CHECK_BUCKET=true
[ -n "${CLIENT_CA:-}" ] && export RCLONE_CA_CERT=$CLIENT_CA
at=carnet:$CLIENT_BUCKET/$CLIENT_PREFIX

do_put()       { rclone copyto "$CLIENT_FILES/small.csv" "${at}put.csv" && rclone copyto "${at}put.csv" "$CLIENT_OUT/put.csv"; }
do_stream()    { cat "$CLIENT_FILES/small.csv" | rclone rcat --streaming-upload-cutoff 16K "${at}stream.csv" && rclone cat "${at}stream.csv" >"$CLIENT_OUT/stream.csv"; }
do_multipart() { rclone copyto --s3-upload-cutoff 5M --s3-chunk-size 5M "$CLIENT_FILES/big.csv" "${at}multipart.csv" && rclone copyto "${at}multipart.csv" "$CLIENT_OUT/multipart.csv"; }
do_copy()      { rclone copyto "carnet:$CLIENT_BUCKET/$CLIENT_SOURCE" "${at}copy.csv" && rclone copyto "${at}copy.csv" "$CLIENT_OUT/copy.csv"; }
do_presign()   { rclone link --expire 5m "carnet:$CLIENT_BUCKET/$CLIENT_SOURCE"; }
do_list()      { rclone lsf -R --files-only "carnet:$CLIENT_BUCKET/$CLIENT_MANY" | sed "s|^|$CLIENT_MANY|" >"$CLIENT_OUT/list"; }
do_odd()       { rclone copy "$CLIENT_FILES/odd" "${at}odd" && rclone copy "${at}odd" "$CLIENT_OUT/odd" && rclone lsf -R --files-only "${at}odd" | sed "s|^|${CLIENT_PREFIX}odd/|" >"$CLIENT_OUT/odd.list"; }

version "$(rclone version | sed -n '1s/^rclone v//p')"
for op; do operation "$op"; done
