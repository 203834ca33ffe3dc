package sigv4

import (
	"errors"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// TestTexts holds refusals to the words of S3, which people search for and some
// clients show without the code.
func TestTexts(t *testing.T) {
	t.Parallel()
	good := docRequests()["get object"].Header["Authorization"][0]
	const header, scope, query = "The authorization header is malformed; ", "Error parsing the X-Amz-Credential parameter; ", "Query-string authentication version 4 requires the " +
		"X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
	for want, c := range map[string][3]string{
		"Authorization header is invalid -- one and only one ' ' (space) required.":                                 {"get object", good, "AWS4-HMAC-SHA256"},
		"Unsupported Authorization Type":                                                                            {"get object", "AWS4-HMAC-SHA256", "AWS2-HMAC-SHA1"},
		header + "the authorization component \"SignedHeaders-x\" is malformed.":                                    {"get object", "SignedHeaders=", "SignedHeaders-x,Signature="},
		header + "the authorization header requires three components: Credential, SignedHeaders, and Signature.":    {"get object", ",Signature=", ";"},
		header + "missing Credential.":                                                                              {"get object", "Credential=", "missing="},
		header + "missing SignedHeaders.":                                                                           {"get object", "SignedHeaders=", "missing="},
		header + "missing Signature.":                                                                               {"get object", "Signature=", "missing="},
		header + "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".":    {"get object", "/us-east-1", "/us/east"},
		header + "incorrect terminal \"aws_request\". This endpoint uses \"aws4_request\".":                         {"get object", "aws4_request", "aws_request"},
		header + "incorrect date format \"32234\". This date in the credential must be in the format \"yyyyMMdd\".": {"get object", "20130524/", "32234/"},
		header + "incorrect service \"ec2\". This endpoint belongs to \"s3\".":                                      {"get object", "/s3/", "/ec2/"},
		header + "the region \"us-west-1\" is wrong; expecting \"us-east-1\"":                                       {"get object", "us-east-1", "us-west-1"},
		header + "Invalid credential date \"20130525\". This date is not the same as X-Amz-Date: \"20130524\".":     {"get object", "20130524/", "20130525/"},
		query: {"presigned", "&X-Amz-Expires=86400", ""},
		scope + "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".":                  {"presigned", "%2Fus-east-1", ""},
		scope + "incorrect terminal \"aws5_request\". This endpoint uses \"aws4_request\".":                                      {"presigned", "aws4_request", "aws5_request"},
		scope + "incorrect service \"ec2\". This endpoint belongs to \"s3\".":                                                    {"presigned", "%2Fs3%2F", "%2Fec2%2F"},
		scope + "the region \"us-west-1\" is wrong; expecting \"us-east-1\"":                                                     {"presigned", "us-east-1", "us-west-1"},
		"Invalid credential date \"20130525\". This date is not the same as X-Amz-Date: \"20130524\".":                           {"presigned", "20130524%2F", "20130525%2F"},
		"X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"":                                                 {"presigned", "20130524T000000Z", "20130524"},
		"X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"; Signature Version 4A (AWS4-ECDSA-P256-SHA256) is not supported":     {"presigned", "AWS4-HMAC", "AWS5-HMAC"},
		"X-Amz-Expires should be a number":                                                                                       {"presigned", "86400", "x"},
		"X-Amz-Expires must be non-negative":                                                                                     {"presigned", "86400", "-3"},
		"X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds": {"presigned", "86400", "604801"},
	} {
		r := docRequests()[c[0]]
		before := r.Target + strings.Join(r.Header["Authorization"], "")
		r.Target = strings.Replace(r.Target, c[1], c[2], 1)
		if a := r.Header["Authorization"]; len(a) == 1 {
			a[0] = strings.Replace(a[0], c[1], c[2], 1)
		}
		if before == r.Target+strings.Join(r.Header["Authorization"], "") {
			t.Fatalf("%q changes nothing", c)
		}
		var f *fault.Fault
		if err := verify(t, r, docNow); !errors.As(err, &f) || f.Public != want {
			t.Errorf("%q: %v\nwant %q", c, err, want)
		}
	}
}

// TestDetails: what S3 tells beside the text.
func TestDetails(t *testing.T) {
	t.Parallel()
	details := func(err error) map[string]string {
		got := map[string]string{}
		for _, d := range fault.Of(err).Details {
			got[d.Name] = d.Value
		}
		return got
	}
	late := details(verify(t, docRequests()["presigned"], docNow.Add(48*time.Hour)))
	if late["X-Amz-Expires"] != "86400" || late["Expires"] != "2013-05-25T00:00:00Z" || late["ServerTime"] != "2013-05-26T00:00:00Z" {
		t.Errorf("expired: %v", late)
	}
	r := docRequests()["get object"]
	r.Target += "x"
	if got := details(verify(t, r, docNow)); got["AWSAccessKeyId"] != "AKIAIOSFODNN7EXAMPLE" || len(got["SignatureProvided"]) != 64 {
		t.Errorf("another signature: %v", got)
	}
	r = docRequests()["get object"]
	r.Header["Authorization"][0] = strings.Replace(r.Header["Authorization"][0], "us-east-1", "eu-west-1", 1)
	if got := details(verify(t, r, docNow)); got["Region"] != "us-east-1" {
		t.Errorf("another region: %v", got)
	}
	r = docRequests()["get object"]
	r.Header["X-Amz-Acl"] = []string{"private"}
	if got := details(verify(t, r, docNow)); got["HeadersNotSigned"] != "x-amz-acl" {
		t.Errorf("not signed: %v", got)
	}
	p := &Presented{Place: Header, PayloadHash: EmptyHash}
	b, err := p.Body(strings.NewReader("x"), Key{}, BodySpec{Mode: PayloadHashed, Length: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Read(make([]byte, 8))
	if got := details(err); got["ClientComputedContentSHA256"] != EmptyHash || got["S3ComputedContentSHA256"] != hexHash("x") {
		t.Errorf("another payload: %v", got)
	}
}
