package s3

import (
	"net/textproto"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// headerUse is a set of occasions on which a header means something.
type headerUse uint32

const (
	useRead      headerUse = 1 << iota
	useCreate              // makes an object: content headers, metadata, tags
	useContent             // carries content: checksums
	useCopy                // reads another object
	useMultipart           // begins a multipart upload
	useComplete            // ends one
	useDelete
	useAbort // ends a multipart upload without an object
	// useCustomerKey takes the customer's own encryption key.
	useCustomerKey
	// useBypass may lift an object's lock.
	useBypass
	useAttributes
	// useBucket makes a bucket.
	useBucket
	// useHere headers are read by this package and go no further.
	useHere
)

// headerUses lists every header that may go upstream and every x-amz-* header
// that is understood. A known header on an occasion where it means nothing is
// dropped, as S3 does; an unknown x-amz-* header is refused.
var headerUses = map[string]headerUse{
	"Range": useRead, "If-Modified-Since": useRead, "If-Unmodified-Since": useRead,
	"If-Match":      useRead | useCreate | useComplete | useDelete,
	"If-None-Match": useRead | useCreate | useComplete,

	"Content-Type": useCreate, "Content-Language": useCreate, "Content-Disposition": useCreate,
	"Content-Encoding": useCreate, "Cache-Control": useCreate, "Expires": useCreate,
	"Content-Md5": useHere, // the gateway holds the content to it

	"X-Amz-Checksum-Mode":          useRead,
	"X-Amz-Sdk-Checksum-Algorithm": useContent,
	"X-Amz-Checksum-Algorithm":     useMultipart | useCopy,
	"X-Amz-Checksum-Type":          useMultipart | useComplete,
	"X-Amz-Checksum-Crc32":         useContent | useComplete,
	"X-Amz-Checksum-Crc32c":        useContent | useComplete,
	"X-Amz-Checksum-Crc64nvme":     useContent | useComplete,
	"X-Amz-Checksum-Md5":           useContent | useComplete,
	"X-Amz-Checksum-Sha512":        useContent | useComplete,
	"X-Amz-Checksum-Xxhash3":       useContent | useComplete,
	"X-Amz-Checksum-Xxhash64":      useContent | useComplete,
	"X-Amz-Checksum-Xxhash128":     useContent | useComplete,
	"X-Amz-Checksum-Sha1":          useContent | useComplete,
	"X-Amz-Checksum-Sha256":        useContent | useComplete,
	"X-Amz-Mp-Object-Size":         useComplete,
	"X-Amz-Tagging":                useCreate,
	"X-Amz-Storage-Class":          useCreate,

	"X-Amz-Website-Redirect-Location": useCreate,
	lockMode:                          useCreate,
	lockUntil:                         useCreate,
	lockLegalHold:                     useCreate,
	bypassLock:                        useBypass,

	"X-Amz-If-Match-Initiated-Time":     useAbort,
	"X-Amz-If-Match-Last-Modified-Time": useDelete,
	"X-Amz-If-Match-Size":               useDelete,

	"X-Amz-Object-Attributes":  useAttributes,
	"X-Amz-Max-Parts":          useAttributes,
	"X-Amz-Part-Number-Marker": useAttributes,

	"X-Amz-Bucket-Object-Lock-Enabled": useBucket,

	ssePrefix:                               useCreate,
	ssePrefix + "-Aws-Kms-Key-Id":           useCreate,
	ssePrefix + "-Context":                  useCreate,
	ssePrefix + "-Bucket-Key-Enabled":       useCreate,
	ssePrefix + "-Customer-Algorithm":       useCustomerKey,
	ssePrefix + "-Customer-Key":             useCustomerKey,
	ssePrefix + "-Customer-Key-Md5":         useCustomerKey,
	sseSourcePrefix + "-Customer-Algorithm": useCopy,
	sseSourcePrefix + "-Customer-Key":       useCopy,
	sseSourcePrefix + "-Customer-Key-Md5":   useCopy,

	"X-Amz-Tagging-Directive":               useCopy,
	"X-Amz-Metadata-Directive":              useCopy,
	"X-Amz-Copy-Source-If-Match":            useCopy,
	"X-Amz-Copy-Source-If-None-Match":       useCopy,
	"X-Amz-Copy-Source-If-Modified-Since":   useCopy,
	"X-Amz-Copy-Source-If-Unmodified-Since": useCopy,
	"X-Amz-Copy-Source-Range":               useCopy,
	"X-Amz-Object-Annotation-Directive":     useCopy, // newer command lines send it with each copy; annotations themselves are not served

	"X-Amz-Copy-Source":            useHere,
	"X-Amz-Date":                   useHere,
	"X-Amz-Content-Sha256":         useHere,
	"X-Amz-Security-Token":         useHere,
	"X-Amz-Decoded-Content-Length": useHere,
	"X-Amz-Trailer":                useHere,
	"X-Amz-User-Agent":             useHere,
	"X-Amz-Api-Version":            useHere, // which the SDK for C++ sends with everything: S3 has one version
	"X-Amz-Expected-Bucket-Owner":  useHere,
	// The administrator's role can always change a bucket's policy, so that
	// nobody has to confirm that they can't.
	"X-Amz-Confirm-Remove-Self-Bucket-Access": useHere,
	"X-Amz-Source-Expected-Bucket-Owner":      useHere,
	"X-Amz-Request-Payer":                     useHere,
	"X-Amz-Optional-Object-Attributes":        useHere,
	"X-Amz-Te":                                useHere, // append-md5, which the SDK for Java offers to take: nobody has to
	"X-Amz-Acl":                               useHere,
	"X-Amz-Object-Ownership":                  useHere,
}

const metaPrefix = "X-Amz-Meta-"

func isAmz(name string) bool {
	return len(name) > 6 && strings.EqualFold(name[:6], "x-amz-")
}

// headers are the request's headers with single values, and those x-amz-* that
// a presigned request carries in its query.
type headers map[string]string

// gatherHeaders merges headers and, for presigned requests, the x-amz-* query
// parameters that signers hoist. Nothing may be said twice.
func gatherHeaders(r *Request) (headers, error) {
	h := make(headers, len(r.Header))
	for name, values := range r.Header {
		_, known := headerUses[name]
		meta := strings.HasPrefix(name, metaPrefix)
		switch {
		case !known && !meta && isAmz(name):
			return nil, refuseHeader(name)
		case !known && !meta || len(values) == 0:
			continue
		case len(values) > 1 && !meta && !lists(name):
			return nil, twice(name)
		}
		h[name] = strings.Join(values, ",")
	}
	if !r.Presigned {
		return h, nil
	}
	for _, q := range r.Target.Query {
		if !isAmz(q.Name) || sigv4.CredentialParam(q.Name) {
			continue
		}
		name := textproto.CanonicalMIMEHeaderKey(q.Name)
		if _, known := headerUses[name]; !known && !strings.HasPrefix(name, metaPrefix) {
			return nil, refuseHeader(q.Name)
		}
		if _, ok := h[name]; ok {
			return nil, twice(name)
		}
		if strings.ContainsFunc(q.Value, control) || !token(name) {
			return nil, fault.Coded(fault.Invalid, "InvalidArgument", "The query parameter "+clip(q.Name)+" can't stand for a header")
		}
		h[name] = strings.Trim(q.Value, " \t")
	}
	return h, nil
}

// lists reports a header that is a list, which may stand on several lines.
func lists(name string) bool {
	return name == "Content-Encoding" || name == "X-Amz-Object-Attributes" || name == "X-Amz-Optional-Object-Attributes"
}

// control reports what may not stand in a header's value.
func control(c rune) bool { return c < ' ' || c == 0x7f }

func twice(name string) error {
	return fault.Coded(fault.Invalid, "InvalidArgument", "The header "+clip(name)+" is given more than once")
}

// letter reports a letter or a digit of ASCII.
func letter(c byte) bool { return alnum(c) || c >= 'A' && c <= 'Z' }

// token holds RFC 9110's alphabet of header names.
func token(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !letter(c) && strings.IndexByte("-_.!#$%&'*+^`|~", c) < 0 {
			return false
		}
	}
	return name != ""
}

