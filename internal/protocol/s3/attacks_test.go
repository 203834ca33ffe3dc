package s3_test

import (
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
)

// Condition keys don't count letter case. Of two tags that differ in it alone a
// policy sees one, so the pair could carry a value past a Deny.
func TestTagHiddenBehindLetterCase(t *testing.T) {
	t.Parallel()
	for _, tags := range []string{"class=secret&Class=public", "Class=secret&class=public", "k=1&%E2%84%AA=2"} {
		if _, err := s3.Parse(request(t, "PUT /sales/k", "X-Amz-Tagging: "+tags), nil); err == nil || fault.Of(err).Code != "InvalidTag" {
			t.Errorf("%s: %v", tags, err)
		}
	}
	o, err := s3.Parse(request(t, "PUT /sales/k?tagging"), nil)
	if err != nil {
		t.Fatal(err)
	}
	body := "<Tagging><TagSet><Tag><Key>class</Key><Value>secret</Value></Tag><Tag><Key>CLASS</Key><Value>public</Value></Tag></TagSet></Tagging>"
	if _, err := o.ReadTagging([]byte(body)); err == nil {
		t.Error("a document with both was accepted")
	}
}

// A writer that may not read could try ETags until one fits, and so learn what
// an object holds.
func TestContentProbedByETagOfAWrite(t *testing.T) {
	t.Parallel()
	for line, reads := range map[string]bool{
		"PUT /sales/k": true, "DELETE /sales/k": true, "POST /sales/k?uploadId=u": true,
		"PUT /sales/k?partNumber=1&uploadId=u": false, // the header means nothing there
	} {
		for value, asked := range map[string]bool{`"d41d8cd98f00b204e9800998ecf8427e"`: reads, "*": false} {
			o, err := s3.Parse(request(t, line, "If-Match: "+value), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(describe(o), "s3:GetObject sales/k"); got != asked {
				t.Errorf("%s, If-Match: %s: %s", line, value, describe(o))
			}
		}
	}
	if _, err := s3.Parse(request(t, "PUT /sales/k", `If-None-Match: "e"`), nil); err == nil || fault.Of(err).Code != "NotImplemented" {
		t.Errorf("If-None-Match with an ETag on a write: %v", err)
	}
}

// A policy that demands conditional writes denies on s3:ObjectCreationOperation;
// an absent key would leave that Deny without effect.
func TestDenyOfUnconditionalWritesFindsItsKey(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"PUT /sales/k": "true", "POST /sales/k?uploadId=u": "true",
		"POST /sales/k?uploads": "false", "PUT /sales/k?partNumber=1&uploadId=u": "false",
	} {
		o, err := s3.Parse(request(t, line), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(describe(o), "ObjectCreationOperation="+want) {
			t.Errorf("%s: %s, want %s", line, describe(o), want)
		}
	}
}

func TestDocumentSmuggledToTheStore(t *testing.T) {
	t.Parallel()
	good := `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"e"</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part><Part><ETag>f</ETag><PartNumber>2</PartNumber></Part></CompleteMultipartUpload>`
	out, err := s3.ReadComplete([]byte(good))
	if err != nil || strings.Count(string(out), "<Part>") != 2 || !strings.Contains(string(out), "<ChecksumCRC32>AAAAAA==</ChecksumCRC32><ETag>&#34;e&#34;</ETag><PartNumber>1</PartNumber>") {
		t.Errorf("%s, %v", out, err)
	}
	for name, body := range map[string]string{
		"DTD":           `<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>` + strings.Replace(good, "f<", "&a;<", 1),
		"no parts":      "<CompleteMultipartUpload/>",
		"not a number":  strings.Replace(good, ">2<", ">two<", 1),
		"too many":      "<CompleteMultipartUpload>" + strings.Repeat("<Part><PartNumber>1</PartNumber><ETag>e</ETag></Part>", 10001) + "</CompleteMultipartUpload>",
		"another":       "<Delete><Object><Key>k</Key></Object></Delete>",
		"no XML at all": "",
	} {
		if out, err := s3.ReadComplete([]byte(body)); err == nil {
			t.Errorf("%s was sent on as %s", name, out)
		}
	}
	if out, err := s3.ReadComplete([]byte(strings.Replace(good, "<Part>", "<Owner>x</Owner><Part>", 1))); err != nil || strings.Contains(string(out), "Owner") {
		t.Errorf("an element of no meaning went on: %s, %v", out, err)
	}
}
