package gateway_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

func TestCredentialsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(t, "sales", "k", "v")
	with := func(id, secretKey, token string) *http.Request {
		req, err := http.NewRequest("GET", w.http.URL+"/sales/k", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Amz-Content-Sha256", sigv4.EmptyHash)
		if token != "" {
			req.Header.Set("X-Amz-Security-Token", token)
		}
		w.sign(t, req, id, secretKey)
		return req
	}
	refused(t, with("ASIANOBODY0000000000", "x", "y"), 403, "InvalidAccessKeyId")
	refused(t, with(alice, "wrong-secret", "alice-token"), 403, "SignatureDoesNotMatch")
	refused(t, with(alice, "alice-secret", "other-token"), 400, "InvalidToken")
	refused(t, with(alice, "alice-secret", ""), 400, "InvalidToken")
	refused(t, with("ASIAEXPIRED00000000C", "x", "y"), 400, "ExpiredToken")

	plain, err := http.NewRequest("GET", w.http.URL+"/sales/k", nil)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, plain, 403, "AccessDenied")
	preflight, err := http.NewRequest("OPTIONS", w.http.URL+"/sales/k", nil)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, preflight, 400, "BadRequest")
	preflight.Header.Set("Origin", "https://app.example")
	preflight.Header.Set("Access-Control-Request-Method", "GET")
	refused(t, preflight, 403, "AccessForbidden")

	unsigned := with(alice, "alice-secret", "alice-token")
	unsigned.Header.Set("X-Amz-Acl", "public-read")
	refused(t, unsigned, 403, "AccessDenied")
	changed := with(alice, "alice-secret", "alice-token")
	changed.URL.Path = "/sales/other"
	refused(t, changed, 403, "SignatureDoesNotMatch")
	moved := with(alice, "alice-secret", "alice-token")
	moved.Host = "elsewhere"
	refused(t, moved, 403, "SignatureDoesNotMatch")
	both := with(alice, "alice-secret", "alice-token")
	both.URL.RawQuery = "X-Amz-Signature=00"
	refused(t, both, 400, "InvalidArgument")
	v2, err := http.NewRequest("GET", w.http.URL+"/sales/k", nil)
	if err != nil {
		t.Fatal(err)
	}
	v2.Header.Set("Authorization", "AWS AKID:c2ln")
	if body := refused(t, v2, 400, "InvalidRequest"); !strings.Contains(body, "Signature Version 2") || !strings.Contains(body, "s3v4") {
		t.Errorf("SigV2 is not named: %s", body)
	}
	w.now = func() time.Time { return time.Now().Add(16 * time.Minute) }
	refused(t, with(alice, "alice-secret", "alice-token"), 403, "RequestTimeTooSkewed")
	if len(w.asked()) != 0 {
		t.Errorf("decisions were asked for unproven requests: %v", w.asked())
	}
}

func TestWrongRegionNamesOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := awss3.New(client(w.http, alice).Options(), func(o *awss3.Options) { o.Region = "eu-west-1" })
	_, err := c.ListBuckets(context.Background(), &awss3.ListBucketsInput{})
	wantCode(t, err, "AuthorizationHeaderMalformed", 400)
	if !strings.Contains(err.Error(), `expecting "us-east-1"`) {
		t.Errorf("the region is not named: %v", err)
	}
}

// aliasKeys are names that a store on a disk folds into others, or keeps for
// itself. Each is refused before any decision, wherever a key is read.
var aliasKeys = map[string]string{
	"double slash":               "hr//x",
	"leading slash":              "/hr/x",
	"dot dot":                    "a/../hr/x",
	"empty and dot dot":          "a//../hr/x",
	"leading dot dot":            "../hr/x",
	"dot":                        "./hr/x",
	"inner dot":                  "hr/./x",
	"trailing dot dot":           "hr/..",
	"two trailing slashes":       "hr//",
	"NUL":                        "hr/x\x00",
	"not UTF-8":                  "hr/\xff",
	"folder of uploads":          ".sgwtmp/multipart/x",
	"folder of uploads, itself":  ".sgwtmp",
	"folder of uploads, in caps": ".SGWTMP/x",
	"name being renamed":         "hr/.x.sgwtmp.123",
	"overlong segment":           strings.Repeat("s", 256),
}

func TestKeyAliasesAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(t, "sales", "hr/x", "secret")
	w.put(t, "sales", "ok", "ok")
	w.forbid()
	for name, key := range aliasKeys {
		path := "/sales/" + string(sigv4.AppendEscaped(nil, key, true))
		encoded := "/sales/" + string(sigv4.AppendEscaped(nil, key, false))
		query := string(sigv4.AppendEscaped(nil, key, false))
		t.Run(name, func(t *testing.T) {
			for _, method := range []string{"GET", "PUT", "DELETE"} {
				refused(t, w.request(t, method, path, "", nil), 400, "InvalidURI")
			}
			refused(t, w.request(t, "GET", path+"?tagging", "", nil), 400, "InvalidURI")
			refused(t, w.request(t, "POST", path+"?uploads", "", nil), 400, "InvalidURI")
			refused(t, w.request(t, "GET", "/sales?list-type=2&prefix="+query, "", nil), 400, "InvalidURI")
			refused(t, w.request(t, "GET", "/sales?prefix="+query, "", nil), 400, "InvalidURI")
			refused(t, w.request(t, "GET", "/sales?uploads&prefix="+query, "", nil), 400, "InvalidURI")
			refused(t, w.request(t, "GET", "/sales?marker="+query, "", nil), 400, "InvalidURI")
			for _, source := range []string{path, encoded, encoded[1:]} {
				refused(t, w.request(t, "PUT", "/sales/copied", "", func(r *http.Request) {
					r.Header.Set("X-Amz-Copy-Source", source)
				}), 400, "InvalidURI")
			}
			if !strings.Contains(key, "\x00") && utf8.ValidString(key) { // XML can't carry those
				body := "<Delete><Object><Key>" + key + "</Key></Object></Delete>"
				if _, got := send(t, w.request(t, "POST", "/sales?delete", body, nil)); !strings.Contains(got, "<Code>InvalidURI</Code>") {
					t.Errorf("batch delete: %s", got)
				}
			}
		})
	}
	if asked := w.asked(); len(asked) != 0 {
		t.Errorf("decisions were asked: %v", asked)
	}
	w.do(t, &s3.Outgoing{Method: "GET", Bucket: "sales", Key: "hr/x"}, 200)
	w.absent(t, "sales", "copied")
}

// A trailing slash is no alias: it names the folder's own object, never the
// file of the same name.
func TestTrailingSlashIsAnotherKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(t, "sales", "hr/x", "secret")
	w.forbid("s3:GetObject sales/hr/x")
	refused(t, w.request(t, "GET", "/sales/hr/x", "", nil), 403, "AccessDenied")
	refused(t, w.request(t, "GET", "/sales/hr/x/", "", nil), 404, "NoSuchKey")
	refused(t, w.request(t, "PUT", "/sales/copied", "", func(r *http.Request) {
		r.Header.Set("X-Amz-Copy-Source", "/sales/hr/x/")
	}), 404, "NoSuchKey")
}

