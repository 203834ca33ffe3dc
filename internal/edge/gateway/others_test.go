package gateway_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"carnet.dev/carnet/internal/protocol/s3"
)

// TestFailuresOfOtherGateways: what went wrong in other stores and gateways, by
// its identifier.
func TestFailuresOfOtherGateways(t *testing.T) {
	t.Parallel()
	for id, check := range map[string]func(*testing.T, *world){
		"CVE-2025-31489":      unsignedTrailerNeedsASignature,
		"CVE-2026-40344":      bodyKindsWhereTheyBelong,
		"CVE-2026-41145":      keyInTheQuerySignatureInTheHeader,
		"CVE-2024-36107":      conditionsBeforeAuthorisation,
		"CVE-2023-25812":      governanceBypassIsAnAction,
		"CVE-2023-28434":      bucketNamesThatAreTricks,
		"CVE-2021-21287":      addressesInRequestsAreNotFetched,
		"CVE-2026-73080":      addressesInRequestsAreNotFetched,
		"CVE-2023-43040":      formFieldsThatNameABucket,
		"CVE-2022-3854":       oddTargets,
		"CVE-2026-54917":      dotsInKeys,
		"CVE-2026-55874":      dotsInCopySources,
		"SeaweedFS-7954":      unsignedTrailerNeedsASignature,
		"SeaweedFS-2180":      chunksNeedSignatures,
		"SeaweedFS-7941":      streamingWithSessionKeys,
		"GHSA-v2ch-c8v8-fgr7": malformedChunks,
		"fakecloud-Expires":   expiresIsHeld,
	} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.put(t, "hr", "x", "secret")
			w.put(t, "sales", "k", "v")
			check(t, w)
			w.absent(t, "sales", "stolen")
		})
	}
}

// trailer makes the body of an upload with an unsigned trailer.
func trailer(content, crc32 string) string {
	return fmt.Sprintf("%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n", len(content), content, crc32)
}

// streaming makes the head of an upload of that kind.
func (w *world) streaming(t *testing.T, kind, body string, decoded int) string {
	t.Helper()
	return w.head(t, "PUT", "/sales/stolen", func(r *http.Request) {
		r.Header.Set("X-Amz-Content-Sha256", kind)
		r.Header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(decoded))
		r.Header.Set("Content-Encoding", "aws-chunked")
		if strings.HasSuffix(kind, "TRAILER") {
			r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
		}
	}, fmt.Sprintf("Content-Length: %d", len(body)))
}

func wantRefusal(t *testing.T, what string, status int, body string, codes ...string) {
	t.Helper()
	for _, code := range codes {
		if status >= 400 && strings.Contains(body, "<Code>"+code+"</Code>") {
			return
		}
	}
	t.Errorf("%s: %d %s, want one of %v", what, status, body, codes)
}

// An upload whose payload is not signed is signed all the same: its head is.
func unsignedTrailerNeedsASignature(t *testing.T, w *world) {
	body := trailer("abc", "NSRBwg==")
	good := w.streaming(t, unsignedTrailer, body, 3)
	start := strings.Index(good, "Signature=")
	forged := good[:start] + "Signature=" + strings.Repeat("0", 64) + good[start+len("Signature=")+64:]
	status, answer := w.talk(t, forged+body)
	wantRefusal(t, "a forged signature", status, answer, "SignatureDoesNotMatch")
	authorization := good[strings.Index(good, "Authorization: "):]
	authorization = authorization[:strings.Index(authorization, "\r\n")+2]
	status, answer = w.talk(t, strings.Replace(good, authorization, "", 1)+body)
	wantRefusal(t, "no signature", status, answer, "AccessDenied")
	w.absent(t, "sales", "stolen")
	if status, answer := w.talk(t, good+body); status != 200 {
		t.Fatalf("the ground of this test: %d %s", status, answer)
	}
	w.do(t, &s3.Outgoing{Method: "DELETE", Bucket: "sales", Key: "stolen"}, 204)
}

