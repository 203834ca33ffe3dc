//go:build vectors

package sigv4

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/secret"
)

// vector is the context.json of a case of the AWS signing test suite.
type vector struct {
	Credentials struct {
		Secret string `json:"secret_access_key"`
	} `json:"credentials"`
	Service string `json:"service"`
	Region  string `json:"region"`
}

// TestVectors runs the public suite from where it lies (CARNET_VECTORS, which
// holds sigv4/v4). The suite is for services that normalise paths and hash their
// bodies into the signature; a case that needs that does not fit S3 and is
// listed with its reason.
func TestVectors(t *testing.T) {
	root := os.Getenv("CARNET_VECTORS")
	if root == "" {
		t.Fatal("CARNET_VECTORS does not name the folder of the public vectors")
	}
	cases, err := filepath.Glob(filepath.Join(root, "sigv4", "v4", "*", "context.json"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("no vectors under %s: %v", root, err)
	}
	ran := 0
	for _, path := range cases {
		dir := filepath.Dir(path)
		for _, place := range []string{"header", "query"} {
			t.Run(filepath.Base(dir)+"/"+place, func(t *testing.T) {
				if why := unfit(t, dir, place); why != "" {
					t.Logf("%s/%s does not fit S3: %s", filepath.Base(dir), place, why)
					return
				}
				runVector(t, dir, place)
				ran++
			})
		}
	}
	t.Logf("%d of %d cases fit S3 and ran", ran, 2*len(cases))
	if ran == 0 {
		t.Error("no case ran")
	}
}

func text(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n")
}

// unfit says why a case can't hold for S3.
func unfit(t *testing.T, dir, place string) string {
	request := text(t, dir, place+"-signed-request.txt")
	line, _, _ := strings.Cut(request, "\n")
	target := strings.TrimSuffix(line[strings.IndexByte(line, ' ')+1:], " HTTP/1.1")
	path, query, _ := strings.Cut(target, "?")
	canonical := strings.Split(text(t, dir, place+"-canonical-request.txt"), "\n")
	switch {
	case strings.Contains(target, " "):
		return "a raw space is no request-target"
	case canonical[1] != path && !strings.Contains(canonical[1], "%25"):
		if decoded, ok := Unescape(path, false); !ok || string(AppendEscaped(nil, decoded, true)) != canonical[1] {
			return "the path is normalised"
		}
	case strings.Contains(canonical[1], "%25"):
		return "the path is encoded twice"
	}
	if repeats(query) {
		return "S3 takes no parameter twice"
	}
	switch filepath.Base(dir) {
	case "get-header-value-multiline":
		return "folded headers are joined by the HTTP reader before"
	case "post-sts-header-after":
		return "the token is added after signing; S3 has it signed"
	}
	return ""
}

func repeats(query string) bool {
	seen := map[string]bool{}
	for part := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(part, "=")
		if seen[name] {
			return true
		}
		seen[name] = true
	}
	return false
}

func runVector(t *testing.T, dir, place string) {
	var v vector
	b, err := os.ReadFile(filepath.Join(dir, "context.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	signed := text(t, dir, place+"-signed-request.txt")
	r := readRequest(signed)
	p, err := Parse(r)
	if err != nil {
		t.Fatalf("%v\n%s", err, signed)
	}
	want := text(t, dir, place+"-canonical-request.txt")
	hash := want[strings.LastIndexByte(want, '\n')+1:]
	canonical, err := p.appendCanonicalRequest(nil, r, hash)
	if err != nil {
		t.Fatal(err)
	}
	if string(canonical) != want {
		t.Errorf("canonical request\n%s\nwant\n%s", canonical, want)
	}
	if got := string(p.stringToSign(Algorithm, sha(canonical))); got != text(t, dir, place+"-string-to-sign.txt") {
		t.Errorf("string to sign\n%s", got)
	}
	key := DeriveKey(secret.New(v.Credentials.Secret), p.Date, p.Region, p.Service)
	sum := mac(key.k[:], p.stringToSign(Algorithm, sha(canonical)))
	if got := hex.EncodeToString(sum[:]); got != text(t, dir, place+"-signature.txt") || sum != p.signature {
		t.Errorf("signature %s", got)
	}
	if err := p.Verify(r, secret.New(v.Credentials.Secret), Scope{Service: v.Service, Region: v.Region}, hash, p.Time); err != nil {
		t.Error(err)
	}
}
