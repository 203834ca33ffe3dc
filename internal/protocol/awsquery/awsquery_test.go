package awsquery_test

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/awsquery"
)

const form = "application/x-www-form-urlencoded"

func TestParametersFromEachPlace(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ method, query, kind, body string }{
		"form":                    {"POST", "", form, "Action=X&Version=2011-06-15&Role=a%2Fb+c"},
		"form with charset":       {"POST", "", form + "; charset=utf-8", "Action=X&Role=a%2fb%20c"},
		"GET":                     {"GET", "Action=X&Role=a/b+c", "", ""},
		"query of an empty POST":  {"POST", "Action=X&Role=a/b+c", "", ""},
		"both":                    {"POST", "Action=X", form, "Role=a/b c"},
		"empty pairs are nothing": {"POST", "&", form, "&&Action=X&Role=a/b+c&"},
	} {
		p, err := awsquery.Parse(tc.method, tc.query, tc.kind, []byte(tc.body))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		action, _ := p.Get("Action")
		role, ok := p.Get("Role")
		if _, absent := p.Get("Absent"); action != "X" || role != "a/b c" || !ok || absent {
			t.Errorf("%s: %q %q", name, action, role)
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	for i := range 1001 {
		fmt.Fprintf(&many, "a%d=&", i)
	}
	for name, tc := range map[string]struct{ method, query, kind, body, code string }{
		"twice in the form":            {"POST", "", form, "a=1&a=1", "InvalidParameterValue"},
		"twice, spelled otherwise":     {"POST", "", form, "a=1&%61=2", "InvalidParameterValue"},
		"in query and form":            {"POST", "a=1", form, "a=2", "InvalidParameterValue"},
		"percent cut":                  {"GET", "a=%4", "", "", "MalformedQueryString"},
		"percent without hex":          {"GET", "a=%zz", "", "", "MalformedQueryString"},
		"percent and sign":             {"GET", "a=%+1", "", "", "MalformedQueryString"},
		"not UTF-8":                    {"GET", "a=%ff", "", "", "MalformedQueryString"},
		"NUL":                          {"GET", "a=%00", "", "", "MalformedQueryString"},
		"no name":                      {"GET", "=x", "", "", "MalformedQueryString"},
		"GET with a body":              {"GET", "", form, "a=1", "MalformedQueryString"},
		"JSON":                         {"POST", "", "application/json", `{}`, "MalformedQueryString"},
		"no content type":              {"POST", "", "", "a=1", "MalformedQueryString"},
		"multipart":                    {"POST", "", "multipart/form-data; boundary=x", "a=1", "MalformedQueryString"},
		"another charset":              {"POST", "", form + "; charset=utf-16", "a=1", "MalformedQueryString"},
		"too many":                     {"GET", many.String(), "", "", "MalformedQueryString"},
		"body over the limit":          {"POST", "", form, "a=" + strings.Repeat("x", awsquery.MaxBody), "RequestEntityTooLarge"},
		"query over the limit":         {"POST", "a=" + strings.Repeat("x", awsquery.MaxBody), form, "", "RequestEntityTooLarge"},
		"parameter twice, second none": {"POST", "", form, "a=1&a", "InvalidParameterValue"},
	} {
		_, err := awsquery.Parse(tc.method, tc.query, tc.kind, []byte(tc.body))
		if err == nil || fault.Of(err).Code != tc.code {
			t.Errorf("%s: got %v, want %s", name, err, tc.code)
		}
	}
}

func parse(t *testing.T, body string) awsquery.Parameters {
	t.Helper()
	p, err := awsquery.Parse("POST", "", form, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLists(t *testing.T) {
	t.Parallel()
	p := parse(t, "P.member.1.arn=a&P.member.2.arn=b&T.member.1=x&G.member.2=x&O.member.1.other=x&Z.member.01=x")
	if got, err := p.List("P", ".arn"); err != nil || !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%q %v", got, err)
	}
	if got, err := p.List("T", ""); err != nil || !slices.Equal(got, []string{"x"}) {
		t.Errorf("%q %v", got, err)
	}
	if got, err := p.List("Absent", ""); err != nil || got != nil {
		t.Errorf("%q %v", got, err)
	}
	for _, prefix := range []string{"G", "O", "Z"} {
		if got, err := p.List(prefix, ""); err == nil {
			t.Errorf("%s: %q", prefix, got)
		}
	}
}

func TestUnknownParametersAreRefused(t *testing.T) {
	t.Parallel()
	p := parse(t, "Action=X&Version=1&RoleArn=a&Tags.member.1.Key=k&X-Amz-Date=d")
	if err := p.Only("RoleArn", "Tags."); err != nil {
		t.Error(err)
	}
	for _, known := range [][]string{{"RoleArn"}, {"Tags."}, {"RoleArn", "Tags"}, {"rolearn", "Tags."}} {
		if err := p.Only(known...); err == nil || fault.Of(err).Code != "ValidationError" {
			t.Errorf("%q: %v", known, err)
		}
	}
}

func TestAnswerShape(t *testing.T) {
	t.Parallel()
	got := string(awsquery.Answer("GetCallerIdentity", []awsquery.Field{
		{Name: "Arn", Text: "a<&>\"'\x01"}, {Name: "Empty"}, {Name: "Inner", Fields: []awsquery.Field{{Name: "X", Text: "1"}}},
	}, "R1"))
	want := `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>` +
		`<Arn>a&lt;&amp;&gt;&#34;&#39;` + "\ufffd" + `</Arn><Inner><X>1</X></Inner></GetCallerIdentityResult>` +
		`<ResponseMetadata><RequestId>R1</RequestId></ResponseMetadata></GetCallerIdentityResponse>`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestErrorShape(t *testing.T) {
	t.Parallel()
	for status, kind := range map[int]string{403: "Sender", 503: "Receiver"} {
		var doc struct {
			XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
			Type    string   `xml:"Error>Type"`
			Code    string   `xml:"Error>Code"`
			Message string   `xml:"Error>Message"`
			ID      string   `xml:"RequestId"`
		}
		if err := xml.Unmarshal(awsquery.Error(status, "AccessDenied", "<no>", "R1"), &doc); err != nil {
			t.Fatal(err)
		}
		if doc.Type != kind || doc.Code != "AccessDenied" || doc.Message != "<no>" || doc.ID != "R1" {
			t.Errorf("%+v", doc)
		}
	}
}

// TestEveryKindHasAStatus fails when a kind is added without a line here.
func TestEveryKindHasAStatus(t *testing.T) {
	t.Parallel()
	for _, k := range fault.Kinds() {
		status, code, message := awsquery.ErrorOf(fault.New(k, "public text"))
		ours := k == fault.Internal || k == fault.Misconfigured
		if (status == 500) != ours || code == "" || ours == strings.Contains(message, "public text") {
			t.Errorf("%s: %d %s %q", k, status, code, message)
		}
	}
	for code, status := range map[string]int{"InvalidIdentityToken": 400, "AccessDenied": 403, "ExpiredTokenException": 400, "MalformedQueryString": 404} {
		if got, gotCode, _ := awsquery.ErrorOf(fault.Coded(fault.Invalid, code, "x")); got != status || gotCode != code {
			t.Errorf("%s: %d %s", code, got, gotCode)
		}
	}
	if _, code, _ := awsquery.ErrorOf(fault.Coded(fault.Unauthenticated, "saml.audience", "x")); code != "InvalidClientTokenId" {
		t.Errorf("a code of our own went out as %s", code)
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/requests/*")
	if len(files) == 0 {
		f.Fatal("no seed in testdata/requests")
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("Action=X", form, b)
		f.Add(string(b), "", []byte{})
	}
	f.Fuzz(func(t *testing.T, query, kind string, body []byte) {
		p, err := awsquery.Parse("POST", query, kind, body)
		if err != nil {
			if fault.KindOf(err) == fault.Internal {
				t.Fatalf("an error that is no fault: %v", err)
			}
			return
		}
		for _, prefix := range []string{"Tags", "PolicyArns"} {
			list, err := p.List(prefix, ".arn")
			if err == nil && len(list) > 1000 {
				t.Fatal("more members than parameters")
			}
		}
		_ = p.Only("RoleArn", "Tags.")
	})
}
