//go:build interop

package clients

import (
	"regexp"
	"slices"
)

// limit is something that a client can't do whatever the server is. says finds
// the client's own words in what it said; they are shown.
type limit struct {
	client, op string
	scheme     string   // empty: both
	names      []string // of odd: which; empty: all
	says       *regexp.Regexp
	shown      string // in place of what says found, where that differs from run to run
}

// limits are read before they are written: each is the client's, not ours.
var limits = []limit{
	{client: "go", op: "stream", scheme: "http", says: regexp.MustCompile("unseekable stream is not supported without TLS and trailing checksum")},
	{client: "duckdb", op: "copy", says: regexp.MustCompile("Catalog Error: Scalar Function with name s3_copy does not exist!")},
	{client: "duckdb", op: "presign", says: regexp.MustCompile("Catalog Error: Scalar Function with name s3_presign does not exist!")},
	{client: "hadoop", op: "presign", says: regexp.MustCompile(`java\.lang\.NoSuchMethodException: org\.apache\.hadoop\.fs\.s3a\.S3AFileSystem\.presign\(org\.apache\.hadoop\.fs\.Path\)`)},
	{client: "polars", op: "copy", says: regexp.MustCompile("module 'polars' has no attribute 'copy_file'")},
	{client: "polars", op: "presign", says: regexp.MustCompile("module 'polars' has no attribute 'presign'")},
	{client: "pyarrow", op: "presign", says: regexp.MustCompile("'pyarrow._s3fs.S3FileSystem' object has no attribute 'presign'")},
	{client: "s3cmd", op: "presign", says: regexp.MustCompile(`\?AWSAccessKeyId=[^&]+&Expires=[^&]+&Signature=`), shown: "signurl gives a link of Signature Version 2: ?AWSAccessKeyId=…&Expires=…&Signature=…"},
}

// known gives the client's words where it can't.
func (r *run) known(op, name, said string) (words string, ok bool) {
	for _, l := range limits {
		if l.client != r.client.id || l.op != op || l.scheme != "" && l.scheme != r.scheme || len(l.names) > 0 && !slices.Contains(l.names, name) {
			continue
		}
		words := l.says.FindString(said)
		if words != "" && l.shown != "" {
			return l.shown, true
		}
		if words != "" {
			return words, true
		}
	}
	return "", false
}
