package localhttp

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
)

func TestHostsOfListeners(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   []string
		want Hosts
	}{
		{[]string{"127.0.0.1:1018"}, Hosts{"127.0.0.1:1018", "localhost:1018"}},
		{[]string{"[::1]:1018", "127.0.0.1:1018"}, Hosts{"[::1]:1018", "localhost:1018", "127.0.0.1:1018"}},
		{[]string{"169.254.170.2:80"}, Hosts{"169.254.170.2:80", "169.254.170.2"}},
		{[]string{"[fd00:ec2::254]:80"}, Hosts{"[fd00:ec2::254]:80", "[fd00:ec2::254]"}},
		{[]string{"no port", "127.0.0.1:http", "/run/socket"}, nil},
	} {
		if got := HostsOf(c.in...); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

func request(host string, header ...string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.Host = host
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

// TestAttackRequestsWrittenByOthers: DNS rebinding, server-side request forgery
// through a proxy, and web pages.
func TestAttackRequestsWrittenByOthers(t *testing.T) {
	t.Parallel()
	hosts := HostsOf("127.0.0.1:1018", "169.254.170.2:80")
	for _, good := range []*http.Request{
		request("127.0.0.1:1018"), request("localhost:1018"), request("LOCALHOST:1018"), request("169.254.170.2"),
		request("127.0.0.1:1018", "Authorization", "x", "Accept", "*/*", "User-Agent", "aws-sdk"),
	} {
		if err := hosts.Check(good); err != nil {
			t.Errorf("%s: %v", good.Host, err)
		}
	}
	absolute := request("127.0.0.1:1018")
	absolute.URL = &url.URL{Scheme: "http", Host: "127.0.0.1:1018", Path: "/"}
	for _, c := range []struct {
		r    *http.Request
		code string
	}{
		{request("attacker.example:1018"), CodeHost}, {request(""), CodeHost}, {request("127.0.0.1"), CodeHost}, {request("localhost"), CodeHost},
		{request("localhost:80"), CodeHost}, {request("127.0.0.1:1018."), CodeHost}, {request("bucket.localhost:1018"), CodeHost}, {request("0.0.0.0:1018"), CodeHost},
		{request("127.0.0.1:1018", "Origin", "http://127.0.0.1:1018"), CodeBrowser}, {request("127.0.0.1:1018", "Origin", ""), CodeBrowser},
		{request("127.0.0.1:1018", "Sec-Fetch-Site", "none"), CodeBrowser}, {request("127.0.0.1:1018", "Access-Control-Request-Method", "PUT"), CodeBrowser},
		{request("127.0.0.1:1018", "X-Forwarded-For", "10.0.0.1"), CodeForwarded}, {request("127.0.0.1:1018", "x-forwarded-proto", ""), CodeForwarded},
		{request("127.0.0.1:1018", "Forwarded", "for=1"), CodeForwarded}, {request("127.0.0.1:1018", "Via", "1.1 x"), CodeForwarded}, {request("127.0.0.1:1018", "X-Real-IP", "1"), CodeForwarded},
		{absolute, CodeForwarded},
	} {
		if err := hosts.Check(c.r); err == nil || fault.Of(err).Code != c.code || fault.KindOf(err) != fault.Denied {
			t.Errorf("%s %v: %v, want %s", c.r.Host, c.r.Header, err, c.code)
		}
	}
}
