package s3_test

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/multipart"
	"strings"
	"testing"
	"testing/iotest"

	"carnet.dev/carnet/internal/core/ascii"
	"carnet.dev/carnet/internal/protocol/s3"
)

// FuzzForm: what is read does not depend on how it arrives, and another reader
// of forms, the standard library's, takes it for the same fields and content.
func FuzzForm(f *testing.F) {
	for _, s := range []string{
		part("key", "a") + filePart("x", "v") + formEnd,
		part("Key", "up/${filename}") + part("policy", policyOf(`{"bucket":"sales"}`)) + filePart(`C:\a\"b`, "v\r\n--Xb") + formEnd,
		filePart("x", "") + formEnd + "epilogue",
		filePart("x", "v") + "\r\n" + part("submit", "go") + "--XbX--\r\n",
		part("key", "a\r\n--XbXX") + filePart("x", "v") + formEnd,
		"--XbX\r\nContent-Disposition: form-data; name=key; filename=a\r\n\r\n\r\n--XbX--\r\n",
		strings.ReplaceAll(filePart("x", "v")+formEnd, "\r\n", "\n"),
		"--XbX\r\ncontent-disposition:form-data;name=\"a\\\"b\"\r\nX: y\r\n\r\n1\r\n" + filePart("x", "v") + "\r\n--XbX--",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		form, content, err := readForm(t, body, int64(len(body)))
		slow, err2 := s3.ReadForm(formType, iotest.OneByteReader(strings.NewReader(body)), int64(len(body)))
		var again []byte
		if err2 == nil {
			if err2 = slow.Open(); err2 == nil {
				again, err2 = io.ReadAll(slow.File())
			}
		}
		if (err == nil) != (err2 == nil) || err == nil && string(again) != content {
			t.Fatalf("%v and %v", err, err2)
		}
		if err != nil {
			return
		}
		other := multipart.NewReader(strings.NewReader(body), "XbX")
		for {
			p, err := other.NextRawPart()
			if err != nil {
				t.Fatalf("another reader: %v", err)
			}
			value, err := io.ReadAll(p)
			if err != nil {
				t.Fatalf("another reader: %v", err)
			}
			name := ascii.Lower(p.FormName())
			if name == "file" {
				if string(value) != content {
					t.Fatalf("another reader has %q, this one %q", value, content)
				}
				return
			}
			if form.Get(name) != string(value) {
				t.Fatalf("another reader has %s %q, this one %q", name, value, form.Get(name))
			}
		}
	})
}

// FuzzFormPolicy: a policy that is read covers only what it names, and reads the
// same when its base64 is made anew.
func FuzzFormPolicy(f *testing.F) {
	for _, s := range []string{
		`{"expiration":"2026-03-01T13:00:00Z","conditions":[{"bucket":"sales"},["starts-with","$key",""],["content-length-range",1,10]]}`,
		`{"expiration":"2015-12-30T12:00:00.000Z","conditions":[{"bucket":"b"},["eq","$Content-Type","image/png"]]}`,
		`{"conditions":[],"conditions":[]}`, `[]`, `{"expiration":1}`, `{"expiration":"2026-03-01T13:00:00Z","conditions":[{"\u006bey":"a"}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		encoded := base64.StdEncoding.EncodeToString(document)
		p, err := s3.ParseFormPolicy(encoded)
		if err != nil {
			return
		}
		all := func(string) (string, bool) { return "", true }
		if !bytes.Contains(document, []byte("x-not-there")) && !bytes.Contains(document, []byte(`\`)) && p.Check([]string{"x-not-there"}, all, formNow) == nil {
			t.Fatal("a field that it does not name is covered")
		}
		if p.CheckSize(-1) == nil {
			t.Fatal("less than nothing is enough")
		}
	})
}