// Every kind of body is known by name, and streaming ones belong to uploads of
// objects and parts alone.
func bodyKindsWhereTheyBelong(t *testing.T, w *world) {
	for _, kind := range []string{unsignedTrailer, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "STREAMING-NEW-KIND", "unsigned-payload"} {
		for _, target := range []string{"GET /sales/k", "POST /sales?delete", "PUT /sales/stolen?tagging", "POST /sales/stolen?uploads", "DELETE /sales/k", "PUT /stolen"} {
			method, path, _ := strings.Cut(target, " ")
			req := w.request(t, method, path, "", func(r *http.Request) {
				r.Header.Set("X-Amz-Content-Sha256", kind)
				r.Header.Set("X-Amz-Decoded-Content-Length", "0")
			})
			if res, body := send(t, req); res.StatusCode < 400 {
				t.Errorf("%s with a body of kind %s: %d %s", target, kind, res.StatusCode, body)
			}
		}
	}
	if asked := w.asked(); len(asked) != 0 {
		t.Errorf("decisions were asked: %v", asked)
	}
}

// The place in which a key stands is the place whose signature counts: a key in
// the query, with an Authorization header of another or of none, is refused.
func keyInTheQuerySignatureInTheHeader(t *testing.T, w *world) {
	date := time.Now().UTC().Format("20060102")
	credential := url.QueryEscape(alice + "/" + date + "/" + region + "/s3/aws4_request")
	for name, change := range map[string]func(*http.Request){
		"credential in the query alone":      func(r *http.Request) { r.Header.Del("Authorization") },
		"credential in query, other header":  func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x") },
		"credential in query, bearer header": func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") },
		"credential in both":                 func(*http.Request) {},
	} {
		for _, method := range []string{"GET", "PUT"} {
			req := w.request(t, method, "/sales/stolen", "", nil)
			req.URL.RawQuery = "X-Amz-Credential=" + credential
			change(req)
			if res, body := send(t, req); res.StatusCode < 400 {
				t.Errorf("%s %s: %d %s", method, name, res.StatusCode, body)
			}
		}
	}
	if asked := w.asked(); len(asked) != 0 {
		t.Errorf("decisions were asked: %v", asked)
	}
}

// Whoever may not read learns nothing by a condition either.
func conditionsBeforeAuthorisation(t *testing.T, w *world) {
	_, header := w.do(t, &s3.Outgoing{Method: "HEAD", Bucket: "hr", Key: "x"}, 200)
	w.forbid("s3:GetObject hr/*", "s3:ListBucket hr")
	future := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	for name, value := range map[string]string{
		"If-None-Match": header.Get("Etag"), "If-Match": `"wrong"`, "If-Modified-Since": future, "If-Unmodified-Since": "Mon, 02 Jan 2006 15:04:05 GMT", "Range": "bytes=100-200",
	} {
		for _, target := range []string{"/hr/x", "/hr/missing"} {
			for _, method := range []string{"GET", "HEAD"} {
				res, body := send(t, w.request(t, method, target, "", func(r *http.Request) { r.Header.Set(name, value) }))
				if res.StatusCode != 403 {
					t.Errorf("%s %s with %s: %d %s", method, target, name, res.StatusCode, body)
				}
			}
		}
	}
}

// A header that bypasses governance is an action of its own, on each operation
// that takes it; elsewhere it is refused.
func governanceBypassIsAnAction(t *testing.T, w *world) {
	w.forbid("s3:BypassGovernanceRetention *")
	for _, method := range []string{"DELETE", "PUT"} {
		res, body := send(t, w.request(t, method, "/sales/k", "", func(r *http.Request) { r.Header.Set("X-Amz-Bypass-Governance-Retention", "true") }))
		if res.StatusCode < 400 {
			t.Errorf("%s: %d %s", method, res.StatusCode, body)
		}
	}
	body := "<Delete><Object><Key>k</Key></Object></Delete>"
	res, answer := send(t, w.request(t, "POST", "/sales?delete", body, func(r *http.Request) { r.Header.Set("X-Amz-Bypass-Governance-Retention", "true") }))
	if res.StatusCode < 400 && !strings.Contains(answer, "<Error>") {
		t.Errorf("batch delete: %d %s", res.StatusCode, answer)
	}
	refused(t, w.request(t, "PUT", "/sales/k?retention", "<Retention/>", func(r *http.Request) { r.Header.Set("X-Amz-Bypass-Governance-Retention", "true") }), 403, "AccessDenied")
	w.do(t, &s3.Outgoing{Method: "GET", Bucket: "sales", Key: "k"}, 200)
}

