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
		"no ETag":       strings.Replace(good, "<ETag>f</ETag>", "", 1),
		"no number":     strings.Replace(good, "<PartNumber>2</PartNumber>", "", 1),
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

// Some stores decode x-amz-copy-source first and look for a version then. A key
// that spells one must not be decided as a key and read as a version.
func TestAttackVersionInsideACopySource(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"/hr/x%3FversionId%3Dv":             "s3:GetObjectVersion hr/x versionid=v",
		"%2Fhr%2Fx%3FversionId%3Dv":         "s3:GetObjectVersion hr/x versionid=v",
		"/hr/x?versionId=v":                 "s3:GetObjectVersion hr/x versionid=v",
		"/hr/x%3FversionId%3D..%2Fy":        "",
		"/hr/x%3FversionId%3D":              "",
		"/hr/x%3FversionId%3Da?versionId=b": "",
	} {
		o, err := s3.Parse(request(t, "PUT /sales/k", "X-Amz-Copy-Source: "+header), nil)
		switch {
		case want == "":
			if err == nil {
				t.Errorf("%s was accepted: %s", header, describe(o))
			}
		case err != nil:
			t.Errorf("%s: %v", header, err)
		case !strings.HasSuffix(describe(o), want) || o.Header["X-Amz-Copy-Source"][0] != "/hr/x?versionId=v":
			t.Errorf("%s: %s, sent as %v", header, describe(o), o.Header["X-Amz-Copy-Source"])
		}
	}
}

// Tags go on as they were decided, not as they were written: a parser with other
// separators would find more in them.
func TestAttackTagsThatAnotherParserReadsOtherwise(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"a=1;b=2": "a=1%3Bb%3D2", "a=1&&b=+2": "a=1&b=%202", "&": "", "a": "a=", "a=b=c": "a=b%3Dc", "a=%26b%3D2": "a=%26b%3D2",
	} {
		o, err := s3.Parse(request(t, "PUT /sales/k", "X-Amz-Tagging: "+header), nil)
		if err != nil || o.Header["X-Amz-Tagging"][0] != want {
			t.Errorf("%s: %v, %v", header, o, err)
		}
	}
}

// Every header that gives, takes or lifts a right asks for a permission of its
// own wherever it goes upstream: none goes unasked.
func TestAttackHeaderThatChangesRightsUnasked(t *testing.T) {
	t.Parallel()
	rights := map[string]struct{ value, action string }{
		"X-Amz-Acl":                           {"private", "Acl"},
		"X-Amz-Tagging":                       {"a=1", "ObjectTagging"},
		"X-Amz-Object-Lock-Legal-Hold":        {"ON", "s3:PutObjectLegalHold"},
		"X-Amz-Bypass-Governance-Retention":   {"true", "s3:BypassGovernanceRetention"},
		"X-Amz-Bucket-Object-Lock-Enabled":    {"true", "s3:PutBucketObjectLockConfiguration"},
		"X-Amz-Object-Ownership":              {"BucketOwnerEnforced", "s3:PutBucketOwnershipControls"},
		"X-Amz-Copy-Source":                   {"/hr/x", "s3:GetObject hr/x"},
		"If-Match":                            {"e", "s3:GetObject"},
		"X-Amz-If-Match-Size":                 {"1", "s3:GetObject"},
		"X-Amz-If-Match-Last-Modified-Time":   {"Wed, 21 Oct 2026 07:28:00 GMT", "s3:GetObject"},
		"X-Amz-Server-Side-Encryption":        {"aws:kms", "x-amz-server-side-encryption=aws:kms"},
		"X-Amz-Storage-Class":                 {"GLACIER", "x-amz-storage-class=GLACIER"},
		"X-Amz-Website-Redirect-Location":     {"/x", "x-amz-website-redirect-location=/x"},
		"X-Amz-Object-Lock-Retain-Until-Date": {"2030-01-01T00:00:00Z", "s3:PutObjectRetention"},
	}
	lines := []string{
		"PUT /sales", "DELETE /sales", "GET /sales", "GET /sales?list-type=2", "POST /sales?delete", "GET /sales/k", "HEAD /sales/k", "PUT /sales/k", "DELETE /sales/k",
		"DELETE /sales/k?versionId=v", "POST /sales/k?uploads", "PUT /sales/k?partNumber=1&uploadId=u", "POST /sales/k?uploadId=u", "PUT /sales/k?retention",
		"PUT /sales/k?acl", "PUT /sales?acl", "PUT /sales/k?tagging", "GET /sales/k?acl", "PUT /sales/k?legal-hold", "PUT /sales?versioning",
	}
	for name, right := range rights {
		reached := false
		for _, line := range lines {
			headers := []string{name + ": " + right.value}
			if name == "X-Amz-Object-Lock-Retain-Until-Date" {
				headers = append(headers, "X-Amz-Object-Lock-Mode: COMPLIANCE")
			}
			o, err := s3.Parse(request(t, line, headers...), nil)
			if err != nil {
				continue // refused there
			}
			if o.Name == s3.DeleteObjects || o.Name == s3.PutObjectRetention {
				// Their checks come with the body.
				if o, err = late(t, o); err != nil {
					t.Fatal(err)
				}
			}
			_, sent := o.Header[name]
			asked := strings.Contains(describe(o), right.action)
			if sent && !asked && line[:3] != "GET" && line[:4] != "HEAD" {
				t.Errorf("%s with %s: %s", line, name, describe(o))
			}
			reached = reached || asked
		}
		if !reached {
			t.Errorf("%s is asked for nowhere", name)
		}
	}
}

// late adds the checks that come with a body.
func late(t *testing.T, o *s3.Operation) (*s3.Operation, error) {
	t.Helper()
	if o.Name == s3.DeleteObjects {
		one, err := o.Deletion(s3.Deletion{Key: "k"}, s3.Literal)
		one.Header = o.Header
		return one, err
	}
	_, err := o.ReadDocument([]byte("<Retention/>"), noon)
	return o, err
}
