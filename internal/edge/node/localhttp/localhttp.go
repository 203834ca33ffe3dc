// Package localhttp holds what every face of the agent on loopback asks of an HTTP
// request before anything else: that a local program sent it on purpose.
//
// Who is calling is the kernel's word (package attest). But a browser, a proxy or a
// server that fetches what others name also calls from this machine, as its own
// user, with a request that somebody else wrote. Such requests carry marks: a name
// in Host that resolves here (DNS rebinding), an Origin or another header that only
// browsers send, a header that says on whose behalf they go on. One mark is enough
// to be refused.
//
// It must never let a request through because a mark has an empty value.
package localhttp

import (
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

// The codes of the refusals.
const (
	CodeHost      = "node.host"      // Host is not an address of the face
	CodeForwarded = "node.forwarded" // sent on by a proxy
	CodeBrowser   = "node.browser"   // sent by a web page
)

// Hosts are the values of Host under which a face answers: a closed list.
type Hosts []string

// HostsOf gives the names of a face that listens at the addresses (host:port): each
// as it stands, without the port where that is 80, and localhost where the address
// is a loopback one.
func HostsOf(addresses ...string) Hosts {
	var out Hosts
	add := func(host, port string) {
		names := []string{net.JoinHostPort(host, port)}
		if port == "80" {
			names = append(names, strings.TrimSuffix(names[0], ":80"))
		}
		for _, n := range names {
			if !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	for _, a := range addresses {
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			continue
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			continue
		}
		add(host, port)
		if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
			add("localhost", port)
		}
	}
	return out
}

// forwarded are the headers by which proxies say for whom they ask.
var forwarded = map[string]bool{
	"Forwarded": true, "Via": true, "X-Real-Ip": true, "X-Client-Ip": true, "True-Client-Ip": true, "Cf-Connecting-Ip": true,
	"X-Original-Host": true, "X-Original-Url": true, "X-Rewrite-Url": true, "Proxy-Connection": true,
}

// Check refuses a request that carries a mark. Its faults are of kind Denied.
func (h Hosts) Check(r *http.Request) error {
	if !slices.Contains(h, strings.ToLower(r.Host)) {
		return fault.Coded(fault.Denied, CodeHost, "The request names another host than this endpoint: "+fault.Clip(r.Host)).
			WithMend("name it by one of " + strings.Join(h, ", ") + ", with the bucket in the path where one is meant")
	}
	if r.URL.Host != "" {
		return fault.Coded(fault.Denied, CodeForwarded, "The request was written for a proxy").WithMend("leave this endpoint out of HTTP_PROXY: add its address to NO_PROXY")
	}
	for name := range r.Header {
		switch {
		case forwarded[name] || strings.HasPrefix(name, "X-Forwarded-"):
			return fault.Coded(fault.Denied, CodeForwarded, "The request was sent on by a proxy, by its header "+fault.Clip(name)).
				WithMend("have the program ask by itself: add the endpoint's address to NO_PROXY")
		case name == "Origin" || strings.HasPrefix(name, "Sec-Fetch-") || strings.HasPrefix(name, "Access-Control-"):
			return fault.Coded(fault.Denied, CodeBrowser, "A web page sent the request, by its header "+fault.Clip(name)).
				WithMend("keys are for programs on this machine; web pages get none")
		}
	}
	return nil
}
