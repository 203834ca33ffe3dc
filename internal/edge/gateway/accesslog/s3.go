package accesslog

import (
	"crypto/tls"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/edge/gateway"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// appendS3 writes the lines of one request in the format of S3's server access
// logs (Amazon S3 User Guide, "Amazon S3 server access log format"): a copy has
// one for what it reads besides, a batch one for each key.
func appendS3(b []byte, r *gateway.Record) []byte {
	e := entry{
		operation: operation(r.Operation, r.Method), bucket: r.Bucket, key: r.Key, version: r.VersionID,
		status: r.Status, code: r.Code, sent: r.Sent, size: r.Size, total: r.Total, turn: r.FirstByte, timed: true,
	}
	b = e.append(b, r)
	if r.Copied != nil {
		e.operation += "_GET"
		e.bucket, e.key, e.version, e.sent = r.Copied.Bucket, r.Copied.Key, r.Copied.VersionID, 0
		b = e.append(b, r)
	}
	for _, k := range r.Batch {
		b = (&entry{operation: "BATCH.DELETE.OBJECT", bucket: r.Bucket, key: k.Key, version: k.VersionID, status: k.Status, code: k.Code, size: -1}).append(b, r)
	}
	return b
}

// entry is what differs between the lines of one request.
type entry struct {
	operation, bucket, key, version string
	status                          int
	code                            string
	sent, size                      int64
	timed                           bool
	total, turn                     time.Duration
}

// append writes the 27 fields in their order.
func (e *entry) append(b []byte, r *gateway.Record) []byte {
	b = field(b, r.Place.Account) // AWS: the canonical user id of the bucket's owner
	b = field(b, e.bucket)
	b = append(r.Began.UTC().AppendFormat(append(b, '['), "02/Jan/2006:15:04:05 -0700"), "] "...)
	if r.Source.IsValid() {
		b = append(r.Source.AppendTo(b), ' ')
	} else {
		b = field(b, "")
	}
	requester := ""
	if r.Caller != nil {
		requester = r.Caller.ARN
	}
	b = field(b, requester)
	b = field(b, string(r.Request))
	b = field(b, e.operation)
	b = field(b, e.key)
	b = field(append(b, '"'), clip(r.Method, 32))
	b = field(b, clip(r.Target, mostTarget))
	b = field(b, r.Protocol)
	b = append(b[:len(b)-1], `" `...)
	b = amount(b, int64(e.status))
	b = field(b, e.code)
	b = amount(b, e.sent)
	b = size(b, e.size)
	b = e.times(b)
	b = append(quoted(append(b, '"'), dash(clip(r.Referer, mostText))), `" `...)
	b = append(quoted(append(b, '"'), dash(clip(r.UserAgent, mostText))), `" `...)
	b = field(b, e.version)
	b = field(b, clip(r.StoreHost, 256))
	b = field(b, signature(r))
	b = field(b, cipher(r.TLSCipher))
	b = field(b, authentication(r.Authentication))
	b = field(b, clip(r.Host, mostHost))
	version := tlsVersion(r.TLSVersion)
	if version != "" {
		version = "TLSv" + version
	}
	b = field(b, version)
	return append(b, "- - -\n"...) // access point, aclRequired, source region
}

func (e *entry) times(b []byte) []byte {
	if !e.timed {
		return append(b, "- - "...)
	}
	b = append(strconv.AppendInt(b, e.total.Milliseconds(), 10), ' ')
	return append(strconv.AppendInt(b, e.turn.Milliseconds(), 10), ' ')
}

func amount(b []byte, n int64) []byte {
	if n == 0 {
		return append(b, "- "...)
	}
	return append(strconv.AppendInt(b, n, 10), ' ')
}

func size(b []byte, n int64) []byte {
	if n < 0 {
		return append(b, "- "...)
	}
	return append(strconv.AppendInt(b, n, 10), ' ')
}

// field writes one field without quotes: percent-encoded wherever it could end
// the field, and "-" where it is empty. A "-" of the client's is written "%2D".
func field(b []byte, s string) []byte {
	switch s {
	case "":
		return append(b, "- "...)
	case "-":
		return append(b, "%2D "...)
	}
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '[' || c == ']' {
			b = percent(b, c)
			continue
		}
		b = append(b, c)
	}
	return append(b, ' ')
}

// quoted writes what stands between quotes.
func quoted(b []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			b = percent(b, c)
			continue
		}
		b = append(b, c)
	}
	return b
}

