package sigv4

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

// The examples of the S3 API Reference ("Signature Calculations …"): key, day
// and signatures are AWS's own.
const (
	docSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	docHost   = "examplebucket.s3.amazonaws.com"
	docScope  = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"
)

var (
	docNow = time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	docS3  = Scope{Service: "s3", Region: "us-east-1"}
)

func docRequest(method, target, signed, signature string, headers ...string) *Request {
	r := &Request{Method: method, Target: target, Host: docHost, Header: map[string][]string{"X-Amz-Date": {"20130524T000000Z"}}}
	for i := 0; i < len(headers); i += 2 {
		r.Header[headers[i]] = []string{headers[i+1]}
	}
	if r.Header["X-Amz-Content-Sha256"] == nil {
		r.Header["X-Amz-Content-Sha256"] = []string{EmptyHash}
	}
	r.Header["Authorization"] = []string{"AWS4-HMAC-SHA256 Credential=" + docScope + ",SignedHeaders=" + signed + ",Signature=" + signature}
	return r
}

func docRequests() map[string]*Request {
	presigned := &Request{Method: "GET", Host: docHost, Header: map[string][]string{}, Target: "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256" +
		"&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400" +
		"&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"}
	return map[string]*Request{
		"get object": docRequest("GET", "/test.txt", "host;range;x-amz-content-sha256;x-amz-date",
			"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41", "Range", "bytes=0-9"),
		"put object": docRequest("PUT", "/test$file.text", "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
			"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd", "Date", "Fri, 24 May 2013 00:00:00 GMT",
			"X-Amz-Storage-Class", "REDUCED_REDUNDANCY", "X-Amz-Content-Sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
		"get lifecycle": docRequest("GET", "/?lifecycle", "host;x-amz-content-sha256;x-amz-date",
			"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
		"list objects": docRequest("GET", "/?max-keys=2&prefix=J", "host;x-amz-content-sha256;x-amz-date",
			"34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
		"presigned": presigned,
	}
}

func verify(t *testing.T, r *Request, now time.Time) error {
	t.Helper()
	p, err := Parse(r)
	if err != nil {
		return err
	}
	if p == nil {
		t.Fatal("no credential was found")
	}
	return p.Verify(r, secret.New(docSecret), docS3, "", now)
}

func TestDocumentedSignatures(t *testing.T) {
	t.Parallel()
	for name, r := range docRequests() {
		if err := verify(t, r, docNow); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every byte that is signed matters.
func TestEveryChangeIsRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Request){
		"method":         func(r *Request) { r.Method = "HEAD" },
		"path":           func(r *Request) { r.Target = "/test.txu" },
		"path encoding":  func(r *Request) { r.Target = "/test%252etxt" },
		"added query":    func(r *Request) { r.Target += "?acl" },
		"host":           func(r *Request) { r.Host = "other" },
		"signed header":  func(r *Request) { r.Header["Range"] = []string{"bytes=0-8"} },
		"missing header": func(r *Request) { delete(r.Header, "Range") },
		"second value":   func(r *Request) { r.Header["Range"] = append(r.Header["Range"], "bytes=0-9") },
		"payload hash":   func(r *Request) { r.Header["X-Amz-Content-Sha256"] = []string{Unsigned} },
	} {
		r := docRequests()["get object"]
		change(r)
		if err := verify(t, r, docNow); !errors.Is(err, fault.Coded(fault.Unauthenticated, "SignatureDoesNotMatch", "")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What is equivalent stays valid: S3 decodes the path once and encodes it anew.
	r := docRequests()["get object"]
	r.Target, r.Header["Range"] = "/%74est.txt", []string{"  bytes=0-9 "}
	if err := verify(t, r, docNow); err != nil {
		t.Errorf("an equivalent request: %v", err)
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, code string
		shift      time.Duration
	}{
		{"get object", "", 15 * time.Minute}, {"get object", "", -15 * time.Minute},
		{"get object", "RequestTimeTooSkewed", 15*time.Minute + time.Second}, {"get object", "RequestTimeTooSkewed", -15*time.Minute - time.Second},
		{"presigned", "", 86400 * time.Second}, {"presigned", "", -15 * time.Minute},
		{"presigned", "AccessDenied", 86401 * time.Second}, {"presigned", "AccessDenied", -16 * time.Minute},
	} {
		err := verify(t, docRequests()[c.name], docNow.Add(c.shift))
		if code := codeOf(err); code != c.code {
			t.Errorf("%s %v later: %q, want %q", c.name, c.shift, code, c.code)
		}
	}
}

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return fault.Of(err).Code
}

func TestScopeIsHeld(t *testing.T) {
	t.Parallel()
	r := docRequests()["get object"]
	p, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []Scope{{"sts", "us-east-1"}, {"s3", "eu-west-1"}, {"", ""}} {
		if code := codeOf(p.Verify(r, secret.New(docSecret), s, "", docNow)); code != "AuthorizationHeaderMalformed" {
			t.Errorf("%v: %q", s, code)
		}
	}
	if err := p.Verify(r, secret.New("other"), docS3, "", docNow); codeOf(err) != "SignatureDoesNotMatch" {
		t.Errorf("another key: %v", err)
	}
	if err := p.Verify(r, secret.New(docSecret), docS3, Unsigned, docNow); codeOf(err) != "XAmzContentSHA256Mismatch" {
		t.Errorf("another payload hash than claimed: %v", err)
	}
}

func TestMalformedCredentials(t *testing.T) {
	t.Parallel()
	good := docRequests()["get object"].Header["Authorization"][0]
	sub := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for name, c := range map[string]struct{ value, code string }{
		"SigV2":             {"AWS AKIA:c2ln", "InvalidRequest"},
		"SigV4A":            {sub("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), "InvalidRequest"},
		"Bearer":            {"Bearer x", "InvalidArgument"},
		"empty":             {"", "InvalidArgument"},
		"no fields":         {"AWS4-HMAC-SHA256", "InvalidArgument"},
		"field twice":       {good + ",Signature=" + strings.Repeat("0", 64), "AuthorizationHeaderMalformed"},
		"unknown field":     {good + ",X=y", "AuthorizationHeaderMalformed"},
		"no signature":      {good[:strings.Index(good, ",Signature")], "AuthorizationHeaderMalformed"},
		"short signature":   {good[:len(good)-1], "AuthorizationHeaderMalformed"},
		"capital signature": {strings.ToUpper(good[len(good)-64:]), "InvalidArgument"},
		"upper-case hex":    {good[:len(good)-64] + strings.ToUpper(good[len(good)-64:]), "AuthorizationHeaderMalformed"},
		"scope of four":     {sub("/us-east-1", ""), "AuthorizationHeaderMalformed"},
		"scope of six":      {sub("/us-east-1", "/us/east"), "AuthorizationHeaderMalformed"},
		"scope end":         {sub("aws4_request", "aws4"), "AuthorizationHeaderMalformed"},
		"empty key id":      {sub("AKIAIOSFODNN7EXAMPLE", ""), "AuthorizationHeaderMalformed"},
		"other day":         {sub("/20130524/", "/20130525/"), "AuthorizationHeaderMalformed"},
		"host unsigned":     {sub("host;", ""), "AuthorizationHeaderMalformed"},
		"unsorted":          {sub("host;range", "range;host"), "AuthorizationHeaderMalformed"},
		"name twice":        {sub("host;range", "host;host;range"), "AuthorizationHeaderMalformed"},
		"capital name":      {sub("range", "Range"), "AuthorizationHeaderMalformed"},
		"empty name":        {sub("host;", "host;;"), "AuthorizationHeaderMalformed"},
		"hash unsigned":     {sub("x-amz-content-sha256;", ""), "AccessDenied"},
		"too long":          {good + strings.Repeat(" ", 9000), "AuthorizationHeaderMalformed"},
	} {
		r := docRequests()["get object"]
		r.Header["Authorization"] = []string{c.value}
		if code := codeOf(verify(t, r, docNow)); code != c.code {
			t.Errorf("%s: %q, want %q", name, code, c.code)
		}
	}
	for name, c := range map[string]struct {
		change func(*Request)
		code   string
	}{
		"two headers":      {func(r *Request) { r.Header["Authorization"] = append(r.Header["Authorization"], good) }, "InvalidArgument"},
		"header and query": {func(r *Request) { r.Target += "?X-Amz-Expires=5" }, "InvalidArgument"},
		"SigV2 query":      {func(r *Request) { r.Target += "?AWSAccessKeyId=a&Signature=b" }, "InvalidRequest"},
		"no date":          {func(r *Request) { delete(r.Header, "X-Amz-Date") }, "AccessDenied"},
		"bad date":         {func(r *Request) { r.Header["X-Amz-Date"] = []string{"20130524T000000+0"} }, "AccessDenied"},
		"two dates":        {func(r *Request) { r.Header["X-Amz-Date"] = []string{"20130524T000000Z", "20130524T000000Z"} }, "InvalidArgument"},
		"two tokens":       {func(r *Request) { r.Header["X-Amz-Security-Token"] = []string{"a", "b"} }, "InvalidArgument"},
		"no hash":          {func(r *Request) { delete(r.Header, "X-Amz-Content-Sha256") }, "InvalidRequest"},
		"absolute form":    {func(r *Request) { r.Target = "http://x/test.txt" }, "InvalidURI"},
		"asterisk":         {func(r *Request) { r.Target = "*" }, "InvalidURI"},
		"fragment":         {func(r *Request) { r.Target += "#x" }, "InvalidURI"},
		"control byte":     {func(r *Request) { r.Target += "\x01" }, "InvalidURI"},
		"broken encoding":  {func(r *Request) { r.Target += "%4" }, "InvalidURI"},
		"broken query":     {func(r *Request) { r.Target += "?a=%g0" }, "InvalidURI"},
		"parameter twice":  {func(r *Request) { r.Target += "?a=1&%61=2" }, "InvalidArgument"},
		"many parameters":  {func(r *Request) { r.Target += "?" + strings.Repeat("&", 300) }, "InvalidURI"},
		"long target":      {func(r *Request) { r.Target += "?a=" + strings.Repeat("a", 40000) }, "InvalidURI"},
	} {
		r := docRequests()["get object"]
		c.change(r)
		if code := codeOf(verify(t, r, docNow)); code != c.code {
			t.Errorf("%s: %q, want %q", name, code, c.code)
		}
	}
}

func TestMalformedPresigned(t *testing.T) {
	t.Parallel()
	good := docRequests()["presigned"].Target
	for name, c := range map[string]struct{ old, new, code string }{
		"no algorithm":    {"X-Amz-Algorithm=AWS4-HMAC-SHA256&", "", "AuthorizationQueryParametersError"},
		"SigV4A":          {"AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", "AuthorizationQueryParametersError"},
		"no expiry":       {"&X-Amz-Expires=86400", "", "AuthorizationQueryParametersError"},
		"zero expiry":     {"86400", "0", "AuthorizationQueryParametersError"},
		"long expiry":     {"86400", "604801", "AuthorizationQueryParametersError"},
		"negative expiry": {"86400", "-1", "AuthorizationQueryParametersError"},
		"no signature":    {"&X-Amz-Signature=", "&Nothing=", "AuthorizationQueryParametersError"},
		"signature twice": {"&X-Amz-Signature=", "&X-Amz-Signature=00&X-Amz-Signature=", "InvalidArgument"},
		"other case":      {"X-Amz-Signature", "x-amz-signature", "AuthorizationQueryParametersError"},
		"case and beside": {"&X-Amz-Signature=", "&x-amz-expires=1&X-Amz-Signature=", "AuthorizationQueryParametersError"},
		"date":            {"20130524T000000Z", "20130524", "AuthorizationQueryParametersError"},
		"changed expiry":  {"86400", "86401", "SignatureDoesNotMatch"},
		"added token":     {"&X-Amz-Signature=", "&X-Amz-Security-Token=t&X-Amz-Signature=", "SignatureDoesNotMatch"},
		"added hash":      {"&X-Amz-Signature=", "&X-Amz-Content-Sha256=" + EmptyHash + "&X-Amz-Signature=", "SignatureDoesNotMatch"},
		"other parameter": {"&X-Amz-Signature=", "&versionId=1&X-Amz-Signature=", "SignatureDoesNotMatch"},
	} {
		r := docRequests()["presigned"]
		if r.Target = strings.Replace(good, c.old, c.new, 1); r.Target == good {
			t.Fatalf("%s changes nothing", name)
		}
		if code := codeOf(verify(t, r, docNow)); code != c.code {
			t.Errorf("%s: %q, want %q", name, code, c.code)
		}
	}
	for header, code := range map[string]string{
		"X-Amz-Security-Token": "AuthorizationQueryParametersError", "X-Amz-Date": "AuthorizationQueryParametersError",
		"X-Amz-Acl": "AccessDenied", "X-Amz-Content-Sha256": "InvalidArgument",
	} {
		r := docRequests()["presigned"]
		r.Header[header] = []string{"public-read"}
		if got := codeOf(verify(t, r, docNow)); got != code {
			t.Errorf("unsigned header %s beside a presigned query: %q", header, got)
		}
	}
}

func TestOtherServicesHashTheirBody(t *testing.T) {
	t.Parallel()
	// A request to STS as the aws CLI signs it: no x-amz-content-sha256.
	body := "Action=GetCallerIdentity&Version=2011-06-15"
	r := &Request{Method: "POST", Target: "/", Host: "sts.test", Header: map[string][]string{
		"X-Amz-Date": {"20130524T000000Z"}, "Content-Type": {"application/x-www-form-urlencoded"},
	}}
	scope := Scope{Service: "sts", Region: "us-east-1"}
	sign(t, r, scope, []string{"content-type", "host", "x-amz-date"}, hexHash(body))
	p, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Verify(r, secret.New(docSecret), scope, hexHash(body), docNow); err != nil {
		t.Error(err)
	}
	if err := p.Verify(r, secret.New(docSecret), scope, hexHash(body+"x"), docNow); codeOf(err) != "SignatureDoesNotMatch" {
		t.Errorf("another body: %v", err)
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	for hash, want := range map[string]PayloadMode{
		EmptyHash: PayloadHashed, Unsigned: PayloadUnsigned, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": PayloadSigned,
		"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": PayloadSignedTrailer, "STREAMING-UNSIGNED-PAYLOAD-TRAILER": PayloadUnsignedTrailer,
		"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD": 0, "STREAMING-UNSIGNED-PAYLOAD": 0, "": 0, strings.ToUpper(EmptyHash): 0, "abc": 0,
	} {
		got, err := (&Presented{Place: Header, PayloadHash: hash}).Mode()
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %v, %v", hash, got, err)
		}
	}
	if _, err := (&Presented{Place: Query, PayloadHash: "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}).Mode(); err == nil {
		t.Error("a presigned streaming body was accepted")
	}
	if got, err := (&Presented{Place: Query}).Mode(); got != PayloadUnsigned || err != nil {
		t.Errorf("presigned: %v, %v", got, err)
	}
}

// docChunked is the chunked upload of the API Reference: 65 KiB of "a".
func docChunked() (*Request, string) {
	r := docRequest("PUT", "/examplebucket/chunkObject.txt", "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
		"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9", "Content-Encoding", "aws-chunked", "X-Amz-Storage-Class", "REDUCED_REDUNDANCY",
		"X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "X-Amz-Decoded-Content-Length", "66560")
	r.Host, r.ContentLength = "s3.amazonaws.com", 66824
	body := "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n" + strings.Repeat("a", 65536) +
		"\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" + strings.Repeat("a", 1024) +
		"\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
	return r, body
}

// docTrailer is the same with a signed trailer.
func docTrailer() (*Request, string) {
	r := docRequest("PUT", "/examplebucket/chunkObject.txt", "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
		"106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e", "Content-Encoding", "aws-chunked", "X-Amz-Storage-Class", "REDUCED_REDUNDANCY",
		"X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length", "66560", "X-Amz-Trailer", "x-amz-checksum-crc32c")
	r.Host = "s3.amazonaws.com"
	body := "10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n" + strings.Repeat("a", 65536) +
		"\r\n400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n" + strings.Repeat("a", 1024) +
		"\r\n0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n" +
		"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
	return r, body
}

func TestDocumentedChunks(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func() (*Request, string){"chunks": docChunked, "trailer": docTrailer} {
		r, body := make()
		if err := verify(t, r, docNow); err != nil {
			t.Errorf("%s: seed: %v", name, err)
			continue
		}
		got, err := readBody(t, r, body)
		if err != nil || got != strings.Repeat("a", 66560) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		// minio-go ends the trailer's line otherwise.
		if name == "trailer" {
			got, err := readBody(t, r, strings.Replace(body, "sOO8/Q==\r\n", "sOO8/Q==\n\r\n", 1))
			if err != nil || len(got) != 66560 {
				t.Errorf("minio-go's line ends: %v", err)
			}
		}
	}
}

func readBody(t *testing.T, r *Request, body string) (string, error) {
	t.Helper()
	p, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Body(strings.NewReader(body), DeriveKey(secret.New(docSecret), p.Date, p.Region, p.Service), docSpec(t, r, p))
	if err != nil {
		return "", err
	}
	out, err := io.ReadAll(b)
	return string(out), err
}

func docSpec(t *testing.T, r *Request, p *Presented) BodySpec {
	t.Helper()
	mode, err := p.Mode()
	if err != nil {
		t.Fatal(err)
	}
	spec := BodySpec{Mode: mode, Length: 66560}
	if v := r.Header["X-Amz-Trailer"]; v != nil {
		if spec.Trailer, err = TrailerAlgorithm(v[0]); err != nil {
			t.Fatal(err)
		}
	}
	return spec
}

// Every change of the documented bodies is refused, and no read gives out the
// bytes that would complete the content.
func TestBrokenChunks(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func() (*Request, string){"chunks": docChunked, "trailer": docTrailer} {
		r, good := make()
		for what, c := range map[string]struct{ old, new, code string }{
			"changed data":           {"\r\naaaa", "\r\naaab", "SignatureDoesNotMatch"},
			"changed signature":      {"chunk-signature=", "chunk-signature=0", "IncompleteBody"},
			"no signature":           {";chunk-signature=", ";", "IncompleteBody"},
			"capital hex digit":      {"10000;", "1000A;", "IncompleteBody"},
			"size too small":         {"10000;", "ffff;", "IncompleteBody"},
			"size too large":         {"10000;", "10001;", "IncompleteBody"},
			"last chunk changed":     {"a\r\n0;chunk-signature=", "b\r\n0;chunk-signature=", "SignatureDoesNotMatch"},
			"missing end":            {"\r\n\r\n", "\r\n", "IncompleteBody"},
			"trailing bytes":         {"\r\n\r\n", "\r\n\r\nx", "IncompleteBody"},
			"smuggled trailer":       {"\r\n\r\n", "\r\nx-amz-acl:public-read\r\n\r\n", "MalformedTrailerError"},
			"no final chunk":         {good[strings.LastIndex(good, "\r\n0;"):], "\r\n", "IncompleteBody"},
			"second chunk left out":  {good[strings.Index(good, "400;") : strings.LastIndex(good, "\r\n0;")+2], "", "IncompleteBody"},
			"trailer value":          {"sOO8/Q==", "sOO8/A==", "SignatureDoesNotMatch"},
			"trailer without value":  {"x-amz-checksum-crc32c:sOO8/Q==\r\n", "", "MalformedTrailerError"},
			"trailer without proof":  {good[max(0, strings.Index(good, "x-amz-trailer-signature")):], "\r\n", "MalformedTrailerError"},
			"trailer's other proof":  {"x-amz-trailer-signature:d8", "x-amz-trailer-signature:d9", "SignatureDoesNotMatch"},
			"trailer after the sign": {good[len(good)-2:], "x-amz-checksum-crc32c:sOO8/Q==\r\n\r\n", "MalformedTrailerError"},
		} {
			if name == "chunks" && strings.HasPrefix(what, "trailer") {
				continue
			}
			i := strings.LastIndex(good, c.old)
			if strings.HasPrefix(what, "changed") || strings.HasPrefix(what, "size") || what == "capital hex digit" || what == "no signature" {
				i = strings.Index(good, c.old)
			}
			if i < 0 {
				t.Fatalf("%s, %s changes nothing", name, what)
			}
			got, err := readBody(t, r, good[:i]+c.new+good[i+len(c.old):])
			if codeOf(err) != c.code {
				t.Errorf("%s, %s: %v, want %s", name, what, err, c.code)
			}
			if len(got) >= 66560 {
				t.Errorf("%s, %s: the whole content was given out", name, what)
			}
		}
	}
}

func TestBodiesHeldToTheirChecks(t *testing.T) {
	t.Parallel()
	crc, err := ParseChecksum("crc32", "/6tyOg==")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		hash, body string
		length     int64
		sums       []Checksum
		code       string
	}{
		"hash":              {hexHash("hello, world"), "hello, world", 12, nil, ""},
		"hash and checksum": {hexHash("hello, world"), "hello, world", 12, []Checksum{crc}, ""},
		"checksum only":     {Unsigned, "hello, world", 12, []Checksum{crc}, ""},
		"empty":             {EmptyHash, "", 0, nil, ""},
		"wrong hash":        {EmptyHash, "hello, world", 12, nil, "XAmzContentSHA256Mismatch"},
		"empty, wrong hash": {hexHash("x"), "", 0, nil, "XAmzContentSHA256Mismatch"},
		"wrong checksum":    {Unsigned, "hello, worlD", 12, []Checksum{crc}, "BadDigest"},
		"short":             {Unsigned, "hello", 12, nil, "IncompleteBody"},
		"long":              {Unsigned, "hello, world!", 12, nil, "IncompleteBody"},
		"unknown length":    {Unsigned, "hello", -1, nil, "MissingContentLength"},
	} {
		p := &Presented{Place: Header, PayloadHash: c.hash}
		mode, err := p.Mode()
		if err != nil {
			t.Fatal(err)
		}
		b, err := p.Body(strings.NewReader(c.body), Key{}, BodySpec{Mode: mode, Length: c.length, Checksums: c.sums})
		var got []byte
		if err == nil {
			got, err = io.ReadAll(b)
			if b.Done() != (c.code == "") || (b.Err() == nil) != (c.code == "") {
				t.Errorf("%s: done %v, error %v", name, b.Done(), b.Err())
			}
		}
		if codeOf(err) != c.code {
			t.Errorf("%s: %v, want %q", name, err, c.code)
		}
		if c.code != "" && c.length > 0 && int64(len(got)) >= c.length {
			t.Errorf("%s: the whole content was given out", name)
		}
	}
}

func TestChecksums(t *testing.T) {
	t.Parallel()
	// Check values of the CRC catalogue, of FIPS 180 and of xxHash for "123456789".
	for algorithm, want := range map[string]string{
		"crc32": "y/Q5Jg==", "crc32c": "4waSgw==", "crc64nvme": "rosUhgp5mIg=",
		"sha1": "98O8HYCOBHMq32eZZczDTKeuNEE=", "sha256": "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=", "md5": "JfnnlDI7RTiF9RgfG2JNCw==", ContentMD5: "JfnnlDI7RTiF9RgfG2JNCw==",
		"sha512":   "2eZ2LdHI6vbWGzxhkvxAjU1tXxF20MKRabwk5xw/J0rSf81YEbMT1oH35V7ALXPUmclUVba1u1A6z1dPuo/+hQ==",
		"xxhash64": "jLhB20DmroM=", "xxhash3": "ctyxi2ehff8=", "xxhash128": "MxGUd+3l3NXpcWQnaB1YYA==",
	} {
		c, err := ParseChecksum(algorithm, want)
		if err != nil {
			t.Errorf("%s: %v", algorithm, err)
			continue
		}
		h := newHash(algorithm)
		h.Write([]byte("123456789"))
		if string(h.Sum(nil)) != string(c.Want) || ChecksumLength(algorithm) != len(want) {
			t.Errorf("%s is computed otherwise: %x", algorithm, h.Sum(nil))
		}
	}
	for _, bad := range [][2]string{{"crc32", "AAAA"}, {"crc32", "AAAAAB=="}, {"crc32", " AAAAAA=="}, {"xxhash32", "AAAAAAAAAAA="}, {"md5", "x"}} {
		if _, err := ParseChecksum(bad[0], bad[1]); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
	for _, bad := range []string{"", "x-amz-checksum-content-md5", "x-amz-checksum-xxhash32", "content-md5", "etag", "x-amz-checksum-crc32,x-amz-checksum-sha1"} {
		if _, err := TrailerAlgorithm(bad); err == nil {
			t.Errorf("trailer %q was accepted", bad)
		}
	}
}