// The store finds the tags of "f" under "f/" and those of "dir/" under "dir":
// a decision on one must not open the other.
func TestTagsThroughASlash(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tags := http.Header{"X-Amz-Tagging": {"class=secret"}}
	w.do(t, &s3.Outgoing{Method: "PUT", Bucket: "sales", Key: "f", Header: tags, Body: strings.NewReader("v"), Length: 1}, 200)
	w.do(t, &s3.Outgoing{Method: "PUT", Bucket: "sales", Key: "dir/", Header: tags}, 200)
	w.forbid("s3:* sales/f", "s3:* sales/dir/")
	document := "<Tagging><TagSet><Tag><Key>class</Key><Value>open</Value></Tag></TagSet></Tagging>"
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		body := map[string]string{"PUT": document}[method]
		refused(t, w.request(t, method, "/sales/f/?tagging", body, nil), 400, "InvalidURI")
		refused(t, w.request(t, method, "/sales/dir?tagging", body, nil), 404, "NoSuchKey")
	}
	for _, method := range []string{"PUT", "DELETE"} {
		refused(t, w.request(t, method, "/sales/f/", "", func(r *http.Request) { r.Header.Set("If-Match", `"e"`) }), 400, "InvalidURI")
	}
	for _, key := range []string{"f", "dir/"} {
		got, _ := w.do(t, &s3.Outgoing{Method: "GET", Bucket: "sales", Key: key, Query: []sigv4.Param{{Name: "tagging"}}}, 200)
		if !strings.Contains(got, "<Value>secret</Value>") {
			t.Errorf("the tags of %s: %s", key, got)
		}
	}
	w.forbid()
	if res, body := send(t, w.request(t, "GET", "/sales/f?tagging", "", nil)); res.StatusCode != 200 || !strings.Contains(body, "secret") {
		t.Errorf("one's own tags: %d %s", res.StatusCode, body)
	}
}

// The store reads the parts of a copy from "hr/x" where "hr/x/" is named: a Deny
// on a name, such as *.secret, was walked around by one slash.
func TestForbiddenObjectCopiedThroughASlash(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(t, "sales", "hr/x", "secret")
	up, err := client(w.http, alice).CreateMultipartUpload(context.Background(), &awss3.CreateMultipartUploadInput{Bucket: aws.String("sales"), Key: aws.String("m")})
	if err != nil {
		t.Fatal(err)
	}
	w.forbid("s3:* sales/hr/x")
	from := func(source, header, value string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("X-Amz-Copy-Source", source)
			if header != "" {
				r.Header.Set(header, value)
			}
		}
	}
	part := "/sales/m?partNumber=1&uploadId=" + *up.UploadId
	for _, source := range []string{"/sales/hr/x/", "sales/hr/x%2F"} {
		refused(t, w.request(t, "PUT", part, "", from(source, "", "")), 400, "InvalidURI")
		refused(t, w.request(t, "PUT", part, "", from(source, "X-Amz-Copy-Source-Range", "bytes=0-1")), 400, "InvalidURI")
		refused(t, w.request(t, "PUT", "/sales/m", "", from(source, "", "")), 404, "NoSuchKey")
		refused(t, w.request(t, "PUT", "/sales/m", "", from(source, "X-Amz-Copy-Source-If-Match", `"e"`)), 404, "NoSuchKey")
	}
	refused(t, w.request(t, "GET", "/sales/hr/x/?partNumber=1", "", nil), 404, "NoSuchKey")
	for name, value := range map[string]string{"Range": "bytes=0-1", "If-Match": `"e"`, "If-None-Match": `"5ebe2294ecd0e0f08eab7690d2a6ee69"`} {
		refused(t, w.request(t, "GET", "/sales/hr/x/", "", func(r *http.Request) { r.Header.Set(name, value) }), 404, "NoSuchKey")
	}
}