const upperHex = "0123456789ABCDEF"

func percent(b []byte, c byte) []byte { return append(b, '%', upperHex[c>>4], upperHex[c&15]) }

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func signature(r *gateway.Record) string {
	if r.Authentication == "" {
		return ""
	}
	return "SigV4"
}

// authentication gives S3's word for the place of the credential.
func authentication(place string) string {
	switch place {
	case sigv4.Header.String():
		return "AuthHeader"
	case sigv4.Query.String():
		return "QueryString"
	}
	return ""
}

// resources gives the last part of an operation's name in S3's logs, where it is
// not the plain resource.
var resources = map[s3.Name]string{
	s3.ListBuckets: "SERVICE", s3.GetBucketLocation: "LOCATION", s3.DeleteObjects: "MULTI_OBJECT_DELETE",
	s3.ListObjects: "BUCKET", s3.ListObjectsV2: "BUCKET", s3.HeadBucket: "BUCKET", s3.CreateBucket: "BUCKET", s3.DeleteBucket: "BUCKET",
	s3.CreateMultipartUpload: "UPLOADS", s3.ListMultipartUploads: "UPLOADS", s3.UploadPart: "PART", s3.UploadPartCopy: "PART",
	s3.CompleteMultipartUpload: "UPLOAD", s3.AbortMultipartUpload: "UPLOAD", s3.ListParts: "UPLOAD",
	s3.GetObjectTagging: "OBJECT_TAGGING", s3.PutObjectTagging: "OBJECT_TAGGING", s3.DeleteObjectTagging: "OBJECT_TAGGING",
	s3.GetObject: "OBJECT", s3.HeadObject: "OBJECT", s3.PutObject: "OBJECT", s3.CopyObject: "OBJECT", s3.DeleteObject: "OBJECT",
}

// operation gives REST.METHOD.RESOURCE; empty where nothing was read.
func operation(name s3.Name, method string) string {
	if name == s3.GetObject && method == "GET" {
		return "REST.GET.OBJECT"
	}
	switch name {
	case "":
		return ""
	case s3.CopyObject, s3.UploadPartCopy:
		method = "COPY"
	}
	resource, ok := resources[name]
	if !ok {
		resource = words(string(name))
	}
	return "REST." + method + "." + resource
}

// words makes BUCKET_POLICY of GetBucketPolicy.
func words(name string) string {
	for _, verb := range [...]string{"Get", "Put", "Delete", "Head", "List", "Create"} {
		if rest, ok := strings.CutPrefix(name, verb); ok {
			name = rest
			break
		}
	}
	b := make([]byte, 0, len(name)+4)
	for i := range len(name) {
		if c := name[i]; i > 0 && c >= 'A' && c <= 'Z' {
			b = append(b, '_', c)
		} else {
			b = append(b, c)
		}
	}
	return strings.ToUpper(string(b))
}

// cipher gives the name of a cipher suite as S3's logs have it: OpenSSL's.
func cipher(id uint16) string {
	if id == 0 {
		return ""
	}
	if name, ok := openSSL[id]; ok {
		return name
	}
	return tls.CipherSuiteName(id)
}

// openSSL names the suites of TLS 1.2 and 1.3.
var openSSL = map[uint16]string{
	tls.TLS_AES_128_GCM_SHA256:                        "TLS_AES_128_GCM_SHA256",
	tls.TLS_AES_256_GCM_SHA384:                        "TLS_AES_256_GCM_SHA384",
	tls.TLS_CHACHA20_POLY1305_SHA256:                  "TLS_CHACHA20_POLY1305_SHA256",
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:         "ECDHE-RSA-AES128-GCM-SHA256",
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:         "ECDHE-RSA-AES256-GCM-SHA384",
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:       "ECDHE-ECDSA-AES128-GCM-SHA256",
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:       "ECDHE-ECDSA-AES256-GCM-SHA384",
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:   "ECDHE-RSA-CHACHA20-POLY1305",
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-ECDSA-CHACHA20-POLY1305",
	tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA:            "ECDHE-RSA-AES128-SHA",
	tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA:            "ECDHE-RSA-AES256-SHA",
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA:          "ECDHE-ECDSA-AES128-SHA",
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA:          "ECDHE-ECDSA-AES256-SHA",
}

func tlsVersion(v uint16) string {
	if v == 0 {
		return ""
	}
	return strings.TrimPrefix(tls.VersionName(v), "TLS ")
}
