package s3

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// Request is a verified request.
type Request struct {
	Method    string
	Host      string
	Target    sigv4.Target
	Header    map[string][]string // canonical names
	Presigned bool                // the credential stood in the query
	Now       time.Time           // what dates in the request are held against
}

// Parse reads the operation of a verified request. domains are the host names
// under which BUCKET.domain addresses a bucket (virtual-hosted style); all else
// is path style.
func Parse(r *Request, domains []string) (*Operation, error) {
	bucket, key, err := address(r, domains)
	if err != nil {
		return nil, err
	}
	h, err := gatherHeaders(r)
	if err != nil {
		return nil, err
	}
	at := onObject
	switch {
	case bucket == "":
		at = onService
	case key == "":
		at = onBucket
	}
	_, copying := h["X-Amz-Copy-Source"]
	row, err := findRoute(r.Method, at, r.Target.Query, copying)
	if err != nil {
		return nil, err
	}
	return row.operation(bucket, key, h, r)
}

// operation reads what the row's operation is asked to do.
func (row *route) operation(bucket, key string, h headers, r *Request) (*Operation, error) {
	var err error
	o := &Operation{Name: row.name, Bucket: bucket, Key: key, Body: row.body, MaxBody: row.maxBody, Answered: row.answered, Header: h.forward(row.headers)}
	if source, copying := h["X-Amz-Copy-Source"]; copying {
		if o.Source, err = ParseCopySource(source); err != nil {
			return nil, err
		}
		o.Header["X-Amz-Copy-Source"] = []string{o.Source.Header()}
	}
	if err := o.chosenEncryption(h, row.headers); err != nil {
		return nil, err
	}
	o.StorageClass = headerOf(o.Header, "X-Amz-Storage-Class")
	if o.Query, err = row.forwardQuery(r.Target.Query, r.Presigned); err != nil {
		return nil, err
	}
	o.noVersion()
	for _, step := range []func(headers) error{o.readBody, o.readOwners, o.readParams, o.readNamed} {
		if err := step(h); err != nil {
			return nil, err
		}
	}
	if err := o.readChecks(h, r.Now); err != nil {
		return nil, err
	}
	return o, nil
}

// address finds bucket and key, decoded once.
func address(r *Request, domains []string) (bucket, key string, err error) {
	path, ok := sigv4.Unescape(r.Target.RawPath, false)
	if !ok {
		return "", "", badKey("its percent encoding is broken")
	}
	path = path[1:]
	if bucket = HostBucket(r.Host, domains); bucket != "" {
		key = path
	} else {
		if path == "" {
			return "", "", nil
		}
		bucket, key, _ = strings.Cut(path, "/")
	}
	if err := noBucket(bucket); err != nil {
		return "", "", err
	}
	if err := CheckBucketName(bucket); err != nil {
		return "", "", err
	}
	return bucket, key, checkKey(key)
}

// HostBucket gives the bucket that a virtual host names, "" for path style.
// Letter case of host and domains does not count.
func HostBucket(host string, domains []string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return ""
	}
	if slices.ContainsFunc(domains, func(d string) bool { return strings.EqualFold(d, host) }) {
		return ""
	}
	for _, d := range domains {
		if bucket, ok := strings.CutSuffix(host, "."+strings.ToLower(d)); ok {
			return bucket
		}
	}
	return ""
}

// readBody reads what the headers say of the body.
func (o *Operation) readBody(h headers) error {
	o.DecodedLength = -1
	if v, ok := h["X-Amz-Decoded-Content-Length"]; ok {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 || v[0] == '+' {
			return fault.Coded(fault.Invalid, "MissingContentLength", "You must provide the Content-Length HTTP header.")
		}
		o.DecodedLength = n
	}
	if v, ok := h["X-Amz-Trailer"]; ok {
		var err error
		if o.Trailer, err = sigv4.TrailerAlgorithm(v); err != nil {
			return err
		}
	}
	if v, ok := h["Content-Md5"]; ok {
		if err := o.checksum(sigv4.ContentMD5, v); err != nil {
			return err
		}
		if o.locks() {
			o.Header["Content-Md5"] = []string{v} // stores demand a digest of what they lock
		}
	}
	if o.Name == CompleteMultipartUpload {
		return nil // its checksums are of the object, not of the body
	}
	return o.readChecksum(h)
}