// Names that a store keeps for itself, or that a path could be made of.
func bucketNamesThatAreTricks(t *testing.T, w *world) {
	for _, name := range []string{".minio.sys", ".sgwtmp", "..", "%2e%2e", ".", "a%2Fb", "sales%2F..%2Fhr", "-x", "x_y", "SALES", "xn--x", "192.168.0.1", "%00", "s%C3%A9"} {
		for _, target := range []string{"GET /" + name, "PUT /" + name, "GET /" + name + "/x", "PUT /" + name + "/stolen"} {
			method, path, _ := strings.Cut(target, " ")
			status, body := w.talk(t, w.head(t, method, path, nil))
			if status < 400 {
				t.Errorf("%s: %d %s", target, status, body)
			}
		}
	}
	if asked := w.asked(); len(asked) != 0 {
		t.Errorf("decisions were asked: %v", asked)
	}
}

// Nothing that a request names is fetched: a listener stands where each of its
// addresses leads, and is never reached.
func addressesInRequestsAreNotFetched(t *testing.T, w *world) {
	trap, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	reached := make(chan struct{}, 16)
	go func() {
		for {
			c, err := trap.Accept()
			if err != nil {
				return
			}
			reached <- struct{}{}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = trap.Close() })
	address := "http://" + trap.Addr().String() + "/"
	for name, value := range map[string]string{
		"X-Amz-Copy-Source": address + "hr/x", "X-Forwarded-Host": trap.Addr().String(), "Forwarded": "host=" + trap.Addr().String(), "Referer": address,
		"X-Amz-Website-Redirect-Location": address, "Origin": address,
	} {
		res, body := send(t, w.request(t, "PUT", "/sales/fetched", "", func(r *http.Request) { r.Header.Set(name, value) }))
		if name == "X-Amz-Copy-Source" && res.StatusCode < 400 {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
	}
	status, body := w.talk(t, strings.Replace(w.head(t, "GET", "/sales/k", nil), "GET /", "GET "+address, 1))
	wantRefusal(t, "an absolute target", status, body, "InvalidURI")
	select {
	case <-reached:
		t.Error("an address that a request named was reached")
	case <-time.After(50 * time.Millisecond):
	}
}

// The bucket of a form upload is the one it is posted to; a field of that name
// changes nothing. Such uploads are not taken at all.
func formFieldsThatNameABucket(t *testing.T, w *world) {
	form := "--b\r\nContent-Disposition: form-data; name=\"bucket\"\r\n\r\nhr\r\n--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nstolen\r\n--b\r\n" +
		"Content-Disposition: form-data; name=\"file\"\r\n\r\nv\r\n--b--\r\n"
	req, err := http.NewRequest("POST", w.http.URL+"/sales", strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "multipart/form-data; boundary=b")
	if res, body := send(t, req); res.StatusCode < 400 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	w.absent(t, "hr", "stolen")
}

// Whatever stands in the request line, an answer comes, and from a server that
// still serves.
func oddTargets(t *testing.T, w *world) {
	for _, target := range []string{"/%", "/%zz", "//", "/sales/%", "/?%", "/sales/%00", "/sales?%00=1", "*", "/" + strings.Repeat("a/", 4000), "/sales/k?" + strings.Repeat("x&", 2000), "/sales/k?=&&=", "/sales/k#x", "/sales/\xff"} {
		if status, body := w.talk(t, "GET "+target+" HTTP/1.1\r\nHost: s3.test\r\nConnection: close\r\n\r\n"); status < 400 || status == 500 {
			t.Errorf("%.40q: %d %s", target, status, body)
		}
	}
	if res, _ := send(t, w.request(t, "GET", "/sales/k", "", nil)); res.StatusCode != 200 {
		t.Errorf("afterwards: %d", res.StatusCode)
	}
}

func dotsInKeys(t *testing.T, w *world) {
	for _, path := range []string{"/sales/../hr/x", "/sales/%2e%2e/hr/x", "/sales/a/../../hr/x", "/sales/..%2Fhr%2Fx", "/sales/%2E%2E%2Fhr%2Fx"} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			status, body := w.talk(t, w.head(t, method, path, nil))
			wantRefusal(t, method+" "+path, status, body, "InvalidURI", "SignatureDoesNotMatch")
		}
	}
}

func dotsInCopySources(t *testing.T, w *world) {
	for _, source := range []string{"/sales/../hr/x", "sales/../hr/x", "sales/%2e%2e/hr/x", "/sales/a/..%2F..%2Fhr/x", "../hr/x", "sales%2F..%2Fhr%2Fx"} {
		res, body := send(t, w.request(t, "PUT", "/sales/stolen", "", func(r *http.Request) { r.Header.Set("X-Amz-Copy-Source", source) }))
		if res.StatusCode < 400 || strings.Contains(body, "CopyObjectResult") {
			t.Errorf("%s: %d %s", source, res.StatusCode, body)
		}
	}
}

