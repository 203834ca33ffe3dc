package s3_test

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// request reads "METHOD target" and "Header: value" lines.
func request(tb testing.TB, line string, headers ...string) *s3.Request {
	tb.Helper()
	method, raw, _ := strings.Cut(line, " ")
	target, err := sigv4.ParseTarget(raw)
	if err != nil {
		tb.Fatal(err)
	}
	r := &s3.Request{Method: method, Host: "127.0.0.1:8481", Target: target, Header: map[string][]string{}}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header[name] = append(r.Header[name], value)
	}
	return r
}

// describe writes an operation's checks as "action resource key=value …".
func describe(o *s3.Operation) string {
	var out []string
	for _, c := range o.Checks {
		line := c.Action + " " + strings.TrimPrefix(c.ARN(), "arn:aws:s3:::")
		var context []string
		for _, v := range c.Context {
			context = append(context, fmt.Sprintf("%s=%s", strings.TrimPrefix(v.Key, "s3:"), strings.Join(v.Values, "|")))
		}
		slices.Sort(context)
		out = append(out, strings.Join(append([]string{line}, context...), " "))
	}
	return string(o.Name) + ": " + strings.Join(out, "; ")
}

func TestOperationsAndTheirChecks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line    string
		headers []string
		want    string
	}{
		{"GET /", nil, "ListBuckets: s3:ListAllMyBuckets *"},
		{"PUT /sales", nil, "CreateBucket: s3:CreateBucket sales"},
		{"PUT /sales/", []string{"X-Amz-Acl: private"}, "CreateBucket: s3:CreateBucket sales x-amz-acl=private; s3:PutBucketAcl sales x-amz-acl=private"},
		{"DELETE /sales", nil, "DeleteBucket: s3:DeleteBucket sales"},
		{"HEAD /sales", nil, "HeadBucket: s3:ListBucket sales"},
		{"GET /sales?location", nil, "GetBucketLocation: s3:GetBucketLocation sales"},
		{"GET /sales", nil, "ListObjects: s3:ListBucket sales"},
		{"GET /sales?prefix=&delimiter=/&max-keys=5", nil, "ListObjects: s3:ListBucket sales delimiter=/ max-keys=5 prefix="},
		{"GET /sales?list-type=2&prefix=a%2Fb+c", nil, "ListObjectsV2: s3:ListBucket sales prefix=a/b c"},
		{"GET /sales?uploads&prefix=p", nil, "ListMultipartUploads: s3:ListBucketMultipartUploads sales prefix=p"},
		{"POST /sales?delete", nil, "DeleteObjects: "},
		{"GET /sales/a+b%20c%2Bd", nil, "GetObject: s3:GetObject sales/a+b c+d"},
		{"GET /sales/k", []string{"X-Amz-Te: append-md5"}, "GetObject: s3:GetObject sales/k"},
		{"GET /sales/k", []string{"X-Amz-Api-Version: 2006-03-01"}, "GetObject: s3:GetObject sales/k"},
		{"GET /sales/k?versionId=v1", nil, "GetObject: s3:GetObjectVersion sales/k versionid=v1"},
		{"GET /sales/k?partNumber=2&x-id=GetObject", []string{"If-Match: \"e\""}, "GetObject: s3:GetObject sales/k if-match=\"e\""},
		{"HEAD /sales/k", nil, "HeadObject: s3:GetObject sales/k"},
		{"PUT /sales/k", nil, "PutObject: s3:PutObject sales/k ObjectCreationOperation=true"},
		{"PUT /sales/k", []string{"X-Amz-Acl: bucket-owner-full-control", "X-Amz-Tagging: a=1&b%20=c", "X-Amz-Storage-Class: STANDARD", "If-None-Match: *"},
			"PutObject: s3:PutObject sales/k ObjectCreationOperation=true RequestObjectTag/a=1 RequestObjectTag/b =c RequestObjectTagKeys=a|b  if-none-match=* x-amz-acl=bucket-owner-full-control x-amz-storage-class=STANDARD; " +
				"s3:PutObjectTagging sales/k ObjectCreationOperation=true RequestObjectTag/a=1 RequestObjectTag/b =c RequestObjectTagKeys=a|b  if-none-match=* x-amz-acl=bucket-owner-full-control x-amz-storage-class=STANDARD; " +
				"s3:PutObjectAcl sales/k ObjectCreationOperation=true RequestObjectTag/a=1 RequestObjectTag/b =c RequestObjectTagKeys=a|b  if-none-match=* x-amz-acl=bucket-owner-full-control x-amz-storage-class=STANDARD"},
		{"PUT /sales/k", []string{"X-Amz-Copy-Source: /hr/a%20b", "X-Amz-Metadata-Directive: REPLACE"},
			"CopyObject: s3:PutObject sales/k ObjectCreationOperation=true x-amz-copy-source=hr/a b x-amz-metadata-directive=REPLACE; s3:GetObject hr/a b"},
		{"PUT /sales/k", []string{"X-Amz-Copy-Source: hr/x", "X-Amz-Object-Annotation-Directive: COPY"}, "CopyObject: s3:PutObject sales/k ObjectCreationOperation=true x-amz-copy-source=hr/x; s3:GetObject hr/x"},
		{"PUT /sales/k", []string{"X-Amz-Copy-Source: hr/x?versionId=v2"}, "CopyObject: s3:PutObject sales/k ObjectCreationOperation=true x-amz-copy-source=hr/x; s3:GetObjectVersion hr/x versionid=v2"},
		{"PUT /sales/k?partNumber=1&uploadId=u", []string{"X-Amz-Copy-Source: hr/x"}, "UploadPartCopy: s3:PutObject sales/k ObjectCreationOperation=false x-amz-copy-source=hr/x; s3:GetObject hr/x"},
		{"PUT /sales/k?partNumber=1&uploadId=u", nil, "UploadPart: s3:PutObject sales/k ObjectCreationOperation=false"},
		{"POST /sales/k?uploads", nil, "CreateMultipartUpload: s3:PutObject sales/k ObjectCreationOperation=false"},
		{"POST /sales/k?uploadId=u", nil, "CompleteMultipartUpload: s3:PutObject sales/k ObjectCreationOperation=true"},
		{"DELETE /sales/k?uploadId=u", nil, "AbortMultipartUpload: s3:AbortMultipartUpload sales/k"},
		{"GET /sales/k?uploadId=u", nil, "ListParts: s3:ListMultipartUploadParts sales/k"},
		{"DELETE /sales/k", nil, "DeleteObject: s3:DeleteObject sales/k"},
		{"DELETE /sales/k", []string{`If-Match: "e"`}, `DeleteObject: s3:DeleteObject sales/k if-match="e"; s3:GetObject sales/k`},
		{"DELETE /sales/k", []string{"If-Match: *"}, "DeleteObject: s3:DeleteObject sales/k if-match=*"},
		{"PUT /sales/k", []string{`If-Match: "e"`}, `PutObject: s3:PutObject sales/k ObjectCreationOperation=true if-match="e"; s3:GetObject sales/k`},
		{"POST /sales/k?uploadId=u", []string{`If-Match: "e"`}, `CompleteMultipartUpload: s3:PutObject sales/k ObjectCreationOperation=true if-match="e"; s3:GetObject sales/k`},
		{"DELETE /sales/k?versionId=v", nil, "DeleteObject: s3:DeleteObjectVersion sales/k versionid=v"},
		{"GET /sales/k?tagging", nil, "GetObjectTagging: s3:GetObjectTagging sales/k"},
		{"DELETE /sales/k?tagging&versionId=v", nil, "DeleteObjectTagging: s3:DeleteObjectVersionTagging sales/k versionid=v"},
		{"PUT /sales/k?tagging", nil, "PutObjectTagging: "},
	} {
		o, err := s3.Parse(request(t, c.line, c.headers...), nil)
		if err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		if got := describe(o); got != c.want {
			t.Errorf("%s\n have %s\n want %s", c.line, got, c.want)
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line, header, code string
	}{
		{"GET /UPPER/k", "", "InvalidBucketName"}, {"GET /a/k", "", "InvalidBucketName"}, {"GET /b_c/k", "", "InvalidBucketName"},
		{"GET /a..b/k", "", "InvalidBucketName"}, {"GET /1.2.3.4/k", "", "InvalidBucketName"}, {"GET //sales/k", "", "InvalidBucketName"},
		{"GET /-ab/k", "", "InvalidBucketName"}, {"GET /xn--a/k", "", "InvalidBucketName"}, {"GET /sales%2Fhr/k/..", "", "InvalidURI"},
		{"GET /" + strings.Repeat("b", 64), "", "InvalidBucketName"}, {"GET /../sales/k", "", "InvalidBucketName"},
		{"GET /sales/" + strings.Repeat("k", 1025), "", "KeyTooLongError"},
		{"GET /sales/%2e%2e/hr", "", "InvalidURI"}, {"GET /sales/a/%2E/b", "", "InvalidURI"}, {"GET /sales/%00", "", "InvalidURI"}, {"GET /sales/%zz", "", "InvalidURI"},
		{"GET /sales?max-keys=x", "", "InvalidArgument"}, {"GET /sales?max-keys=-1", "", "InvalidArgument"}, {"GET /sales?list-type=1", "", "InvalidArgument"},
		{"GET /sales/k?response-content-type=a%0d%0aSet-Cookie:b", "", "InvalidArgument"}, {"GET /sales/k?response-expires=%7f", "", "InvalidArgument"},
		{"GET /sales?encoding-type=base64", "", "InvalidArgument"}, {"PUT /sales/k?partNumber=0&uploadId=u", "", "InvalidArgument"},
		{"PUT /sales/k?partNumber=10001&uploadId=u", "", "InvalidArgument"}, {"PUT /sales/k?partNumber=1", "", "NotImplemented"},
		{"GET /sales/k?versionId=../x", "", "InvalidArgument"}, {"GET /sales/k?versionId=", "", "InvalidArgument"}, {"DELETE /sales/k?uploadId=.", "", "NoSuchUpload"},
		{"GET /sales/k", "X-Amz-Copy-Source: /hr/x", "InvalidRequest"}, {"DELETE /sales/k", "X-Amz-Copy-Source: /hr/x", "InvalidRequest"},
		{"POST /sales/k?uploads", "X-Amz-Copy-Source: /hr/x", "InvalidRequest"},
		{"PUT /sales/k", "X-Amz-Copy-Source: arn:aws:s3:us-east-1:1:accesspoint/x", "NotImplemented"}, {"PUT /sales/k", "X-Amz-Copy-Source: ", "InvalidArgument"},
		{"PUT /sales/k", "X-Amz-Copy-Source: /hr", "InvalidArgument"}, {"PUT /sales/k", "X-Amz-Copy-Source: /hr/x?acl", "InvalidArgument"},
		{"PUT /sales/k", "X-Amz-Copy-Source: /hr/%2e%2e/x", "InvalidURI"}, {"PUT /sales/k", "X-Amz-Copy-Source: %2Fhr%2F..%2Fx", "InvalidURI"},
		{"PUT /sales/k", "X-Amz-Copy-Source: //hr/x", "InvalidArgument"},
		{"PUT /sales/k", "X-Amz-Tagging: aws:x=1", "InvalidTag"}, {"PUT /sales/k", "X-Amz-Tagging: a=1&a=2", "InvalidArgument"}, {"PUT /sales/k", "X-Amz-Tagging: class=secret&Class=public", "InvalidTag"}, {"PUT /sales/k", "X-Amz-Tagging: k=1&%E2%84%AA=2", "InvalidTag"}, {"PUT /sales/k", "X-Amz-Tagging: a=%zz", "InvalidArgument"},
		{"PUT /sales/k", "X-Amz-Tagging: a=1&b=1&c=1&d=1&e=1&f=1&g=1&h=1&i=1&j=1&k=1", "BadRequest"}, {"PUT /sales/k", "X-Amz-Tagging-Directive: MAYBE", "InvalidArgument"},
		{"PUT /sales/k", "X-Amz-Decoded-Content-Length: -1", "MissingContentLength"}, {"PUT /sales/k", "X-Amz-Decoded-Content-Length: +1", "MissingContentLength"},
		{"PUT /sales/k", "X-Amz-Sdk-Checksum-Algorithm: CRC32\nX-Amz-Checksum-Sha1: 98O8HYCOBHMq32eZZczDTKeuNEE=", "InvalidRequest"},
		{"PUT /sales/k", "X-Amz-Checksum-Crc32: y/Q5Jg==\nX-Amz-Checksum-Crc32c: x", "InvalidRequest"}, {"PUT /sales/k", "X-Amz-Checksum-Xxhash32: x", "InvalidRequest"},
		{"PUT /sales/k", "X-Amz-Trailer: etag", "InvalidRequest"}, {"PUT /sales/k", "X-Amz-Checksum-Crc32: x", "InvalidRequest"},
		{"PUT /sales/k", "X-Amz-Expected-Bucket-Owner: me", "InvalidArgument"},
		{"PUT /sales/k", `If-None-Match: "e"`, "NotImplemented"},
		{"PUT /sales/k?x-amz-acl=private", "", "NotImplemented"}, {"GET /sales?unknown", "", "NotImplemented"}, {"GET /sales/k?X-Amz-Expires=5", "", "NotImplemented"},
		{"TRACE /sales/k", "", "MethodNotAllowed"},
	} {
		var headers []string
		if c.header != "" {
			headers = strings.Split(c.header, "\n")
		}
		_, err := s3.Parse(request(t, c.line, headers...), nil)
		if err == nil || fault.Of(err).Code != c.code {
			t.Errorf("%s %s: %v, want %s", c.line, c.header, err, c.code)
		}
	}
	// A header given twice is refused, other metadata is joined as it is signed.
	r := request(t, "PUT /sales/k", "If-Match: a", "If-Match: b")
	if _, err := s3.Parse(r, nil); err == nil {
		t.Error("a repeated If-Match was accepted")
	}
	o, err := s3.Parse(request(t, "PUT /sales/k", "X-Amz-Meta-A: 1", "X-Amz-Meta-A: 2", "Content-Encoding: aws-chunked,gzip", "Cookie: c", "X-Forwarded-For: f", "Authorization: a", "X-Amz-Security-Token: t"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(o.Header); got != "map[Content-Encoding:[gzip] X-Amz-Meta-A:[1,2]]" {
		t.Errorf("forwarded headers %s", got)
	}
}

func TestVirtualHosts(t *testing.T) {
	t.Parallel()
	domains := []string{"S3.example.com", "example.org"}
	for host, want := range map[string]string{
		"s3.example.com": "hr x", "s3.example.com:8481": "hr x", "sales.s3.example.com": "sales hr/x", "SALES.s3.example.com:443": "sales hr/x",
		"a.b.s3.example.com": "a.b hr/x", "sales.s3.example.com.": "sales hr/x", "127.0.0.1:1": "hr x", "[::1]:1": "hr x", "localhost": "hr x", "evils3.example.com": "hr x",
	} {
		r := request(t, "GET /hr/x")
		r.Host = host
		o, err := s3.Parse(r, domains)
		if err != nil {
			t.Errorf("%s: %v", host, err)
		} else if got := o.Bucket + " " + o.Key; got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}

func TestPresignedHeadersInTheQuery(t *testing.T) {
	t.Parallel()
	r := request(t, "PUT /sales/k?x-amz-tagging=a%3Db&X-Amz-Signature=s&x-amz-meta-who=me&x-id=PutObject")
	r.Presigned = true
	o, err := s3.Parse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Checks) != 2 || o.Header["X-Amz-Meta-Who"][0] != "me" || len(o.Query) != 0 {
		t.Errorf("%s %v %v", describe(o), o.Header, o.Query)
	}
	for _, line := range []string{"PUT /sales/k?x-amz-acl=public-read", "PUT /sales/k?x-amz-unknown=1", "PUT /sales/k?x-amz-meta-a=b%0d%0ac", "PUT /sales/k?x-amz-meta-a=%01", "PUT /sales/k?x-amz-meta-%20=b"} {
		r := request(t, line)
		r.Presigned = true
		if _, err := s3.Parse(r, nil); err == nil {
			t.Errorf("%s was accepted", line)
		}
	}
	r = request(t, "PUT /sales/k?x-amz-meta-a=1", "X-Amz-Meta-A: 2")
	r.Presigned = true
	if _, err := s3.Parse(r, nil); err == nil {
		t.Error("a header was accepted in header and query")
	}
}

func TestLiteralKeysKeepWhatADiskFolds(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"GET /sales/hr//x", "GET /sales//hr/x", "GET /sales/.sgwtmp/x", "GET /sales?prefix=a//", "GET /sales/" + strings.Repeat("s", 300), "GET /sales?marker=//"} {
		o, err := s3.Parse(request(t, line), nil)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if err := o.CheckKeys(s3.Literal); err != nil {
			t.Errorf("%s on a store with literal keys: %v", line, err)
		}
		if err := o.CheckKeys(s3.Filesystem); err == nil {
			t.Errorf("%s was accepted on a disk", line)
		}
	}
	o, err := s3.Parse(request(t, "GET /sales?prefix=a/b/&marker=a/b/c"), nil)
	if err != nil || o.CheckKeys(s3.Filesystem) != nil {
		t.Error("an ordinary prefix is refused")
	}
}

func TestDeletes(t *testing.T) {
	t.Parallel()
	d, err := s3.ReadDeletes([]byte(`<?xml version="1.0"?><Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Object><Key>a &amp; b</Key></Object><Object><Key>c</Key><VersionId>v</VersionId></Object><Quiet>true</Quiet></Delete>`))
	if err != nil || len(d.Objects) != 2 || !d.Quiet || d.Objects[0].Key != "a & b" {
		t.Fatalf("%v, %v", d, err)
	}
	out, err := d.XML()
	if err != nil || !strings.Contains(string(out), "<Key>a &amp; b</Key>") {
		t.Errorf("%s, %v", out, err)
	}
	batch, err := s3.Parse(request(t, "POST /sales?delete", "X-Amz-Bypass-Governance-Retention: true"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		d    s3.Deletion
		want string
	}{
		{s3.Deletion{Key: "a"}, "DeleteObject: s3:DeleteObject sales/a; s3:BypassGovernanceRetention sales/a"},
		{s3.Deletion{Key: "a", VersionID: "v"}, "DeleteObject: s3:DeleteObjectVersion sales/a versionid=v; s3:BypassGovernanceRetention sales/a versionid=v"},
		{s3.Deletion{Key: "a", ETag: "e"}, "DeleteObject: s3:DeleteObject sales/a if-match=e; s3:GetObject sales/a; s3:BypassGovernanceRetention sales/a if-match=e"},
		{s3.Deletion{Key: "a", VersionID: "v", Size: "5"}, "DeleteObject: s3:DeleteObjectVersion sales/a versionid=v; s3:GetObjectVersion sales/a versionid=v; s3:BypassGovernanceRetention sales/a versionid=v"},
		{s3.Deletion{Key: "a/", VersionID: "v"}, ""}, {s3.Deletion{Key: "a/", ETag: "e"}, ""},
		{s3.Deletion{Key: ""}, ""}, {s3.Deletion{Key: "a/../b"}, ""}, {s3.Deletion{Key: "a//b"}, ""}, {s3.Deletion{Key: "a", VersionID: "../v"}, ""},
	} {
		one, err := batch.Deletion(c.d, s3.Filesystem)
		if (err == nil) != (c.want != "") || err == nil && describe(one) != c.want {
			t.Errorf("%v: %s, %v", c.d, describe(one), err)
		}
	}
	many := "<Delete>" + strings.Repeat("<Object><Key>k</Key></Object>", 1001) + "</Delete>"
	for name, body := range map[string]string{
		"empty": "", "no objects": "<Delete></Delete>", "too many": many, "not XML": "{}", "DTD": `<!DOCTYPE Delete [<!ENTITY a "b">]><Delete><Object><Key>&a;</Key></Object></Delete>`,
		"two roots": "<Delete><Object><Key>a</Key></Object></Delete><Delete/>", "text after": "<Delete><Object><Key>a</Key></Object></Delete>x",
		"processing instruction": "<Delete><?php x?><Object><Key>a</Key></Object></Delete>", "other root": "<Remove><Object><Key>a</Key></Object></Remove>",
		"deep": strings.Repeat("<Delete>", 100) + strings.Repeat("</Delete>", 100), "empty condition": "<Delete><Object><Key>a</Key><ETag></ETag></Object></Delete>",
	} {
		if _, err := s3.ReadDeletes([]byte(body)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestErrorsHaveCodesAndStatuses(t *testing.T) {
	t.Parallel()
	for _, kind := range fault.Kinds() {
		e := s3.ErrorOf(fault.New(kind, "text"))
		if e.Code == "" || e.Status < 400 {
			t.Errorf("%v has no place on S3's wire: %+v", kind, e)
		}
	}
	e := s3.ErrorOf(fault.Coded(fault.Expired, "ExpiredToken", "The <token>").WithMend("sign in"))
	e.RequestID, e.Resource = "ID", "/b/k"
	if e.Status != 400 || !strings.Contains(string(e.XML()), "<Code>ExpiredToken</Code><Message>The &lt;token&gt; (sign in)</Message><Resource>/b/k</Resource><RequestId>ID</RequestId>") {
		t.Errorf("%d %s", e.Status, e.XML())
	}
	back, ok := s3.ReadError([]byte(`<Error><Code>NoSuchKey</Code><Message>m</Message><Key>k</Key><RequestId>theirs</RequestId><HostId>h</HostId><Server>10.0.0.7</Server><AWSAccessKeyId>AKSTORE</AWSAccessKeyId></Error>`))
	if !ok || back.Code != "NoSuchKey" || back.Status != 404 || len(back.Extra) != 1 || back.Extra[0].Value != "k" {
		t.Errorf("%+v, %v", back, ok)
	}
	if _, ok := s3.ReadError([]byte("<html>")); ok {
		t.Error("a page was taken for an error document")
	}
}

func TestBucketDocuments(t *testing.T) {
	t.Parallel()
	list := func(query string) string {
		o, err := s3.Parse(request(t, "GET /"+query), nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := o.ListBucketsXML([]s3.Bucket{{Name: "b", CreationDate: "d"}, {Name: "a"}, {Name: "bc"}}, "111122223333", "us-east-1")
		if err != nil {
			t.Fatal(err)
		}
		buckets, next, err := s3.ReadBuckets(b)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, x := range buckets {
			names = append(names, x.Name)
		}
		return strings.Join(names, ",") + " " + next
	}
	for query, want := range map[string]string{
		"": "a,b,bc ", "?prefix=b": "b,bc ", "?max-buckets=2": "a,b b", "?max-buckets=2&continuation-token=b": "bc ",
		"?bucket-region=eu-west-1": " ", "?bucket-region=us-east-1": "a,b,bc ",
	} {
		if got := list(query); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	for region, want := range map[string]string{"us-east-1": "></LocationConstraint>", "eu-west-1": ">eu-west-1</LocationConstraint>"} {
		if b, err := s3.LocationXML(region); err != nil || !strings.HasSuffix(string(b), want) {
			t.Errorf("%s: %s, %v", region, b, err)
		}
	}
	o, err := s3.Parse(request(t, "PUT /new-bucket"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.ReadCreateBucket([]byte("<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>"), "eu-west-1"); err != nil || describe(o) != "CreateBucket: s3:CreateBucket new-bucket locationconstraint=eu-west-1" {
		t.Errorf("%s, %v", describe(o), err)
	}
	for _, body := range []string{"<CreateBucketConfiguration><LocationConstraint>x</LocationConstraint></CreateBucketConfiguration>", "<CreateBucketConfiguration><Bucket><Type>Directory</Type></Bucket></CreateBucketConfiguration>", "x"} {
		if _, err := o.ReadCreateBucket([]byte(body), "eu-west-1"); err == nil {
			t.Errorf("%s was accepted", body)
		}
	}
}

func TestTagging(t *testing.T) {
	t.Parallel()
	o, err := s3.Parse(request(t, "PUT /sales/k?tagging&versionId=v"), nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := o.ReadTagging([]byte("<Tagging><TagSet><Tag><Key>a</Key><Value>&lt;1&gt;</Value></Tag></TagSet></Tagging>"))
	if err != nil || !strings.Contains(string(out), "<Value>&lt;1&gt;</Value>") {
		t.Errorf("%s, %v", out, err)
	}
	if got := describe(o); got != "PutObjectTagging: s3:PutObjectVersionTagging sales/k RequestObjectTag/a=<1> RequestObjectTagKeys=a versionid=v" {
		t.Error(got)
	}
	for _, body := range []string{"", "<Tagging>", "<Tagging><TagSet><Tag><Key></Key></Tag></TagSet></Tagging>", "<Tagging><TagSet>" + strings.Repeat("<Tag><Key>k</Key></Tag>", 2) + "</TagSet></Tagging>"} {
		if _, err := o.ReadTagging([]byte(body)); err == nil {
			t.Errorf("%q was accepted", body)
		}
	}
	for body, want := range map[string]bool{"<Tagging><TagSet></TagSet></Tagging>": false, "<Tagging><TagSet><Tag><Key>k</Key></Tag></TagSet></Tagging>": true} {
		if got, err := s3.HasTags([]byte(body)); got != want || err != nil {
			t.Errorf("%s: %v, %v", body, got, err)
		}
	}
}

func TestCompleted(t *testing.T) {
	t.Parallel()
	b, failed, err := s3.Completed([]byte(`<CompleteMultipartUploadResult xmlns="x"><Location>http://store/b/k</Location><Bucket>b</Bucket><Key>k&amp;</Key><ETag>"e-1"</ETag></CompleteMultipartUploadResult>`), "https://carnet/b/k")
	if err != nil || failed != nil {
		t.Fatal(failed, err)
	}
	var got struct{ Location, Bucket, Key, ETag string }
	if err := xml.Unmarshal(b, &got); err != nil || got.Location != "https://carnet/b/k" || got.Key != "k&" || got.ETag != `"e-1"` {
		t.Errorf("%s, %v", b, err)
	}
	if _, failed, err := s3.Completed([]byte("<Error><Code>InternalError</Code><Message>m</Message></Error>"), ""); err != nil || failed == nil || failed.Status != 500 {
		t.Errorf("an error document with status 200: %v, %v", failed, err)
	}
	if _, _, err := s3.Completed([]byte("nonsense"), ""); err == nil {
		t.Error("nonsense was passed on")
	}
}

// TestAbortUnderCondition: the one condition of an abort goes to the store, and
// means nothing elsewhere.
func TestAbortUnderCondition(t *testing.T) {
	t.Parallel()
	const header, value = "X-Amz-If-Match-Initiated-Time", "Wed, 21 Oct 2026 07:28:00 GMT"
	for line, want := range map[string]int{"DELETE /sales/k?uploadId=u": 1, "DELETE /sales/k": 0, "GET /sales/k": 0} {
		o, err := s3.Parse(request(t, line, header+": "+value), nil)
		if err != nil || len(o.Header[header]) != want {
			t.Errorf("%s forwards %v, %v", line, o, err)
		}
	}
}
