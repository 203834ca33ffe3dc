package s3_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
)

const formType = "multipart/form-data; boundary=XbX"

// part writes one field.
func part(name, value string) string {
	return "--XbX\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
}

func filePart(fileName, content string) string {
	return "--XbX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"" + fileName + "\"\r\nContent-Type: text/plain\r\n\r\n" + content
}

const formEnd = "\r\n--XbX--\r\n"

func readForm(t testing.TB, body string, length int64) (*s3.Form, string, error) {
	t.Helper()
	f, err := s3.ReadForm(formType, strings.NewReader(body), length)
	if err == nil {
		err = f.Open()
	}
	if err != nil {
		return f, "", err
	}
	content, err := io.ReadAll(f.File())
	if err == nil && int64(len(content)) != f.Size() {
		t.Fatalf("%d bytes of %d", len(content), f.Size())
	}
	return f, string(content), err
}

func TestForm(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("0123456789\r\n--Xb", 8<<10)
	for name, c := range map[string]struct {
		body, file string
		unknown    bool // without a length
		code       string
		fields     map[string]string
	}{
		"plain":                    {body: part("Key", "a") + filePart("x", "v") + formEnd, file: "v", fields: map[string]string{"key": "a"}},
		"empty file":               {body: part("key", "a") + filePart("x", "") + formEnd},
		"empty field":              {body: part("key", "") + filePart("x", "v") + formEnd, file: "v", fields: map[string]string{"key": ""}},
		"lines in a field":         {body: part("key", "a\r\nb\n--c") + filePart("x", "v") + formEnd, file: "v", fields: map[string]string{"key": "a\r\nb\n--c"}},
		"no last line break":       {body: filePart("x", "v") + "\r\n--XbX--", file: "v"},
		"text behind the end":      {body: filePart("x", "v") + formEnd + "epilogue", file: "v"},
		"a field behind the file":  {body: filePart("x", "v") + "\r\n" + part("submit", "go") + "--XbX--\r\n", file: "v"},
		"large":                    {body: part("key", "a") + filePart("x", large) + formEnd, file: large},
		"large, a field behind":    {body: filePart("x", large) + "\r\n" + part("submit", "go") + "--XbX--\r\n", code: "MalformedPOSTRequest"},
		"large, another end":       {body: filePart("x", large) + "\r\n--XbX--", code: "MalformedPOSTRequest"},
		"large, its boundary late": {body: filePart("x", large+"\r\n--XbX") + formEnd, code: "MalformedPOSTRequest"},
		"large without a length":   {body: filePart("x", large) + formEnd, unknown: true, code: "MissingContentLength"},
		"small without a length":   {body: filePart("x", "v") + formEnd, unknown: true, file: "v"},
		"no file":                  {body: part("key", "a") + "--XbX--\r\n", code: "IncorrectNumberOfFilesInPostRequest"},
		"a field twice":            {body: part("key", "a") + part("KEY", "b") + filePart("x", "v") + formEnd, code: "InvalidArgument"},
		"a Kelvin sign":            {body: part("\u212aey", "a") + filePart("x", "v") + formEnd, code: "MalformedPOSTRequest"},
		"no boundary at all":       {body: "key=a", code: "IncompleteBody"},
		"another boundary":         {body: strings.ReplaceAll(part("key", "a")+filePart("x", "v")+formEnd, "XbX", "YbY"), code: "MalformedPOSTRequest"},
		"a preamble":               {body: "hello\r\n" + filePart("x", "v") + formEnd, code: "MalformedPOSTRequest"},
		"bare line feeds":          {body: strings.ReplaceAll(part("key", "a")+filePart("x", "v")+formEnd, "\r", ""), code: "MalformedPOSTRequest"},
		"a longer boundary inside": {body: part("key", "a\r\n--XbXX") + filePart("x", "v") + formEnd, code: "MalformedPOSTRequest"},
		"the same in the file":     {body: filePart("x", "v\r\n--XbXX\r\n") + formEnd, code: "MalformedPOSTRequest"},
		"two dispositions":         {body: strings.Replace(filePart("x", "v"), "\r\nContent-Type", "\r\nContent-Disposition: form-data; name=\"key\"\r\nContent-Type", 1) + formEnd, code: "MalformedPOSTRequest"},
		"two names":                {body: strings.Replace(part("key", "a"), "name=", "name=\"file\"; name=", 1) + filePart("x", "v") + formEnd, code: "MalformedPOSTRequest"},
		"a folded header":          {body: strings.Replace(filePart("x", "v"), "; filename", ";\r\n filename", 1) + formEnd, code: "MalformedPOSTRequest"},
		"an attachment":            {body: strings.Replace(filePart("x", "v"), "form-data", "attachment", 1) + formEnd, code: "MalformedPOSTRequest"},
		"base64":                   {body: strings.Replace(filePart("x", "v"), "Content-Type: text/plain", "Content-Transfer-Encoding: base64", 1) + formEnd, code: "MalformedPOSTRequest"},
		"no disposition":           {body: "--XbX\r\n\r\nv" + formEnd, code: "MalformedPOSTRequest"},
		"too much":                 {body: part("key", strings.Repeat("a", 21<<10)) + filePart("x", "v") + formEnd, code: "MaxPostPreDataLengthExceededError"},
		"too many":                 {body: manyFields() + filePart("x", "v") + formEnd, code: "MaxPostPreDataLengthExceededError"},
		"cut in a field":           {body: part("key", "a")[:50], code: "IncompleteBody"},
		"cut in the file":          {body: filePart("x", "v"), code: "MalformedPOSTRequest"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			length := int64(len(c.body))
			if c.unknown {
				length = -1
			}
			f, content, err := readForm(t, c.body, length)
			if c.code != "" {
				if fault.Of(err).Code != c.code {
					t.Fatalf("%v, want %s", err, c.code)
				}
				return
			}
			if err != nil || content != c.file {
				t.Fatalf("%q, %v", content, err)
			}
			for name, want := range c.fields {
				if f.Get(name) != want {
					t.Errorf("%s: %q", name, f.Get(name))
				}
			}
		})
	}
}