// Chunks are signed one by one: neither unsigned nor forged ones become an object.
func chunksNeedSignatures(t *testing.T, w *world) {
	const kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	for name, body := range map[string]string{
		"unsigned":  "3\r\nabc\r\n0\r\n\r\n",
		"forged":    "3;chunk-signature=" + strings.Repeat("0", 64) + "\r\nabc\r\n0;chunk-signature=" + strings.Repeat("0", 64) + "\r\n\r\n",
		"empty one": "3;chunk-signature=\r\nabc\r\n0;chunk-signature=\r\n\r\n",
		"no chunks": "abc",
	} {
		status, answer := w.talk(t, w.streaming(t, kind, body, 3)+body)
		if status < 400 {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
}

// Keys with a session token serve for every kind of upload.
func streamingWithSessionKeys(t *testing.T, w *world) {
	body := trailer("abc", "NSRBwg==")
	if status, answer := w.talk(t, w.streaming(t, unsignedTrailer, body, 3)+body); status != 200 {
		t.Errorf("%d %s", status, answer)
	}
	if got, _ := w.do(t, &s3.Outgoing{Method: "GET", Bucket: "sales", Key: "stolen"}, 200); got != "abc" {
		t.Errorf("the object is %q", got)
	}
	w.do(t, &s3.Outgoing{Method: "DELETE", Bucket: "sales", Key: "stolen"}, 204)
	without := w.request(t, "PUT", "/sales/stolen", "abc", nil)
	without.Header.Del("X-Amz-Security-Token")
	if res, answer := send(t, without); res.StatusCode < 400 {
		t.Errorf("without the token: %d %s", res.StatusCode, answer)
	}
}

func malformedChunks(t *testing.T, w *world) {
	for _, body := range []string{
		"", "\r\n", "zz\r\nabc\r\n", "-1\r\n", "ffffffffffffffff\r\nabc", "80000000\r\nabc\r\n0\r\n\r\n", "3\nabc\n0\n\n", "3\r\nabc", "3\r\nabcd\r\n0\r\n\r\n",
		"3;chunk-signature\r\nabc\r\n", ";\r\n", "3\r\nabc\r\n0\r\nx-amz-checksum-crc32\r\n\r\n", "3\r\nabc\r\n0\r\nx-amz-checksum-sha256:AAAA\r\n\r\n", strings.Repeat("0", 5000) + "\r\n",
	} {
		c, err := net.Dial("tcp", w.http.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, w.streaming(t, unsignedTrailer, body, 3)+body); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 4") {
			t.Errorf("%.30q: %v %.200s", body, err, answer)
		}
		_ = c.Close()
	}
	if strings.Contains(w.log.String(), "panic") {
		t.Error("a panic stands in the log")
	}
}

// expiresIsHeld: a presigned request ends when it says, and can't say never.
func expiresIsHeld(t *testing.T, w *world) {
	presigned := func(expires string, at time.Time) *http.Request {
		req, err := http.NewRequest("GET", w.http.URL+"/sales/k", nil)
		if err != nil {
			t.Fatal(err)
		}
		if expires != "" {
			req.URL.RawQuery = "X-Amz-Expires=" + expires
		}
		signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
		creds := aws.Credentials{AccessKeyID: alice, SecretAccessKey: keys[alice].secret, SessionToken: keys[alice].token}
		target, _, err := signer.PresignHTTP(t.Context(), creds, req, "UNSIGNED-PAYLOAD", "s3", region, at)
		if err != nil {
			t.Fatal(err)
		}
		if req.URL, err = url.Parse(target); err != nil {
			t.Fatal(err)
		}
		return req
	}
	now := time.Now()
	if res, body := send(t, presigned("60", now)); res.StatusCode != 200 {
		t.Fatalf("the ground of this test: %d %s", res.StatusCode, body)
	}
	refused(t, presigned("60", now.Add(-2*time.Minute)), 403, "AccessDenied")
	for _, expires := range []string{"0", "-1", "604801", "1e9", "", "60.5", "99999999999999999999"} {
		if res, body := send(t, presigned(expires, now)); res.StatusCode < 400 {
			t.Errorf("X-Amz-Expires=%s: %d %s", expires, res.StatusCode, body)
		}
	}
}