// checksumAlgorithms are those of S3's checksum headers.
var checksumAlgorithms = []string{"crc32", "crc32c", "crc64nvme", "md5", "sha1", "sha256", "sha512", "xxhash3", "xxhash64", "xxhash128"}

// readChecksum reads the one checksum of the content, in a header or announced
// for the trailer.
func (o *Operation) readChecksum(h headers) error {
	given, found, value := o.Trailer, 0, ""
	if given != "" {
		found = 1
	}
	for _, algorithm := range checksumAlgorithms {
		if v, ok := h["X-Amz-Checksum-"+strings.ToUpper(algorithm[:1])+algorithm[1:]]; ok {
			given, value = algorithm, v
			found++
		}
	}
	if found > 1 {
		return fault.Coded(fault.Invalid, "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
	}
	if meant := h["X-Amz-Sdk-Checksum-Algorithm"]; meant != "" && found == 1 && !strings.EqualFold(meant, given) {
		return fault.Coded(fault.Invalid, "InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")
	}
	if found == 0 || o.Trailer != "" {
		return nil
	}
	return o.checksum(given, value)
}

func (o *Operation) checksum(algorithm, value string) error {
	c, err := sigv4.ParseChecksum(algorithm, value)
	if err != nil {
		return err
	}
	o.Checksums = append(o.Checksums, c)
	return nil
}

func (o *Operation) readOwners(h headers) error {
	o.BucketOwner, o.SourceOwner = h["X-Amz-Expected-Bucket-Owner"], h["X-Amz-Source-Expected-Bucket-Owner"]
	for _, owner := range []string{o.BucketOwner, o.SourceOwner} {
		if owner != "" && !arn.IsAccount(owner) {
			return invalid("The value of the expected bucket owner parameter must be an AWS Account ID")
		}
	}
	return nil
}

// numbers are the parameters that must be one, with the least and the most.
var numbers = map[string][2]int64{
	"max-keys": {0, 1<<31 - 1}, "max-uploads": {0, 1<<31 - 1}, "max-parts": {0, 1<<31 - 1},
	"part-number-marker": {0, 1<<31 - 1}, "partNumber": {1, 10000}, "list-type": {2, 2}, "max-buckets": {1, 10000},
}

// readParams holds the parameters that go upstream to their form.
func (o *Operation) readParams(headers) error {
	for i, q := range o.Query {
		if bounds, ok := numbers[q.Name]; ok {
			n, err := strconv.ParseInt(q.Value, 10, 64)
			if err != nil || n < bounds[0] || n > bounds[1] {
				if q.Name == "partNumber" {
					return invalid("Part number must be an integer between 1 and 10000, inclusive.")
				}
				return invalid("Argument " + q.Name + " must be an integer between " + strconv.FormatInt(bounds[0], 10) + " and " + strconv.FormatInt(bounds[1], 10) + ".")
			}
			continue
		}
		var err error
		switch q.Name {
		case "prefix":
			o.prefix, err = &o.Query[i].Value, checkKey(q.Value)
		case "marker", "start-after", "key-marker":
			o.positions = append(o.positions, q.Value)
			err = checkKey(q.Value)
		case "uploadId":
			err = checkID("NoSuchUpload", q.Value)
		case "versionId":
			err = checkID("InvalidArgument", q.Value)
		case "upload-id-marker", "version-id-marker":
			if q.Value != "" {
				err = checkID("InvalidArgument", q.Value)
			}
		case "encoding-type":
			if q.Value != "url" {
				err = invalid("Invalid Encoding Method specified in Request")
			}
		case "response-cache-control", "response-content-disposition", "response-content-encoding", "response-content-language", "response-content-type", "response-expires":
			if strings.ContainsFunc(q.Value, control) {
				// The store writes it into its answer's head; a line break there
				// would end one answer and begin another.
				err = invalid("The parameter " + q.Name + " holds a control character")
			}
		case "continuation-token":
			if len(q.Value) > 4096 || strings.IndexByte(q.Value, 0) >= 0 {
				err = invalid("The continuation token provided is incorrect")
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// noVersion drops an empty versionId where it means none. (Of a read S3 refuses
// it, and so do we: it asks for a version and names none.)
func (o *Operation) noVersion() {
	if o.Name != GetObject && o.Name != HeadObject {
		o.Query = slices.DeleteFunc(o.Query, func(q sigv4.Param) bool { return q.Name == "versionId" && q.Value == "" })
	}
}

func invalid(message string) error {
	return fault.Coded(fault.Invalid, "InvalidArgument", message)
}
