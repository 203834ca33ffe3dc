package sigv4_test

import (
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// documented is the example of the S3 API Reference, "Example: Browser-Based
// Upload using HTTP POST (Using AWS Signature Version 4)".
func documented() map[string]string {
	return map[string]string{
		"x-amz-algorithm":  "AWS4-HMAC-SHA256",
		"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request",
		"x-amz-date":       "20151229T000000Z",
		"x-amz-signature":  "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e",
		"policy":           "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9",
	}
}

const documentedSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

// TestForms holds the documented form, and what may not be changed of it.
func TestForms(t *testing.T) {
	t.Parallel()
	day := time.Date(2015, 12, 29, 1, 0, 0, 0, time.UTC)
	scope := sigv4.Scope{Service: "s3", Region: "us-east-1"}
	request := func(headers ...string) *sigv4.Request {
		r := &sigv4.Request{Method: "POST", Target: "/sigv4examplebucket", Host: "s3.test", Header: map[string][]string{}}
		for i := 0; i < len(headers); i += 2 {
			r.Header[headers[i]] = []string{headers[i+1]}
		}
		return r
	}
	for name, c := range map[string]struct {
		change  func(map[string]string)
		request *sigv4.Request
		secret  string
		now     time.Time
		scope   sigv4.Scope
		code    string
	}{
		"as documented":             {},
		"another secret key":        {secret: "x", code: "SignatureDoesNotMatch"},
		"another policy":            {change: func(f map[string]string) { f["policy"] = "e30=" }, code: "SignatureDoesNotMatch"},
		"a policy with a break":     {change: func(f map[string]string) { f["policy"] += "\n" }, code: "SignatureDoesNotMatch"},
		"a signature in upper case": {change: func(f map[string]string) { f["x-amz-signature"] = strings.ToUpper(f["x-amz-signature"]) }, code: "SignatureDoesNotMatch"},
		"no signature":              {change: func(f map[string]string) { delete(f, "x-amz-signature") }, code: "SignatureDoesNotMatch"},
		"another day":               {change: func(f map[string]string) { f["x-amz-date"] = "20151230T000000Z" }, code: "InvalidArgument"},
		"another day in the scope": {change: func(f map[string]string) {
			f["x-amz-date"], f["x-amz-credential"] = "20151228T000000Z", strings.Replace(f["x-amz-credential"], "1229", "1228", 1)
		}, code: "SignatureDoesNotMatch"},
		"no date":              {change: func(f map[string]string) { delete(f, "x-amz-date") }, code: "InvalidArgument"},
		"no credential":        {change: func(f map[string]string) { delete(f, "x-amz-credential") }, code: "InvalidArgument"},
		"another region":       {scope: sigv4.Scope{Service: "s3", Region: "eu-west-1"}, code: "InvalidArgument"},
		"another service":      {scope: sigv4.Scope{Service: "sts", Region: "us-east-1"}, code: "InvalidArgument"},
		"no algorithm":         {change: func(f map[string]string) { delete(f, "x-amz-algorithm") }, code: "InvalidArgument"},
		"Signature Version 4A": {change: func(f map[string]string) { f["x-amz-algorithm"] = "AWS4-ECDSA-P256-SHA256" }, code: "InvalidRequest"},
		"Signature Version 2":  {change: func(f map[string]string) { f["awsaccesskeyid"], f["signature"] = "AKIAIOSFODNN7EXAMPLE", "x" }, code: "InvalidRequest"},
		"after a week":         {now: day.Add(7 * 24 * time.Hour), code: "AccessDenied"},
		"before its time":      {now: day.Add(-2 * time.Hour), code: "AccessDenied"},
		"a token in the head":  {request: request("X-Amz-Security-Token", "t"), code: "AccessDenied"},
		"an unsigned header":   {request: request("X-Amz-Acl", "public-read"), code: "AccessDenied"},
		"a signed head":        {request: request("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature="+strings.Repeat("0", 64), "X-Amz-Date", "20151229T000000Z"), code: "InvalidArgument"},
		"Basic in the head":    {request: request("Authorization", "Basic eDp5"), code: "InvalidArgument"},
		"a signed query":       {request: &sigv4.Request{Method: "POST", Target: "/b?X-Amz-Signature=0", Header: map[string][]string{}}, code: "AuthorizationQueryParametersError"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fields, r := documented(), c.request
			if c.change != nil {
				c.change(fields)
			}
			if r == nil {
				r = request()
			}
			if c.now.IsZero() {
				c.now = day
			}
			if c.secret == "" {
				c.secret = documentedSecret
			}
			if c.scope == (sigv4.Scope{}) {
				c.scope = scope
			}
			p, err := sigv4.ParseForm(r, func(n string) string { return fields[n] })
			if err == nil {
				err = p.VerifyForm(r, fields["policy"], sigv4.DeriveKey(secret.New(c.secret), p.Date, p.Region, p.Service), c.scope, c.now)
			}
			if c.code == "" && err != nil || c.code != "" && fault.Of(err).Code != c.code {
				t.Errorf("%v, want %q", err, c.code)
			}
			if err == nil && (p.Place.String() != "POST" || p.AccessKeyID != "AKIAIOSFODNN7EXAMPLE") {
				t.Errorf("%+v", p)
			}
		})
	}
}
