package s3_test

import (
	"bytes"
	"testing"

	"carnet.dev/carnet/internal/protocol/s3"
)

// documentLines are the operations that read a small body.
var documentLines = []string{
	"PUT /sales/k?tagging", "PUT /sales?tagging", "PUT /sales?versioning", "PUT /sales?object-lock", "PUT /sales?encryption",
	"PUT /sales/k?retention", "PUT /sales/k?legal-hold", "PUT /sales?acl", "PUT /sales/k?acl", "PUT /sales?ownershipControls",
	"PUT /sales?publicAccessBlock", "PUT /sales?requestPayment", "PUT /sales?accelerate", "PUT /sales?abac", "PUT /sales?logging", "PUT /sales?notification",
}

// FuzzDocument: what is read of a document is what is written on, and each
// operation that has read one asks for something.
func FuzzDocument(f *testing.F) {
	for _, body := range append(seeds(f, "documents"), seeds(f, "xml")...) {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, line := range documentLines {
			out, ok := readDocument(t, line, body)
			if !ok || len(out) == 0 {
				continue
			}
			again, ok := readDocument(t, line, out)
			if !ok || !bytes.Equal(again, out) {
				t.Fatalf("%s: %q is written as %q, that as %q", line, body, out, again)
			}
		}
		o, err := s3.Parse(request(t, "PUT /sales"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if out, region, err := s3.ReadCreateBucketIn(body, "eu-west-1"); err == nil && len(out) > 0 {
			if again, same, err := s3.ReadCreateBucketIn(out, region); err != nil || same != region || !bytes.Equal(again, out) {
				t.Fatalf("%q is written as %q, that as %q: %v", body, out, again, err)
			}
			if !s3.IsRegion(region) {
				t.Fatalf("%q names the region %q", body, region)
			}
		}
		if out, err := o.ReadCreateBucket(body, "eu-west-1"); err == nil && bytes.Contains(out, []byte("LocationConstraint>")) {
			t.Fatalf("%q tells the store a place: %q", body, out)
		}
	})
}

func readDocument(t *testing.T, line string, body []byte) ([]byte, bool) {
	t.Helper()
	r := request(t, line)
	r.Now = noon
	o, err := s3.Parse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := o.ReadDocument(body, noon)
	if err == nil && len(o.Checks) == 0 {
		t.Fatalf("%s %q: nothing is asked", line, body)
	}
	return out, err == nil
}