func manyFields() string {
	var b strings.Builder
	for i := range 200 {
		b.WriteString(part(fmt.Sprint("f", i), ""))
	}
	return b.String()
}

func TestFormTypes(t *testing.T) {
	t.Parallel()
	body := filePart("x", "v") + formEnd
	for kind, code := range map[string]string{
		formType:                                                                "",
		`Multipart/Form-Data; boundary="XbX"`:                                   "",
		"multipart/form-data":                                                   "MalformedPOSTRequest",
		"multipart/form-data; boundary=":                                        "MalformedPOSTRequest",
		"multipart/form-data; boundary=a; boundary=b":                           "MalformedPOSTRequest",
		"multipart/form-data; boundary=" + strings.Repeat("x", 71):              "MalformedPOSTRequest",
		"multipart/form-data; boundary=\"X\r\nX\"":                              "MalformedPOSTRequest",
		"multipart/form-data; boundary=XbX, multipart/form-data; boundary=Evil": "MalformedPOSTRequest",
		"multipart/mixed; boundary=XbX":                                         "PreconditionFailed",
		"application/x-www-form-urlencoded":                                     "PreconditionFailed",
		"":                                                                      "PreconditionFailed",
	} {
		_, err := s3.ReadForm(kind, strings.NewReader(body), int64(len(body)))
		if code == "" && err != nil || code != "" && fault.Of(err).Code != code {
			t.Errorf("%q: %v, want %q", kind, err, code)
		}
	}
}

