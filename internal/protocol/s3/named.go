package s3

import (
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

// readNamed holds headers of single operations to their form.
func (o *Operation) readNamed(h headers) error {
	if err := o.readBypass(h); err != nil {
		return err
	}
	if v := headerOf(o.Header, "X-Amz-Website-Redirect-Location"); v != "" &&
		!strings.HasPrefix(v, "/") && !strings.HasPrefix(v, "http://") && !strings.HasPrefix(v, "https://") {
		return fault.Coded(fault.Invalid, "InvalidRedirectLocation", "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.")
	}
	switch o.Name {
	case CreateBucket:
		return o.readCreation(h)
	case GetObjectAttributes:
		return o.readAttributes()
	}
	return nil
}

// readCreation reads the headers of CreateBucket.
func (o *Operation) readCreation(h headers) error {
	const lock = "X-Amz-Bucket-Object-Lock-Enabled"
	switch v, ok := o.Header[lock]; {
	case !ok:
	case strings.EqualFold(v[0], "true"):
		o.Header[lock] = []string{"true"}
	case strings.EqualFold(v[0], "false"):
		delete(o.Header, lock)
	default:
		return invalid("x-amz-bucket-object-lock-enabled must be true or false")
	}
	switch v := h["X-Amz-Object-Ownership"]; v {
	case "", "BucketOwnerEnforced":
		o.ObjectOwnership = v
	case "BucketOwnerPreferred", "ObjectWriter":
		return notImplemented(settings[PutBucketOwnershipControls].not)
	default:
		return invalid("Invalid x-amz-object-ownership header: " + clip(v))
	}
	return nil
}

// readAttributes reads the headers of GetObjectAttributes.
func (o *Operation) readAttributes() error {
	wanted := headerOf(o.Header, "X-Amz-Object-Attributes")
	if wanted == "" {
		return fault.Coded(fault.Invalid, "InvalidRequest", "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty")
	}
	for name := range strings.SplitSeq(wanted, ",") {
		switch strings.TrimSpace(name) {
		case "ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize":
		default:
			return invalid("Invalid attribute name specified.")
		}
	}
	for _, name := range []string{"X-Amz-Max-Parts", "X-Amz-Part-Number-Marker"} {
		if v, ok := o.Header[name]; ok {
			if n, err := strconv.ParseInt(v[0], 10, 32); err != nil || n < 0 {
				return invalid(strings.ToLower(name) + " must be a number")
			}
		}
	}
	return nil
}