func TestUploadsOfForbiddenKeysStayHidden(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, c := context.Background(), client(w.http, alice)
	created, err := c.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: aws.String("sales"), Key: aws.String("hr/x")})
	if err != nil {
		t.Fatal(err)
	}
	id := *created.UploadId
	w.forbid("s3:* sales/hr/*")
	for _, req := range []struct{ method, target string }{
		{"PUT", "/sales/hr/x?partNumber=1&uploadId=" + id},
		{"POST", "/sales/hr/x?uploadId=" + id},
		{"DELETE", "/sales/hr/x?uploadId=" + id},
		{"GET", "/sales/hr/x?uploadId=" + id},
	} {
		refused(t, w.request(t, req.method, req.target, "", nil), 403, "AccessDenied")
	}
	// The id alone opens nothing under another key, and no path is an id.
	for _, target := range []string{
		"/sales/free?uploadId=" + id, "/sales/free?uploadId=..", "/sales/free?uploadId=../..", "/sales/free?uploadId=%2e%2e%2fx", "/sales/free?uploadId=",
	} {
		for _, method := range []string{"GET", "DELETE"} {
			refused(t, w.request(t, method, target, "", nil), 404, "NoSuchUpload")
		}
	}
	w.forbid()
	if _, err := c.ListParts(ctx, &awss3.ListPartsInput{Bucket: aws.String("sales"), Key: aws.String("hr/x"), UploadId: &id}); err != nil {
		t.Errorf("the upload is gone: %v", err)
	}
}

func TestUnknownThingsAreRefusedByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for target, name := range map[string]string{
		"GET /sales/k?policy": "policy", "GET /sales/k?versions": "versions",
		"GET /sales/k?torrent": "GetObjectTorrent", "POST /sales/k?restore": "RestoreObject", "POST /sales/k?select&select-type=2": "SelectObjectContent",
		"GET /sales/k?whatever=1": "whatever", "GET /sales/k?tagging&acl": "acl&amp;tagging",
		"GET /sales?session": "CreateSession", "PUT /sales/k?x-amz-acl=public-read": "x-amz-acl",
	} {
		method, path, _ := strings.Cut(target, " ")
		if body := refused(t, w.request(t, method, path, "", nil), 501, "NotImplemented"); !strings.Contains(body, name) {
			t.Errorf("%s: %s is not named in %s", target, name, body)
		}
	}
	for header, want := range map[string]string{
		"X-Amz-Unheard-Of":                  "501 NotImplemented",
		"X-Amz-Server-Side-Encryption":      "400 InvalidArgument",
		"X-Amz-Website-Redirect-Location":   "400 InvalidRedirectLocation",
		"X-Amz-Object-Lock-Mode":            "400 InvalidArgument",
		"X-Amz-Bypass-Governance-Retention": "400 InvalidArgument",
		"X-Amz-Grant-Read":                  "400 AccessControlListNotSupported",
		"X-Amz-Acl":                         "400 AccessControlListNotSupported",
		"X-Amz-Storage-Class":               "400 InvalidStorageClass",
		"X-Amz-Checksum-Xxhash64":           "501 InvalidRequest",
	} {
		req := w.request(t, "PUT", "/sales/k", "v", func(r *http.Request) { r.Header.Set(header, "public-read") })
		res, body := send(t, req)
		_, code, _ := strings.Cut(want, " ")
		if !strings.Contains(body, "<Code>"+code+"</Code>") {
			t.Errorf("%s: %d %s, want %s", header, res.StatusCode, body, want)
		}
	}
	for _, target := range []string{"PATCH /sales/k", "DELETE /", "POST /", "POST /sales/k"} {
		method, path, _ := strings.Cut(target, " ")
		refused(t, w.request(t, method, path, "", nil), 405, "MethodNotAllowed")
	}
	if len(w.asked()) != 0 {
		t.Errorf("decisions were asked: %v", w.asked())
	}
	w.absent(t, "sales", "k")
}

