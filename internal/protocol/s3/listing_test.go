package s3_test

import (
	"bytes"
	"encoding/xml"
	"io"
	"net/url"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/protocol/s3"
)

// plainListing is a page as a store writes it that does not know encoding-type.
func plainListing(t testing.TB, keys ...string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(xml.Header + `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>sales</Name><Prefix></Prefix><Delimiter>/</Delimiter>`)
	for _, key := range keys {
		b.WriteString("<Contents><Key>")
		if err := xml.EscapeText(&b, []byte(key)); err != nil {
			t.Fatal(err)
		}
		b.WriteString("</Key><ETag>&#34;e&#34;</ETag><Owner><ID>a&amp;b</ID></Owner></Contents>")
	}
	b.WriteString("<CommonPrefixes><Prefix>a &amp; b/</Prefix></CommonPrefixes></ListBucketResult>")
	return b.String()
}

type listed struct {
	XMLName      xml.Name
	Prefix       string
	Delimiter    string
	EncodingType string
	Contents     []struct {
		Key, ETag string
		Owner     struct{ ID string }
	}
	CommonPrefixes []struct{ Prefix string }
}

func TestKeysOfAListingAreEncoded(t *testing.T) {
	t.Parallel()
	keys := []string{"a b+c", "percent%41%2F", "amper&sand", `quotes'"`, "<angle>", "ünïcödé/日本語", "emoji🦊", "line\nbreak\ttab\rreturn", "~-._*()!"}
	plain := plainListing(t, keys...)
	out, err := s3.EncodeListing([]byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	for _, empty := range []string{"<EncodingType></EncodingType>", "<EncodingType/>"} {
		if same, err := s3.EncodeListing([]byte(strings.Replace(plain, "<Delimiter>", empty+"<Delimiter>", 1))); err != nil || string(same) != string(out) {
			t.Errorf("with %s: %v\n%s", empty, err, same)
		}
	}
	var l listed
	if err := xml.Unmarshal(out, &l); err != nil || l.EncodingType != "url" || l.Delimiter != "/" || l.Prefix != "" || len(l.Contents) != len(keys) {
		t.Fatalf("%v\n%s", err, out)
	}
	for i, key := range keys {
		got := l.Contents[i]
		// Both ways of decoding give the key: a plus means itself to the one,
		// a space to the other, so there is none.
		for name, decode := range map[string]func(string) (string, error){"path": url.PathUnescape, "query": url.QueryUnescape} {
			if back, err := decode(got.Key); err != nil || back != key {
				t.Errorf("%q is %q, by %s %q (%v)", key, got.Key, name, back, err)
			}
		}
		if got.ETag != `"e"` || got.Owner.ID != "a&b" {
			t.Errorf("what stands beside %q changed: %+v", key, got)
		}
	}
	if l.CommonPrefixes[0].Prefix != "a%20%26%20b/" {
		t.Errorf("prefix %q", l.CommonPrefixes[0].Prefix)
	}
}

func TestListingThatIsEncodedAlready(t *testing.T) {
	t.Parallel()
	body := strings.Replace(plainListing(t, "a%20b"), "<Delimiter>", "<EncodingType>url</EncodingType><Delimiter>", 1)
	if out, err := s3.EncodeListing([]byte(body)); err != nil || string(out) != body {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestListingThatCantBeRead(t *testing.T) {
	t.Parallel()
	good := plainListing(t, "k")
	for name, body := range map[string]string{
		"nothing": "", "no end": strings.TrimSuffix(good, "</ListBucketResult>"), "cut in a tag": good[:len(good)-3], "cut in a key": good[:strings.Index(good, "</Key>")],
		"a DTD":          strings.Replace(good, "<ListBucketResult", "<!DOCTYPE x><ListBucketResult", 1),
		"CDATA":          strings.Replace(good, ">k<", "><![CDATA[k]]><", 1),
		"unknown entity": strings.Replace(good, ">k<", ">&k;<", 1), "half an entity": strings.Replace(good, ">k<", ">&amp<", 1),
		"no character": strings.Replace(good, ">k<", ">&#xD800;<", 1), "too large a number": strings.Replace(good, ">k<", ">&#99999999;<", 1),
		"element in a key": strings.Replace(good, ">k<", "><b>k</b><", 1), "no text": strings.Replace(good, ">k<", ">\xff<", 1),
	} {
		if out, err := s3.EncodeListing([]byte(body)); err == nil {
			t.Errorf("%s: written anew as %s", name, out)
		}
	}
}

func FuzzEncodeListing(f *testing.F) {
	f.Add([]byte(plainListing(f, "a b+c", "<&>'")))
	f.Add([]byte(strings.Replace(plainListing(f, "k"), "<Delimiter>", "<EncodingType>url</EncodingType><Delimiter>", 1)))
	f.Add([]byte("<ListVersionsResult><Version><Key>&#x1F98A;</Key></Version></ListVersionsResult>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		out, err := s3.EncodeListing(body)
		if err != nil {
			return
		}
		var before, after listed
		if xml.Unmarshal(body, &before) != nil || !wellFormed(body) || before.EncodingType != "" || !strings.HasPrefix(before.XMLName.Local, "List") ||
			strings.Count(string(body), "</List") != 1 || strings.Contains(string(body), "\r") {
			return // not what a store writes
		}
		if err := xml.Unmarshal(out, &after); err != nil || after.EncodingType != "url" || len(after.Contents) != len(before.Contents) {
			t.Fatalf("%v\n%s\n%s", err, body, out)
		}
		for i, c := range before.Contents {
			if back, err := url.PathUnescape(after.Contents[i].Key); err == nil && back != c.Key && !strings.Contains(string(body), ":Key") {
				t.Fatalf("%q became %q", c.Key, after.Contents[i].Key)
			}
		}
	})
}

// wellFormed reads a document to its end: Unmarshal stops after the root.
func wellFormed(body []byte) bool {
	d := xml.NewDecoder(bytes.NewReader(body))
	for {
		if _, err := d.Token(); err != nil {
			return err == io.EOF
		}
	}
}

func BenchmarkEncodeListing(b *testing.B) {
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = "orders/year=2025/month=01/part-" + strings.Repeat("0", 20) + ".parquet"
	}
	body := []byte(plainListing(b, keys...))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s3.EncodeListing(body); err != nil {
			b.Fatal(err)
		}
	}
}
