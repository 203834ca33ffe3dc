package s3

import (
	"strings"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/fault"
)

// Keys says how an upstream treats keys.
type Keys int

// The two kinds of upstreams. The zero value is the stricter one.
const (
	// Filesystem keys are paths on a disk: the store folds some different keys
	// into one, so those are refused before any policy sees them.
	Filesystem Keys = iota
	// Literal keys are just bytes.
	Literal
)

const (
	maxKey     = 1024
	maxSegment = 255 // bytes of a file name
	// reserved is what the embedded store keeps for itself: its folder of
	// unfinished uploads is this, and names holding it are being renamed.
	reserved = ".sgwtmp"
)

// CheckBucketName holds S3's rules for general purpose buckets, but that two
// characters do: stores on premises have such buckets, and clients send them.
func CheckBucketName(name string) error {
	bad := len(name) < 2 || len(name) > 63 || !alnum(name[0]) || !alnum(name[len(name)-1]) ||
		strings.Contains(name, "..") || strings.HasPrefix(name, "xn--") || ipv4(name)
	for i := 0; i < len(name) && !bad; i++ {
		bad = !alnum(name[i]) && name[i] != '-' && name[i] != '.'
	}
	if bad {
		return fault.Coded(fault.Invalid, "InvalidBucketName", "The specified bucket is not valid.")
	}
	return nil
}

// noBucket names what stands where a bucket's name is expected and is none:
// ARNs, and names that AWS reserves for other things than buckets (S3 User
// Guide, "Bucket naming rules").
func noBucket(name string) error {
	switch {
	case strings.HasPrefix(name, "arn:"):
		return notImplemented("access points, Outposts and multi-region access points (an ARN in the place of a bucket)")
	case strings.HasSuffix(name, "-s3alias"), strings.HasSuffix(name, "--ol-s3"), strings.HasSuffix(name, ".mrap"):
		return notImplemented("access points (the alias " + clip(name) + " in the place of a bucket)")
	case strings.HasSuffix(name, "--x-s3"), strings.HasSuffix(name, "--xa-s3"):
		return notImplemented("directory buckets (S3 Express): " + clip(name))
	case strings.HasSuffix(name, "--table-s3"):
		return notImplemented("table buckets: " + clip(name))
	case name == "WriteGetObjectResponse":
		return notImplemented("WriteGetObjectResponse: there are no object lambdas")
	}
	return nil
}

func alnum(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// ipv4 reports four groups of digits: a name that could be taken for a host.
func ipv4(name string) bool {
	if strings.Count(name, ".") != 3 {
		return false
	}
	return strings.Trim(name, "0123456789.") == ""
}

// checkKey holds what no upstream may ever see: NUL and dot segments, which a
// store or a proxy might resolve, and what S3 itself refuses.
func checkKey(key string) error {
	if len(key) > maxKey {
		return fault.Coded(fault.Invalid, "KeyTooLongError", "Your key is too long.")
	}
	if !utf8.ValidString(key) || strings.IndexByte(key, 0) >= 0 {
		return badKey("it holds NUL or is not UTF-8")
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "." || segment == ".." {
			return badKey("it has a segment \".\" or \"..\"")
		}
	}
	return nil
}

// checkFilesystem refuses keys and prefixes that a store on a disk would fold
// into others, or that it keeps for itself.
func checkFilesystem(key string) error {
	if strings.HasPrefix(key, "/") || strings.Contains(key, "//") {
		return badKey("this store keeps keys as paths and can't tell it from the same key with single slashes")
	}
	for segment := range strings.SplitSeq(key, "/") {
		if len(segment) > maxSegment {
			return badKey("this store keeps keys as paths; a segment is longer than 255 bytes")
		}
		// Letter case too: should a disk fold it, the probe at start refuses
		// the store, but this name must not hang on that.
		if len(segment) >= len(reserved) && strings.Contains(strings.ToLower(segment), reserved) {
			return badKey("the name " + reserved + " is reserved by this store")
		}
	}
	return nil
}

func badKey(why string) error {
	return fault.Coded(fault.Invalid, "InvalidURI", "Couldn't parse the specified URI: the key or prefix can't be used: "+why)
}

// CheckKeys refuses an operation whose keys the upstream would not keep as they
// were decided. The gateway calls it before it asks for a decision.
func (o *Operation) CheckKeys(k Keys) error {
	if k == Literal {
		return nil
	}
	names := append([]string{o.Key}, o.positions...)
	if o.prefix != nil {
		names = append(names, *o.prefix)
	}
	if o.Source != nil {
		names = append(names, o.Source.Key)
	}
	for _, name := range names {
		if err := checkFilesystem(name); err != nil {
			return err
		}
	}
	// A lock on a folder would be forgotten, and a version of one found nowhere.
	if strings.HasSuffix(o.Key, "/") && (o.TouchesStored() || o.locks() || o.Param("versionId") != "") || o.Name == UploadPartCopy && strings.HasSuffix(o.Source.Key, "/") {
		return badKey("this store finds there what belongs to the same key without its last slash")
	}
	return nil
}

// TouchesStored reports whether the operation works on what is stored beside an
// object's content (its tags, its ETag), which a store on a disk may find under
// another key than was decided.
func (o *Operation) TouchesStored() bool {
	switch o.Name {
	case GetObjectTagging, PutObjectTagging, DeleteObjectTagging, GetObjectAttributes,
		GetObjectRetention, PutObjectRetention, GetObjectLegalHold, PutObjectLegalHold:
		return true
	case PutObject, CopyObject, CompleteMultipartUpload, DeleteObject:
		return o.Header["If-Match"] != nil || o.Header["X-Amz-If-Match-Size"] != nil || o.Header["X-Amz-If-Match-Last-Modified-Time"] != nil
	}
	return false
}

// checkID holds upload and version ids to a form that is never a path: stores
// use them as file names.
func checkID(code, id string) error {
	ok := id != "" && len(id) <= 1024 && id[0] != '.'
	for i := 0; i < len(id) && ok; i++ {
		c := id[i]
		ok = alnum(c) || c >= 'A' && c <= 'Z' || strings.IndexByte("-_.~=+", c) >= 0
	}
	if ok {
		return nil
	}
	if code == "NoSuchUpload" {
		return fault.Coded(fault.NotFound, code, "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.")
	}
	return fault.Coded(fault.Invalid, code, "Invalid version id specified")
}