// TestFormReadsInAnyPieces: where reads end has no meaning, in the boundary too.
func TestFormReadsInAnyPieces(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("\r\n--Xb\r\n--XbY\r\r\n", 5<<10)
	body := part("key", "a") + filePart("x", content) + formEnd
	for name, r := range map[string]io.Reader{
		"whole": strings.NewReader(body), "bytes": iotest.OneByteReader(strings.NewReader(body)), "halves": iotest.HalfReader(strings.NewReader(body)),
		"with its end": iotest.DataErrReader(strings.NewReader(body)),
	} {
		f, err := s3.ReadForm(formType, r, int64(len(body)))
		if err != nil || f.Open() != nil {
			t.Fatal(name, err)
		}
		if got, err := io.ReadAll(f.File()); err != nil || string(got) != content {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	split := strings.Replace(body, "XbY\r\r\n"+"\r\n--XbX--", "XbX\r\r\n"+"\r\n--XbX--", 1)
	f, err := s3.ReadForm(formType, iotest.OneByteReader(strings.NewReader(split)), int64(len(split)))
	if err != nil || f.Open() != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(f.File()); fault.Of(err).Code != "MalformedPOSTRequest" || len(got) == len(content) {
		t.Errorf("a boundary in pieces: %d bytes, %v", len(got), err)
	}
}

func TestFormThatBreaksOff(t *testing.T) {
	t.Parallel()
	head := part("key", "a") + filePart("x", strings.Repeat("x", 70<<10))
	f, err := s3.ReadForm(formType, io.MultiReader(strings.NewReader(head), iotest.ErrReader(errors.New("gone"))), 200<<10)
	if err != nil || f.Open() != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(f.File()); fault.Of(err).Code != "IncompleteBody" {
		t.Errorf("%v", err)
	}
}

var formNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// policyOf makes a policy, valid for an hour, with conditions.
func policyOf(conditions string) string {
	return base64.StdEncoding.EncodeToString([]byte(`{"expiration":"2026-03-01T13:00:00Z","conditions":[` + conditions + `]}`))
}

// operationOf reads a form that a browser sends with these fields in their order.
func operationOf(t *testing.T, fileName, content string, fields ...string) (*s3.Operation, *s3.FormPolicy, error) {
	t.Helper()
	var b strings.Builder
	for i := 0; i < len(fields); i += 2 {
		b.WriteString(part(fields[i], fields[i+1]))
	}
	b.WriteString(filePart(fileName, content) + formEnd)
	f, _, err := readForm(t, b.String(), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return f.Operation("sales", formNow)
}

func TestFormPolicy(t *testing.T) {
	t.Parallel()
	const bucket = `{"bucket":"sales"}`
	for name, c := range map[string]struct {
		policy string // conditions, or a whole document where raw
		raw    bool
		fields []string
		code   string
		says   string
	}{
		"each covered":            {policy: bucket + `,["eq","$key","a"]`, fields: []string{"key", "a"}},
		"names in any case":       {policy: `{"Bucket":"sales"},["starts-with","$Key",""],["eq","$Content-Type","text/plain"]`, fields: []string{"KEY", "a", "content-type", "text/plain"}},
		"the file's name":         {policy: bucket + `,["starts-with","$key","up/"]`, fields: []string{"key", "up/${filename}"}},
		"ignored fields":          {policy: bucket + `,{"key":"a"}`, fields: []string{"key", "a", "x-ignore-this", "1"}},
		"another value":           {policy: bucket + `,["eq","$key","b"]`, fields: []string{"key", "a"}, code: "AccessDenied", says: `["eq","$key","b"]`},
		"another prefix":          {policy: bucket + `,["starts-with","$key","b"]`, fields: []string{"key", "a"}, code: "AccessDenied", says: "Policy Condition failed"},
		"another bucket":          {policy: `{"bucket":"hr"},{"key":"a"}`, fields: []string{"key", "a"}, code: "AccessDenied", says: "Policy Condition failed"},
		"no bucket":               {policy: `{"key":"a"}`, fields: []string{"key", "a"}, code: "AccessDenied", says: "Extra input fields: bucket"},
		"a bucket field":          {policy: `{"bucket":"hr"},{"key":"a"}`, fields: []string{"key", "a", "bucket", "hr"}, code: "AccessDenied"},
		"our bucket's field":      {policy: bucket + `,{"key":"a"}`, fields: []string{"key", "a", "bucket", "sales"}},
		"a field not covered":     {policy: bucket + `,{"key":"a"}`, fields: []string{"key", "a", "x-amz-meta-b", "c"}, code: "AccessDenied", says: "Extra input fields: x-amz-meta-b"},
		"any field not covered":   {policy: bucket + `,{"key":"a"}`, fields: []string{"key", "a", "submit", "go"}, code: "AccessDenied", says: "Extra input fields: submit"},
		"a token not covered":     {policy: bucket + `,{"key":"a"}`, fields: []string{"key", "a", "x-amz-security-token", "t"}, code: "AccessDenied", says: "x-amz-security-token"},
		"a field that lacks":      {policy: bucket + `,{"key":"a"},["starts-with","$acl",""]`, fields: []string{"key", "a"}, code: "AccessDenied", says: "Policy Condition failed"},
		"types":                   {policy: bucket + `,{"key":"a"},["starts-with","$Content-Type","image/"]`, fields: []string{"key", "a", "Content-Type", "image/png, image/gif"}},
		"one type of several":     {policy: bucket + `,{"key":"a"},["starts-with","$Content-Type","image/"]`, fields: []string{"key", "a", "Content-Type", "image/png, text/html"}, code: "AccessDenied"},
		"expired":                 {raw: true, policy: `{"expiration":"2026-03-01T12:00:00Z","conditions":[]}`, fields: []string{"key", "a"}, code: "AccessDenied", says: "Policy expired"},
		"no key":                  {policy: bucket, code: "InvalidArgument", says: "'key'"},
		"an empty key":            {policy: bucket + `,{"key":""}`, fields: []string{"key", ""}, code: "UserKeyMustBeSpecified"},
		"dots in the key":         {policy: bucket + `,["starts-with","$key","up/"]`, fields: []string{"key", "up/../hr"}, code: "InvalidURI"},
		"an empty policy":         {raw: true, policy: ``, fields: []string{"key", "a"}, code: "InvalidPolicyDocument"},
		"not base64":              {raw: true, policy: "%", fields: []string{"key", "a"}, code: "InvalidPolicyDocument"},
		"not JSON":                {raw: true, policy: `expiration`, fields: []string{"key", "a"}, code: "InvalidPolicyDocument"},
		"no expiration":           {raw: true, policy: `{"conditions":[]}`, fields: []string{"key", "a"}, code: "InvalidPolicyDocument"},
		"a null expiration":       {raw: true, policy: `{"expiration":null,"conditions":[]}`, fields: []string{"key", "a"}, code: "InvalidPolicyDocument"},
		"no conditions":           {raw: true, policy: `{"expiration":"2026-03-01T13:00:00Z"}`, fields: []string{"key", "a"}, code: "InvalidPolicyDocument"},
		"a member twice":          {raw: true, policy: `{"expiration":"2026-03-01T13:00:00Z","conditions":[{"bucket":"sales"},{"key":"b"}],"conditions":[{"bucket":"sales"},{"key":"a"}]}`, fields: []string{"key", "a"}, code: "InvalidPolicyDocument"},
		"a member in capitals":    {raw: true, policy: `{"expiration":"2026-03-01T13:00:00Z","conditions":[],"Conditions":[]}`, fields: []string{"key", "a"}, code: "InvalidPolicyDocument"},
		"two documents":           {raw: true, policy: `{"expiration":"2026-03-01T13:00:00Z","conditions":[{"bucket":"sales"},{"key":"a"}]} {}`, fields: []string{"key", "a"}, code: "InvalidPolicyDocument"},
		"an unknown operator":     {policy: bucket + `,["ends-with","$key","a"]`, fields: []string{"key", "a"}, code: "InvalidPolicyDocument"},
		"two arguments":           {policy: bucket + `,["eq","$key"]`, fields: []string{"key", "a"}, code: "InvalidPolicyDocument"},
		"a number":                {policy: bucket + `,["eq","$key",1]`, fields: []string{"key", "1"}, code: "InvalidPolicyDocument"},
		"two in one":              {policy: `{"bucket":"sales","key":"a"}`, fields: []string{"key", "a"}, code: "InvalidPolicyDocument"},
		"null":                    {policy: bucket + `,null`, fields: []string{"key", "a"}, code: "InvalidPolicyDocument"},
		"a range of text":         {policy: bucket + `,{"key":"a"},["content-length-range","x",1]`, fields: []string{"key", "a"}, code: "InvalidPolicyDocument"},
		"a range below zero":      {policy: bucket + `,{"key":"a"},["content-length-range",-1,1]`, fields: []string{"key", "a"}, code: "InvalidPolicyDocument"},
		"a public ACL":            {policy: bucket + `,{"key":"a"},{"acl":"public-read"}`, fields: []string{"key", "a", "acl", "public-read"}, code: "AccessControlListNotSupported"},
		"two ACLs":                {policy: bucket + `,{"key":"a"},{"acl":"private"},{"x-amz-acl":"private"}`, fields: []string{"key", "a", "acl", "private", "x-amz-acl", "private"}, code: "InvalidArgument"},
		"a copy":                  {policy: bucket + `,{"key":"a"},{"x-amz-copy-source":"/hr/x"}`, fields: []string{"key", "a", "x-amz-copy-source", "/hr/x"}, code: "NotImplemented"},
		"an unknown x-amz field":  {policy: bucket + `,{"key":"a"},{"x-amz-new":"b"}`, fields: []string{"key", "a", "x-amz-new", "b"}, code: "NotImplemented"},
		"a condition on a write":  {policy: bucket + `,{"key":"a"},{"If-None-Match":"*"}`, fields: []string{"key", "a", "If-None-Match", "*"}, code: "NotImplemented"},
		"a line break in a value": {policy: bucket + `,{"key":"a"},["starts-with","$Content-Type",""]`, fields: []string{"key", "a", "Content-Type", "a\r\nSet-Cookie: b"}, code: "InvalidArgument"},
		"tags that are not XML":   {policy: bucket + `,{"key":"a"},["starts-with","$tagging",""]`, fields: []string{"key", "a", "tagging", "a=b"}, code: "MalformedXML"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			policy := policyOf(c.policy)
			if c.raw {
				policy = base64.StdEncoding.EncodeToString([]byte(c.policy))
				if c.policy == "%" {
					policy = c.policy
				}
			}
			_, _, err := operationOf(t, `C:\tmp\report.csv`, "v", append([]string{"policy", policy}, c.fields...)...)
			if c.code == "" && err != nil || c.code != "" && (fault.Of(err).Code != c.code || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("%v, want %q with %q", err, c.code, c.says)
			}
		})
	}
}

func TestFormBecomesAnUpload(t *testing.T) {
	t.Parallel()
	any := func(names ...string) string {
		out := `{"bucket":"sales"}`
		for _, n := range names {
			out += `,["starts-with","$` + n + `",""]`
		}
		return policyOf(out + `,["content-length-range",1,"5"],["content-length-range",0,9]`)
	}
	op, policy, err := operationOf(t, `C:\tmp\${filename}.csv`, "value",
		"key", "up/${filename}", "acl", "private", "Content-Type", "text/csv", "x-amz-meta-Who", "alice", "x-amz-meta-file", "${filename}",
		"tagging", "<Tagging><TagSet><Tag><Key>a b</Key><Value>c&amp;d</Value></Tag></TagSet></Tagging>", "success_action_status", "201",
		"x-amz-checksum-crc32", "AAAAAA==", "policy", any("key", "acl", "content-type", "x-amz-meta-who", "x-amz-meta-file", "tagging", "success_action_status", "x-amz-checksum-crc32"))
	if err != nil {
		t.Fatal(err)
	}
	if op.Name != s3.PostObject || op.Bucket != "sales" || op.Key != "up/${filename}.csv" || op.Form.Status != 201 || len(op.Checksums) != 1 || len(op.Query) != 0 {
		t.Errorf("%+v", op)
	}
	for name, want := range map[string]string{"Content-Type": "text/csv", "X-Amz-Meta-Who": "alice", "X-Amz-Meta-File": "${filename}.csv", "X-Amz-Tagging": "a%20b=c%26d"} {
		if got := op.Header[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	var actions []string
	for _, c := range op.Checks {
		actions = append(actions, c.Action)
		if c.ARN() != "arn:aws:s3:::sales/up/${filename}.csv" {
			t.Errorf("%v", c)
		}
	}
	slices.Sort(actions)
	if !slices.Equal(actions, []string{"s3:PutObject", "s3:PutObjectAcl", "s3:PutObjectTagging"}) {
		t.Errorf("%v", actions)
	}
	for n, code := range map[int64]string{0: "EntityTooSmall", 1: "", 5: "", 6: "EntityTooLarge"} {
		if err := policy.CheckSize(n); code == "" && err != nil || code != "" && fault.Of(err).Code != code {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestFormRedirects(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]string{
		"https://app.example/done":         "https://app.example/done?bucket=sales&key=a%2Fb%26c&etag=%22e%22",
		"http://app.example/done?x=1#frag": "http://app.example/done?x=1&bucket=sales&key=a%2Fb%26c&etag=%22e%22#frag",
		"javascript:alert(1)":              "",
		"//evil.example/":                  "",
		"/done":                            "",
		"data:text/html,x":                 "",
		"https://user:pass@app.example/":   "",
		"https://app.example/\r\nX: y":     "",
	} {
		op, _, err := operationOf(t, "x", "v", "key", "a", "success_action_redirect", to, "policy", policyOf(`{"bucket":"sales"},["eq","$key","a"],["starts-with","$success_action_redirect",""]`))
		if err != nil {
			t.Fatal(to, err)
		}
		got := ""
		if op.Form.Redirect != "" {
			got = op.Form.To("sales", "a/b&c", `"e"`)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", to, got, want)
		}
	}
}

// TestSizeRefusalsSayBothNumbers: the elements that S3 puts beside the text.
func TestSizeRefusalsSayBothNumbers(t *testing.T) {
	t.Parallel()
	p, err := s3.ParseFormPolicy(base64.StdEncoding.EncodeToString([]byte(`{"expiration":"2026-03-01T13:00:00Z","conditions":[["content-length-range",4,"8"]]}`)))
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int64]string{3: "ProposedSize=3 MinSizeAllowed=4", 9: "ProposedSize=9 MaxSizeAllowed=8"} {
		var got []string
		for _, d := range fault.Of(p.CheckSize(n)).Details {
			got = append(got, d.Name+"="+d.Value)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%d bytes: %v, want %s", n, got, want)
		}
	}
}
