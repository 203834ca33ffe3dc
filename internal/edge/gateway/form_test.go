package gateway_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/protocol/s3"
)

// uploadForm is a form as a server makes it for its pages: the steps of the S3 API
// Reference, "Browser-Based Uploads Using POST", without our own code.
type uploadForm struct {
	key, bucket string
	conditions  []any
	fields      [][2]string // beside those of the credential
	expires     time.Duration
	keyID       string
	fileName    string
	content     string
	after       [2]string // a field behind the file
}

// signed gives all fields before the file.
func (f uploadForm) signed(t testing.TB) [][2]string {
	t.Helper()
	if f.keyID == "" {
		f.keyID = alice
	}
	if f.expires == 0 {
		f.expires = time.Hour
	}
	now := time.Now().UTC()
	day, date := now.Format("20060102"), now.Format("20060102T150405Z")
	fields := [][2]string{
		{"key", f.key},
		{"x-amz-algorithm", "AWS4-HMAC-SHA256"}, {"x-amz-credential", f.keyID + "/" + day + "/" + region + "/s3/aws4_request"},
		{"x-amz-date", date}, {"x-amz-security-token", keys[f.keyID].token},
	}
	conditions := append([]any{map[string]string{"bucket": f.bucket}, []any{"starts-with", "$key", ""}}, f.conditions...)
	for _, c := range fields[1:] {
		conditions = append(conditions, map[string]string{c[0]: c[1]})
	}
	document, err := json.Marshal(map[string]any{"expiration": now.Add(f.expires).Format(time.RFC3339), "conditions": conditions})
	if err != nil {
		t.Fatal(err)
	}
	policy := base64.StdEncoding.EncodeToString(document)
	key := []byte("AWS4" + keys[f.keyID].secret)
	for _, step := range []string{day, region, "s3", "aws4_request", policy} {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(step))
		key = h.Sum(nil)
	}
	return append(append(fields, f.fields...), [2]string{"policy", policy}, [2]string{"x-amz-signature", hex.EncodeToString(key)})
}

func (f uploadForm) write(t testing.TB) (contentType string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, c := range f.signed(t) {
		if err := w.WriteField(c[0], c[1]); err != nil {
			t.Fatal(err)
		}
	}
	file, err := w.CreateFormFile("file", f.fileName)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(file, f.content)
	if f.after[0] != "" {
		_ = w.WriteField(f.after[0], f.after[1])
	}
	_ = w.Close()
	return w.FormDataContentType(), b.Bytes()
}

func (w *world) form(t testing.TB, f uploadForm) *http.Request {
	t.Helper()
	kind, body := f.write(t)
	req, err := http.NewRequest("POST", w.http.URL+"/sales", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	return req
}

func (w *world) stored(t testing.TB, key string) string {
	t.Helper()
	body, _ := w.do(t, &s3.Outgoing{Method: "GET", Bucket: "sales", Key: key}, 200)
	return body
}

func TestFormUploads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	large := strings.Repeat("0123456789abcdef", 1<<16)
	for name, f := range map[string]uploadForm{
		"small": {key: "a", content: "value"}, "empty": {key: "empty", content: ""}, "large": {key: "large", content: large},
		"named": {key: "up/${filename}", fileName: "r ü.csv", content: "x"}, "submit": {key: "submit", content: "x", after: [2]string{"submit", "go"}},
	} {
		f.bucket = "sales"
		res, body := send(t, w.form(t, f))
		if res.StatusCode != 204 || body != "" || res.Header.Get("Etag") == "" || !strings.HasPrefix(res.Header.Get("Location"), w.http.URL+"/sales/") {
			t.Errorf("%s: %d %s %v", name, res.StatusCode, body, res.Header)
		}
		if got := w.stored(t, strings.ReplaceAll(f.key, "${filename}", f.fileName)); got != f.content {
			t.Errorf("%s: %d bytes are stored", name, len(got))
		}
	}
	if !slices.ContainsFunc(w.asked(), func(c s3.Check) bool { return c.Action == "s3:PutObject" && c.Bucket == "sales" && c.Key == "a" }) {
		t.Errorf("asked %v", w.asked())
	}
	if log := w.log.String(); !strings.Contains(log, `"operation":"PostObject"`) || !strings.Contains(log, `"authentication":"POST"`) || strings.Contains(log, keys[alice].token) {
		t.Errorf("the log: %.600s", log)
	}
}

func TestFormAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ask := func(name, value string) uploadForm {
		return uploadForm{key: "a b", bucket: "sales", content: "v", fields: [][2]string{{name, value}}, conditions: []any{map[string]string{name: value}}}
	}
	res, body := send(t, w.form(t, ask("success_action_status", "201")))
	etag := res.Header.Get("Etag")
	if res.StatusCode != 201 || res.Header.Get("Content-Type") != "application/xml" || !strings.Contains(body, "<PostResponse><Location>"+w.http.URL+"/sales/a%20b</Location><Bucket>sales</Bucket><Key>a b</Key><ETag>") || etag == "" {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if res, body = send(t, w.form(t, ask("success_action_status", "200"))); res.StatusCode != 200 || body != "" {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if res, body = send(t, w.form(t, ask("success_action_status", "500"))); res.StatusCode != 204 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	res, _ = send(t, w.form(t, ask("success_action_redirect", "https://app.example/done?x=1")))
	if to := res.Header.Get("Location"); res.StatusCode != 303 || !strings.HasPrefix(to, "https://app.example/done?x=1&bucket=sales&key=a%20b&etag=%22") {
		t.Errorf("%d %s", res.StatusCode, to)
	}
}

// TestFormRefusals: whatever is wrong with a form, nothing of it is stored.
func TestFormRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.forbid("s3:PutObject sales/closed*")
	plain := uploadForm{key: "stolen", bucket: "sales", content: "v"}
	with := func(change func(*uploadForm)) uploadForm {
		f := plain
		change(&f)
		return f
	}
	for name, c := range map[string]struct {
		form    uploadForm
		request func(*http.Request)
		body    func(string) string
		status  int
		code    string
	}{
		"denied":                {form: with(func(f *uploadForm) { f.key = "closed" }), status: 403, code: "AccessDenied"},
		"another host's bucket": {form: plain, request: func(r *http.Request) { r.Host, r.URL.Path = "lab.s3.test", "/" }, status: 403, code: "AccessDenied"},
		"another bucket's form": {form: with(func(f *uploadForm) { f.bucket = "lab" }), status: 403, code: "AccessDenied"},
		"expired":               {form: with(func(f *uploadForm) { f.expires = -time.Minute }), status: 403, code: "AccessDenied"},
		"too small":             {form: with(func(f *uploadForm) { f.conditions = []any{[]any{"content-length-range", 2, 9}} }), status: 400, code: "EntityTooSmall"},
		"too large": {form: with(func(f *uploadForm) {
			f.content = "0123456789"
			f.conditions = []any{[]any{"content-length-range", 2, 9}}
		}), status: 400, code: "EntityTooLarge"},
		"too large by far": {form: with(func(f *uploadForm) {
			f.content = strings.Repeat("x", 1<<20)
			f.conditions = []any{[]any{"content-length-range", 2, 9}}
		}), status: 400, code: "EntityTooLarge"},
		"a field not covered": {form: with(func(f *uploadForm) { f.fields = [][2]string{{"x-amz-meta-a", "b"}} }), status: 403, code: "AccessDenied"},
		"a wrong checksum": {form: with(func(f *uploadForm) {
			f.fields = [][2]string{{"x-amz-checksum-crc32", "AAAAAA=="}}
			f.conditions = []any{map[string]string{"x-amz-checksum-crc32": "AAAAAA=="}}
		}), status: 400, code: "BadDigest"},
		"a wrong late checksum": {form: with(func(f *uploadForm) {
			f.content = strings.Repeat("x", 1<<20)
			f.fields = [][2]string{{"x-amz-checksum-crc32", "AAAAAA=="}}
			f.conditions = []any{map[string]string{"x-amz-checksum-crc32": "AAAAAA=="}}
		}), status: 400, code: "BadDigest"},
		"a field behind a large": {form: with(func(f *uploadForm) { f.content = strings.Repeat("x", 1<<20); f.after = [2]string{"submit", "go"} }), status: 400, code: "MalformedPOSTRequest"},
		"an unknown key":         {form: with(func(f *uploadForm) { f.keyID = "ASIANOBODY0000000000" }), status: 403, code: "InvalidAccessKeyId"},
		"a header beside it":     {form: plain, request: func(r *http.Request) { r.Header.Set("X-Amz-Acl", "private") }, status: 403, code: "AccessDenied"},
		"an Authorization":       {form: plain, request: func(r *http.Request) { r.Header.Set("Authorization", "AWS x:y") }, status: 400, code: "InvalidRequest"},
		"a presigned address":    {form: plain, request: func(r *http.Request) { r.URL.RawQuery = "X-Amz-Signature=1" }, status: 400, code: "AuthorizationQueryParametersError"},
		"a query":                {form: plain, request: func(r *http.Request) { r.URL.RawQuery = "acl" }, status: 403, code: "AccessDenied"},
		"a key in the address":   {form: plain, request: func(r *http.Request) { r.URL.Path = "/sales/x" }, status: 405, code: "MethodNotAllowed"},
		"no bucket":              {form: plain, request: func(r *http.Request) { r.URL.Path = "/" }, status: 405, code: "MethodNotAllowed"},
		"no credential at all": {body: func(string) string {
			return "--B\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nstolen\r\n--B\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nv\r\n--B--\r\n"
		}, request: func(r *http.Request) { r.Header.Set("Content-Type", "multipart/form-data; boundary=B") }, status: 403, code: "AccessDenied"},
		"half a credential":   {form: plain, body: func(b string) string { return strings.Replace(b, `name="policy"`, `name="x-ignore-policy"`, 1) }, status: 400, code: "InvalidArgument"},
		"Signature Version 2": {form: with(func(f *uploadForm) { f.fields = [][2]string{{"AWSAccessKeyId", "x"}, {"signature", "y"}} }), status: 400, code: "InvalidRequest"},
		"a changed policy":    {form: plain, body: func(b string) string { return strings.Replace(b, "\"policy\"\r\n\r\ney", "\"policy\"\r\n\r\nez", 1) }, status: 403, code: "SignatureDoesNotMatch"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kind, body := c.form.write(t)
			if c.body != nil {
				body = []byte(c.body(string(body)))
			}
			req, err := http.NewRequest("POST", w.http.URL+"/sales", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", kind)
			if c.request != nil {
				c.request(req)
			}
			refused(t, req, c.status, c.code)
			w.absent(t, "sales", "stolen")
			w.absent(t, "lab", "stolen")
		})
	}
}

