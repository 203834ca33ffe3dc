package s3_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// seeds reads the files of one target; a target without seeds proves nothing
// and fails.
func seeds(f *testing.F, folder string) []string {
	f.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", folder, "*"))
	if err != nil || len(names) == 0 {
		f.Fatalf("no seeds in testdata/%s: %v", folder, err)
	}
	var all []string
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, strings.TrimSuffix(string(b), "\n"))
	}
	return all
}

// safe fails on a key that any store could resolve to another.
func safe(t *testing.T, key string) {
	t.Helper()
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "." || segment == ".." {
			t.Fatalf("the key %q has a dot segment", key)
		}
	}
	if strings.ContainsRune(key, 0) {
		t.Fatalf("the key %q holds NUL", key)
	}
}

// FuzzCopySource: what is accepted is safe, and what we send on means the same.
func FuzzCopySource(f *testing.F) {
	for _, s := range seeds(f, "copysource") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, v string) {
		s, err := s3.ParseCopySource(v)
		if err != nil {
			return
		}
		safe(t, s.Key)
		again, err := s3.ParseCopySource(s.Header())
		if err != nil || *again != *s {
			t.Fatalf("%q reads as %v, but %q as %v, %v", v, s, s.Header(), again, err)
		}
	})
}

// FuzzRequest: every operation has checks, on the bucket and key it names; none
// lets a dot segment through; nothing but known headers goes on.
func FuzzRequest(f *testing.F) {
	for _, s := range seeds(f, "requests") {
		method, rest, _ := strings.Cut(s, " ")
		target, header, _ := strings.Cut(rest, "\n")
		name, value, _ := strings.Cut(header, ": ")
		f.Add(method, target, name, value, false)
		f.Add(method, target, name, value, true)
	}
	f.Fuzz(func(t *testing.T, method, raw, name, value string, presigned bool) {
		target, err := sigv4.ParseTarget(raw)
		if err != nil {
			return
		}
		r := &s3.Request{Method: method, Host: "h", Target: target, Header: map[string][]string{name: {value}}, Presigned: presigned}
		o, err := s3.Parse(r, nil)
		if err != nil {
			return
		}
		late := o.Name == s3.DeleteObjects || o.Name == s3.PutObjectTagging
		if len(o.Checks) == 0 != late {
			t.Fatalf("%s %s: %s has %d checks", method, raw, o.Name, len(o.Checks))
		}
		for _, c := range o.Checks {
			main := c.Bucket == o.Bucket && c.Key == o.Key
			source := o.Source != nil && c.Bucket == o.Source.Bucket && c.Key == o.Source.Key
			if c.Action == "" || !main && !source {
				t.Fatalf("%s %s: %s asks %v", method, raw, o.Name, c)
			}
		}
		safe(t, o.Key)
		safe(t, o.Param("prefix"))
		for h := range o.Header {
			if h == "Authorization" || h == "Cookie" || h == "X-Amz-Security-Token" || h == "Host" {
				t.Fatalf("%s goes upstream", h)
			}
		}
		for _, q := range o.Query {
			if sigv4.CredentialParam(q.Name) {
				t.Fatalf("%s goes upstream", q.Name)
			}
		}
		if o.CheckKeys(s3.Filesystem) == nil && (strings.Contains(o.Key, "//") || strings.HasPrefix(o.Key, "/")) {
			t.Fatalf("%q is accepted on a disk", o.Key)
		}
	})
}

// FuzzXML: documents of clients and stores are read or refused, and what is
// read of a batch is what is written on.
func FuzzXML(f *testing.F) {
	for _, s := range seeds(f, "xml") {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s3.ReadError(body)
		_, _, _ = s3.Completed(body, "l")
		_, _, _ = s3.ReadBuckets(body)
		_, _ = s3.HasTags(body)
		if out, err := s3.ReadComplete(body); err == nil {
			if again, err := s3.ReadComplete(out); err != nil || !bytes.Equal(again, out) {
				t.Fatalf("%q is written as %q, that as %q: %v", body, out, again, err)
			}
		}
		d, err := s3.ReadDeletes(body)
		if err != nil {
			return
		}
		out, err := d.XML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := s3.ReadDeletes(out)
		if err != nil || len(again.Objects) != len(d.Objects) {
			t.Fatalf("%q is written as %q: %v", body, out, err)
		}
		for i, o := range d.Objects {
			if again.Objects[i] != o {
				t.Fatalf("%v is written as %v", o, again.Objects[i])
			}
		}
	})
}