// refuseHeader names what a header would have asked for.
func refuseHeader(name string) error {
	lower := strings.ToLower(name)
	switch {
	case strings.HasPrefix(lower, "x-amz-grant-"):
		return aclRefused()
	case lower == "x-amz-account-id":
		return notImplemented("the S3 Control API (access points, access grants, batch jobs), which x-amz-account-id is for")
	case lower == "x-amz-request-route", lower == "x-amz-request-token":
		return notImplemented("WriteGetObjectResponse: there are no object lambdas")
	case strings.HasPrefix(lower, sigv4.ChecksumPrefix):
		return fault.Coded(fault.Unsupported, "InvalidRequest", "The algorithm type you specified in x-amz-checksum- header is invalid.")
	}
	return notImplemented("the header " + clip(lower))
}

func aclRefused() error {
	return fault.Coded(fault.Invalid, "AccessControlListNotSupported", "The bucket does not allow ACLs").
		WithMend("use policies; private and bucket-owner-full-control are the only ACLs accepted")
}

// forward gives the headers that go upstream on this occasion.
func (h headers) forward(use headerUse) map[string][]string {
	out := make(map[string][]string, len(h))
	for name, v := range h {
		u := headerUses[name]
		if strings.HasPrefix(name, metaPrefix) {
			u = useCreate
		}
		if u&use == 0 {
			continue
		}
		if name == "Content-Encoding" {
			if v = withoutChunked(v); v == "" {
				continue
			}
		}
		out[name] = []string{v}
	}
	return out
}

// withoutChunked drops aws-chunked, which ends at this gateway.
func withoutChunked(v string) string {
	var keep []string
	for part := range strings.SplitSeq(v, ",") {
		if part = strings.TrimSpace(part); part != "" && !strings.EqualFold(part, "aws-chunked") {
			keep = append(keep, part)
		}
	}
	return strings.Join(keep, ",")
}

// headerOf gives the single value of a header, or "".
func headerOf(h map[string][]string, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}
