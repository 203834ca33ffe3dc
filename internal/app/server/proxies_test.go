package server_test

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/app/visitor"
)

// fronted is an installation that people reach through a proxy, and one of them
// signed in. The role may act from the documentation network alone.
func fronted(t *testing.T, aws string) (*installation, *running, *visitor.Visitor) {
	t.Helper()
	in := install(t,
		func(text string) string {
			at := strings.Index(text, "  aws: {address: \"")
			end := at + strings.Index(text[at:], "}")
			return text[:end] + ", url: \"" + aws + "\"" + text[end:end+2] + "  proxies: [127.0.0.1]\n" + text[end+2:]
		})
	idp, _ := identityProvider(t, in.base+"/saml/consume")
	metadata := idp.Metadata()
	in.write(t, "corp.xml", string(metadata))
	in.must(t, "sso", "add", "--name", "Corp", "--metadata", "corp.xml", "--accounts", "111122223333", "--roles", "*", "--domains", "example.com")
	file := in.authority(t, metadata)
	in.write(t, "authority.yaml", strings.Replace(in.read(t, "authority.yaml"), `"arn:aws:s3:::sales/*"]}`,
		`"arn:aws:s3:::sales/*"], Condition: {IpAddress: {"aws:SourceIp": "192.0.2.0/24"}}}`, 1))
	in.must(t, "authority", "apply", file)
	r := in.serve(t)
	ann := visitor.New(nil)
	soon(t, "a role to assume", func() bool { return roleOf(t, in, ann).State == "ready" })
	return in, r, ann
}

// TestBehindAProxy: a proxy that changes the Host header, as most do, breaks no
// signature, and policies see who came to it.
func TestBehindAProxy(t *testing.T) {
	t.Parallel()
	front := freeAddress(t)
	in, r, ann := fronted(t, "http://"+front)
	backend, err := url.Parse("http://" + in.aws)
	must(t, err)
	client := "192.0.2.7"
	proxy := &http.Server{Addr: front, Handler: &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(backend) // changes the Host header
		p.Out.Header["X-Forwarded-For"] = []string{client}
	}}}
	served := make(chan error, 1)
	go func() { served <- proxy.ListenAndServe() }()
	t.Cleanup(func() { must(t, proxy.Close()); <-served })
	firstObject(t, in, "http://"+front, ann)
	soon(t, "the client in the log", func() bool { return strings.Contains(r.log.String(), "192.0.2.7") })
	// Straight to the port nobody can pose as somebody else's client.
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+in.aws+"/sales/first.txt", nil)
	must(t, err)
	req.Header.Set("X-Forwarded-For", "not an address")
	res, err := http.DefaultClient.Do(req)
	must(t, err)
	defer res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("a proxy that sends nonsense gets %d", res.StatusCode)
	}
}
