# What the drivers of command lines share: they print one line of JSON for each
# operation that the arguments name, and leave what they read back in CLIENT_OUT.
set -uo pipefail
export LC_ALL=C.UTF-8
scheme=${CLIENT_ENDPOINT%%://*}
host=${CLIENT_ENDPOINT#*://}
at=s3://$CLIENT_BUCKET/$CLIENT_PREFIX

version() { jq -cn --arg v "$1" '{op: "version", version: $v}'; }

# operation NAME: runs the function do_NAME. What it prints is the address of
# presign, and of the others nothing; what went wrong is the end of its errors.
operation() {
  local out code
  out=$("do_$1" 2>"$CLIENT_OUT/.errors")
  code=$?
  cat "$CLIENT_OUT/.errors" >&2
  jq -cn --arg op "$1" --arg out "$out" --arg code $code --rawfile errors "$CLIENT_OUT/.errors" \
    '{op: $op} + (if $code == "0" then {} else {error: $errors[-2000:]} end) + (if $op == "presign" and $code == "0" then {url: $out} else {} end)'
}
