#!/usr/bin/env bash
# s3cmd: keys from its environment, the rest from a file.
. "$(dirname "$0")/lib.sh"
cat >"$CLIENT_OUT/.s3cfg" <<END
[default]
host_base = $host
host_bucket = $host
bucket_location = $AWS_REGION
use_https = $([ "$scheme" = https ] && echo True || echo False)
ca_certs_file = ${CLIENT_CA:-}
END
s3() { s3cmd -c "$CLIENT_OUT/.s3cfg" --quiet --no-progress "$@"; }
keys() { s3cmd -c "$CLIENT_OUT/.s3cfg" ls --recursive "s3://$CLIENT_BUCKET/$1" | sed "s|^[^s]*s3://$CLIENT_BUCKET/||"; }

do_put()       { s3 put "$CLIENT_FILES/small.csv" "${at}put.csv" && s3 get --force "${at}put.csv" "$CLIENT_OUT/put.csv"; }
do_stream()    { cat "$CLIENT_FILES/small.csv" | s3 put - "${at}stream.csv" && s3 get "${at}stream.csv" - >"$CLIENT_OUT/stream.csv"; }
do_multipart() { s3 put --multipart-chunk-size-mb=5 "$CLIENT_FILES/big.csv" "${at}multipart.csv" && s3 get --force "${at}multipart.csv" "$CLIENT_OUT/multipart.csv"; }
do_copy()      { s3 cp "s3://$CLIENT_BUCKET/$CLIENT_SOURCE" "${at}copy.csv" && s3 get --force "${at}copy.csv" "$CLIENT_OUT/copy.csv"; }
do_presign()   { s3cmd -c "$CLIENT_OUT/.s3cfg" signurl "s3://$CLIENT_BUCKET/$CLIENT_SOURCE" +300; }
do_list()      { keys "$CLIENT_MANY" >"$CLIENT_OUT/list"; }
do_odd()       { s3 put --recursive "$CLIENT_FILES/odd" "$at" && mkdir -p "$CLIENT_OUT/odd" && s3 get --recursive --force "${at}odd/" "$CLIENT_OUT/odd/" && keys "${CLIENT_PREFIX}odd/" >"$CLIENT_OUT/odd.list"; }

version "$(s3cmd --version | sed 's/s3cmd version //')"
for op; do operation "$op"; done