func TestDenials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, c := context.Background(), client(w.http, alice)
	w.put(t, "hr", "x", "secret")
	w.put(t, "sales", "x", "open")

	w.forbid("s3:GetObject hr/*")
	_, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String("hr"), Key: aws.String("x")})
	wantCode(t, err, "AccessDenied", 403)
	if !strings.Contains(err.Error(), `is not authorized to perform: s3:GetObject on resource: "arn:aws:s3:::hr/x" because`) {
		t.Errorf("the reason is missing: %v", err)
	}
	// A copy needs its source, also part by part.
	_, err = c.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: aws.String("sales"), Key: aws.String("stolen"), CopySource: aws.String("hr/x")})
	wantCode(t, err, "AccessDenied", 403)
	up, err := c.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: aws.String("sales"), Key: aws.String("stolen")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.UploadPartCopy(ctx, &awss3.UploadPartCopyInput{Bucket: aws.String("sales"), Key: aws.String("stolen"), UploadId: up.UploadId, PartNumber: aws.Int32(1), CopySource: aws.String("hr/x")})
	wantCode(t, err, "AccessDenied", 403)
	w.absent(t, "sales", "stolen")

	// Whoever may not list learns nothing of what exists.
	w.forbid("s3:ListBucket *")
	_, err = c.GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String("sales"), Key: aws.String("missing")})
	wantCode(t, err, "AccessDenied", 403)
	_, err = c.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: aws.String("sales"), Key: aws.String("missing")})
	if err == nil || !strings.Contains(err.Error(), "StatusCode: 403") {
		t.Errorf("head of a missing key: %v", err)
	}
	w.forbid()
	_, err = c.GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String("sales"), Key: aws.String("missing")})
	wantCode(t, err, "NoSuchKey", 404)

	// Tags are copied only by whoever may read and write them.
	if _, err := c.PutObject(ctx, &awss3.PutObjectInput{Bucket: aws.String("sales"), Key: aws.String("tagged"), Body: strings.NewReader("t"), Tagging: aws.String("a=b")}); err != nil {
		t.Fatal(err)
	}
	w.forbid("s3:GetObjectTagging *")
	_, err = c.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: aws.String("sales"), Key: aws.String("copy"), CopySource: aws.String("sales/tagged")})
	wantCode(t, err, "AccessDenied", 403)
	if _, err := c.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: aws.String("sales"), Key: aws.String("copy"), CopySource: aws.String("sales/x")}); err != nil {
		t.Errorf("copy of an untagged object: %v", err)
	}
	w.forbid("s3:PutObjectTagging *")
	_, err = c.PutObject(ctx, &awss3.PutObjectInput{Bucket: aws.String("sales"), Key: aws.String("new"), Body: strings.NewReader("t"), Tagging: aws.String("a=b")})
	wantCode(t, err, "AccessDenied", 403)
	w.absent(t, "sales", "new")
}

func TestBatchDeleteDecidesKeyByKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, key := range []string{"a", "hr/x", "b"} {
		w.put(t, "sales", key, "v")
	}
	w.forbid("s3:DeleteObject sales/hr/*")
	out, err := client(w.http, alice).DeleteObjects(context.Background(), &awss3.DeleteObjectsInput{Bucket: aws.String("sales"), Delete: &types.Delete{
		Objects: []types.ObjectIdentifier{{Key: aws.String("a")}, {Key: aws.String("hr/x")}, {Key: aws.String("b")}, {Key: aws.String("hr//x")}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Deleted) != 2 || len(out.Errors) != 2 || *out.Errors[0].Code != "AccessDenied" || *out.Errors[1].Code != "InvalidURI" {
		t.Errorf("deleted %v, errors %v", out.Deleted, out.Errors)
	}
	w.absent(t, "sales", "a")
	w.do(t, &s3.Outgoing{Method: "GET", Bucket: "sales", Key: "hr/x"}, 200)
}

func TestCookiesEndHere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(t, "sales", "page", "<script>")
	res, _ := send(t, w.request(t, "GET", "/sales/page?response-content-type=text/html", "", func(r *http.Request) {
		r.Header.Set("Cookie", "carnet=x")
	}))
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/html" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	if res.Header.Get("Set-Cookie") != "" || res.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(res.Header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("headers of a document: %v", res.Header)
	}
	if strings.Contains(w.log.String(), "carnet=x") {
		t.Error("a cookie is in the log")
	}
}
