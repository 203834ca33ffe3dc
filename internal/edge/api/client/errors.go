package client

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

// problemWire is a problem document (RFC 9457) with Carnet's own members.
type problemWire struct {
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Kind      string `json:"kind"`
	Code      string `json:"code"`
	Mend      string `json:"mend"`
	RequestID string `json:"request_id"`
}

// RequestError is the private cause of a fault that came from the server: it
// keeps the request id, by which the server's log has the full story.
type RequestError struct {
	Status    int
	RequestID string
}

func (e *RequestError) Error() string { return "request id " + e.RequestID }

// RequestID gives the server's id of the request that failed with err, or "".
func RequestID(err error) string {
	var r *RequestError
	if errors.As(err, &r) {
		return r.RequestID
	}
	return ""
}

// problem turns a refusal into a fault.
func problem(base *url.URL, res *http.Response, body []byte) error {
	var p problemWire
	isProblem := strings.HasPrefix(res.Header.Get("Content-Type"), "application/problem+json")
	if !isProblem {
		return notCarnet(base, res.StatusCode, nil)
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return notCarnet(base, res.StatusCode, err)
	}
	f := &fault.Fault{
		Kind: kind(p.Kind), Code: p.Code, Public: p.Detail, Mend: p.Mend,
		Cause: &RequestError{Status: res.StatusCode, RequestID: p.RequestID},
	}
	if f.Public == "" {
		f.Public = fmt.Sprintf("the server refused with status %d", res.StatusCode)
	}
	return f
}

// kind reads the name of a kind. One that a newer server knows and we do not is
// Internal: it must never be taken for something a caller could act on.
func kind(name string) fault.Kind {
	for _, k := range fault.Kinds() {
		if k.String() == name {
			return k
		}
	}
	return fault.Internal
}

func notCarnet(base *url.URL, status int, cause error) error {
	return fault.Wrap(cause, fault.Unavailable, fmt.Sprintf("%s answered with status %d, and not as a Carnet server does", base, status)).
		WithCode("server.foreign-answer").
		WithMend("check the server address; a proxy in between may have answered")
}

// unreachable says why no answer came.
func unreachable(base *url.URL, err error) error {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &unknown):
		return fault.Wrap(err, fault.Misconfigured, "the certificate of "+base.Host+" is signed by an authority that this machine does not trust").
			WithCode("server.certificate").WithMend("add the authority to this machine's trust store, or name its file in SSL_CERT_FILE")
	case errors.As(err, &host):
		return fault.Wrap(err, fault.Misconfigured, "the certificate of "+base.Host+" is for another host name").
			WithCode("server.certificate").WithMend("use the host name that the certificate is for")
	default:
		return fault.Wrap(err, fault.Unavailable, "no answer from "+base.String()).
			WithCode("server.unreachable").WithMend("check that the server runs and that this machine reaches it")
	}
}