// TestAttackFormBucketSwap: CVE-2023-43040 of Ceph. The bucket of the address
// counts, in policy and decision; a field of that name is no other place for it.
func TestAttackFormBucketSwap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := uploadForm{key: "stolen", bucket: "lab", content: "v", fields: [][2]string{{"bucket", "lab"}}}
	refused(t, w.form(t, f), 403, "AccessDenied")
	f.bucket = "sales"
	refused(t, w.form(t, f), 403, "AccessDenied")
	if asked := w.asked(); len(asked) != 0 {
		t.Errorf("decisions were asked: %v", asked)
	}
	w.absent(t, "sales", "stolen")
	w.absent(t, "lab", "stolen")
}

// TestFormOfLateBytes: a form that stops before its end leaves nothing behind,
// however near to it.
func TestFormOfLateBytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kind, body := uploadForm{key: "late", bucket: "sales", content: strings.Repeat("x", 1<<20)}.write(t)
	for _, missing := range []int{1, 20, 200, 100 << 10} {
		c := w.dial(t)
		write(t, c, fmt.Sprintf("POST /sales HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", kind, len(body), body[:len(body)-missing]))
		_ = c.Close()
	}
	time.Sleep(100 * time.Millisecond)
	w.absent(t, "sales", "late")
}
