//go:build interop

package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/chromedp/chromedp"
)

// TestPagesOfAnotherOriginInChromium: a page of another origin, in a real
// browser, reads by a presigned URL, uploads with PUT and with a form, and reads
// why it was refused; a page that no rule allows does none of it. A plain HTML
// form needs no rule.
func TestPagesOfAnotherOriginInChromium(t *testing.T) {
	w := newWorld(t)
	w.put(t, "sales", "k", "the value")
	w.keeping(t, nil)
	page := func() *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "text/html")
			if r.URL.Path == "/form" {
				_, _ = rw.Write([]byte(w.htmlForm(t, "http://"+r.Host+"/done")))
				return
			}
			_, _ = fmt.Fprintf(rw, "<title>%s</title>", r.URL.Path)
		}))
		t.Cleanup(s.Close)
		return s
	}
	allowed, other := page(), page()
	cors := strings.Replace(strings.Replace(rules, "https://*.example", allowed.URL, 1), "<AllowedMethod>PUT</AllowedMethod>", "<AllowedMethod>PUT</AllowedMethod><AllowedMethod>POST</AllowedMethod>", 1)
	cors = strings.Replace(cors, "<AllowedHeader>x-amz-*</AllowedHeader>", "<AllowedHeader>content-type</AllowedHeader>", 1)
	if res, body := send(t, w.request(t, "PUT", "/sales?cors", cors, nil)); res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	tab := chromium(t)
	visit := func(address, script string) string {
		t.Helper()
		begin := "window.answer = ''; " + script + ".then(a => { window.answer = a }); true"
		if err := chromedp.Do(tab, chromedp.Navigate(address)); err != nil {
			t.Fatal(err)
		}
		if _, err := chromedp.Run(tab, chromedp.Evaluate[bool](begin)); err != nil {
			t.Fatal(err)
		}
		return awaited(t, tab, "window.answer")
	}
	get, put, missing := w.presigned(t, "GET", "k"), w.presigned(t, "PUT", "by-put"), w.presigned(t, "GET", "none")
	read := func(url string) string {
		return fmt.Sprintf(`fetch(%q).then(async r => r.status + " " + r.headers.get("etag") + " " + await r.text()).catch(e => "blocked")`, url)
	}
	if got := visit(allowed.URL, read(get)); !strings.HasPrefix(got, "200 \"") || !strings.HasSuffix(got, " the value") {
		t.Errorf("GET: %q", got)
	}
	if got := visit(allowed.URL, read(missing)); !strings.HasPrefix(got, "404") || !strings.Contains(got, "NoSuchKey") {
		t.Errorf("an error: %q", got)
	}
	if got := visit(allowed.URL, fmt.Sprintf(`fetch(%q, {method: "PUT", body: "put by a page", headers: {"Content-Type": "text/x-mine"}}).then(r => "" + r.status).catch(e => "blocked")`, put)); got != "200" || w.stored(t, "by-put") != "put by a page" {
		t.Errorf("PUT: %q", got)
	}
	upload := func(key string) string {
		fields, err := json.Marshal(uploadForm{key: key, bucket: "sales"}.signed(t))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`(() => { const f = new FormData(); for (const [n, v] of %s) f.append(n, v); f.append("file", new File(["x".repeat(200000)], "large.txt"));
			return fetch(%q, {method: "POST", body: f}).then(r => "" + r.status).catch(e => "blocked"); })()`, fields, w.http.URL+"/sales")
	}
	if got := visit(allowed.URL, upload("by-form")); got != "204" || len(w.stored(t, "by-form")) != 200000 {
		t.Errorf("form: %q", got)
	}
	for name, script := range map[string]string{"GET": read(get), "PUT": fmt.Sprintf(`fetch(%q, {method: "PUT", body: "x"}).then(r => "" + r.status).catch(e => "blocked")`, w.presigned(t, "PUT", "stolen"))} {
		if got := visit(other.URL, script); got != "blocked" {
			t.Errorf("%s by a page that no rule allows: %q", name, got)
		}
	}
	w.absent(t, "sales", "stolen")
	if err := chromedp.Do(tab, chromedp.Navigate(other.URL+"/form"), chromedp.Click("#go")); err != nil {
		t.Fatal(err)
	}
	if at := awaited(t, tab, `location.pathname === "/done" ? location.href : ""`); !strings.Contains(at, "bucket=sales&key=by-html&etag=%22") {
		t.Errorf("the form led to %s", at)
	}
	if got := w.stored(t, "by-html"); got != "typed in" {
		t.Errorf("an HTML form: %q", got)
	}
}

// presigned makes a presigned URL as the AWS SDK does.
func (w *world) presigned(t *testing.T, method, key string) string {
	t.Helper()
	p := awss3.NewPresignClient(client(w.http, alice))
	if method == "PUT" {
		r, err := p.PresignPutObject(t.Context(), &awss3.PutObjectInput{Bucket: aws.String("sales"), Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		return r.URL
	}
	r, err := p.PresignGetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("sales"), Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	return r.URL
}

// htmlForm is a page with a form: its file is text that was typed in, as S3 takes
// it, too.
func (w *world) htmlForm(t *testing.T, to string) string {
	f := uploadForm{key: "by-html", bucket: "sales", fields: [][2]string{{"success_action_redirect", to}}, conditions: []any{map[string]string{"success_action_redirect": to}}}
	var b strings.Builder
	fmt.Fprintf(&b, `<form method="post" enctype="multipart/form-data" action="%s/sales">`, w.http.URL)
	for _, field := range f.signed(t) {
		fmt.Fprintf(&b, `<input type="hidden" name="%s" value="%s">`, html.EscapeString(field[0]), html.EscapeString(field[1]))
	}
	b.WriteString(`<textarea name="file">typed in</textarea><input type="submit" id="go" name="submit" value="Upload"></form>`)
	return b.String()
}

// awaited gives the text that an expression has once it isn't empty.
func awaited(t *testing.T, tab context.Context, expression string) string {
	t.Helper()
	for {
		got, err := chromedp.Run(tab, chromedp.Evaluate[string](expression))
		if err == nil && got != "" {
			return got
		}
		select {
		case <-tab.Done():
			t.Fatalf("%s: %v", expression, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// chromium starts a headless browser with a profile of its own.
func chromium(t *testing.T) context.Context {
	t.Helper()
	tab, stop := chromedp.NewExecAllocator(t.Context(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-background-networking", true))...)
	t.Cleanup(stop)
	tab, stop = chromedp.NewContext(tab)
	t.Cleanup(stop)
	tab, stop = context.WithTimeout(tab, 2*time.Minute)
	t.Cleanup(stop)
	return tab
}
