package s3

import (
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// Source is what a copy reads.
type Source struct{ Bucket, Key, VersionID string }

// ParseCopySource reads x-amz-copy-source: [/]bucket/key[?versionId=id], URL
// encoded (CopyObject, "x-amz-copy-source"). Access points are refused.
func ParseCopySource(v string) (*Source, error) {
	if strings.HasPrefix(v, "arn:") {
		return nil, notImplemented("x-amz-copy-source with an ARN")
	}
	path, version := v, ""
	// The key itself may hold an encoded question mark, never a raw one.
	if i := strings.IndexByte(v, '?'); i >= 0 {
		var ok bool
		path = v[:i]
		if version, ok = strings.CutPrefix(v[i:], "?versionId="); !ok {
			return nil, badSource("encoding", v)
		}
		if version, ok = sigv4.Unescape(version, false); !ok {
			return nil, badSource("encoding", v)
		}
		if err := checkID("InvalidArgument", version); err != nil {
			return nil, err
		}
	}
	path, ok := sigv4.Unescape(path, false)
	if !ok {
		return nil, badSource("encoding", v)
	}
	// Some clients encode the separator too, and some stores decode first and
	// look for it then. A key of that text can't be copied, since it could be read
	// as another one's version.
	if path, inner, found := strings.Cut(path, "?versionId="); found {
		if version != "" {
			return nil, badSource("encoding", v)
		}
		if err := checkID("InvalidArgument", inner); err != nil {
			return nil, err
		}
		return source(path, inner)
	}
	return source(path, version)
}

// source holds what was decoded to the rules of buckets and keys.
func source(path, version string) (*Source, error) {
	bucket, key, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if err := noBucket(bucket); err != nil {
		return nil, err
	}
	if CheckBucketName(bucket) != nil {
		return nil, badSource("bucket name", path)
	}
	if !ok || key == "" {
		return nil, badSource("object key", "")
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	return &Source{Bucket: bucket, Key: key, VersionID: version}, nil
}

// badSource names the part of x-amz-copy-source that can't be read: the
// encoding, the bucket name or the object key.
func badSource(part, value string) error {
	return fault.Coded(fault.Invalid, "InvalidArgument", "Invalid copy source "+part).With("ArgumentName", "x-amz-copy-source").With("ArgumentValue", value)
}

// Header gives the value to send upstream: encoded anew from what was decided.
func (s *Source) Header() string {
	b := append([]byte{'/'}, s.Bucket...)
	b = append(b, '/')
	b = sigv4.AppendEscaped(b, s.Key, true)
	if s.VersionID != "" {
		b = append(b, "?versionId="...)
		b = sigv4.AppendEscaped(b, s.VersionID, false)
	}
	return string(b)
}

func (s *Source) check() Check {
	c := Check{Action: "s3:GetObject", Bucket: s.Bucket, Key: s.Key}
	if s.VersionID != "" {
		c.Action = "s3:GetObjectVersion"
		c.Context = []Value{{"s3:versionid", []string{s.VersionID}}}
	}
	return c
}
