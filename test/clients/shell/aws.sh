#!/usr/bin/env bash
# aws s3 of the program named first: files for what is in memory, - for streams.
program=$1; shift
. "$(dirname "$0")/lib.sh"
export AWS_CONFIG_FILE=$CLIENT_OUT/aws.config
printf '[default]\ns3 =\n  addressing_style = path\n  signature_version = s3v4\n  multipart_threshold = 5MB\n  multipart_chunksize = 5MB\n' >"$AWS_CONFIG_FILE"
[ -n "${CLIENT_PROCESS:-}" ] && printf 'credential_process = %s\n' "$CLIENT_PROCESS" >>"$AWS_CONFIG_FILE"
[ -n "${CLIENT_CA:-}" ] && export AWS_CA_BUNDLE=$CLIENT_CA
s3() { "$program" --endpoint-url "$CLIENT_ENDPOINT" s3 "$@"; }
keys() { "$program" --endpoint-url "$CLIENT_ENDPOINT" s3api list-objects-v2 --bucket "$CLIENT_BUCKET" --prefix "$1" --query 'Contents[].[Key]' --output text; }

do_put()       { s3 cp --only-show-errors "$CLIENT_FILES/small.csv" "${at}put.csv" && s3 cp --only-show-errors "${at}put.csv" "$CLIENT_OUT/put.csv"; }
do_stream()    { cat "$CLIENT_FILES/small.csv" | s3 cp - "${at}stream.csv" && s3 cp "${at}stream.csv" - >"$CLIENT_OUT/stream.csv"; }
do_multipart() { s3 cp --only-show-errors "$CLIENT_FILES/big.csv" "${at}multipart.csv" && s3 cp --only-show-errors "${at}multipart.csv" "$CLIENT_OUT/multipart.csv"; }
do_copy()      { s3 cp --only-show-errors "s3://$CLIENT_BUCKET/$CLIENT_SOURCE" "${at}copy.csv" && s3 cp --only-show-errors "${at}copy.csv" "$CLIENT_OUT/copy.csv"; }
do_presign()   { s3 presign --expires-in 300 "s3://$CLIENT_BUCKET/$CLIENT_SOURCE"; }
do_list()      { keys "$CLIENT_MANY" >"$CLIENT_OUT/list"; }
do_odd()       { s3 cp --only-show-errors --recursive "$CLIENT_FILES/odd" "${at}odd" && s3 cp --only-show-errors --recursive "${at}odd" "$CLIENT_OUT/odd" && keys "${CLIENT_PREFIX}odd/" >"$CLIENT_OUT/odd.list"; }

version "$("$program" --version 2>&1 | sed 's|^aws-cli/\([^ ]*\).*|\1|')"
for op; do operation "$op"; done
