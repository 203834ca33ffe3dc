package server_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/edge/devidp/forge"
)

// TestFromFirstStartToFirstRead is the life of an installation: the set-up
// link, the first identity provider, the authority, the first object, the way
// back in when the identity provider is down, a restart.
func TestFromFirstStartToFirstRead(t *testing.T) {
	in := install(t)
	if out := in.must(t, "server", "--check-config"); !strings.Contains(out, "is valid: 3 accounts, 1 upstreams") {
		t.Errorf("--check-config says %q", out)
	}
	r := in.serve(t)
	link := in.link(r.printed)
	if link == "" {
		t.Fatalf("the first start prints no set-up link:\n%s", r.printed)
	}
	t.Run("denied until then", func(t *testing.T) { deniedBeforeSetup(t, in) })

	administrator := visitor.New(nil)
	t.Run("the link works once", func(t *testing.T) { redeemed(t, in, administrator, link) })
	idp, idpDown := identityProvider(t, in.base+"/saml/consume")
	t.Run("the first identity provider", func(t *testing.T) { entered(t, in, administrator, idp.Metadata()) })
	t.Run("sso", func(t *testing.T) { ssoCommands(t, in) })
	ann := visitor.New(nil)
	t.Run("authority", func(t *testing.T) { authorityCommands(t, in, ann, idp.Metadata()) })
	t.Run("the first object", func(t *testing.T) { firstObject(t, in, "http://"+in.aws, ann) })
	t.Run("only people of its domains", func(t *testing.T) {
		page := in.signIn(t, visitor.New(nil), "eve@elsewhere.example")
		if page.Status != http.StatusForbidden || !strings.Contains(page.Body, "federation.domain") {
			t.Errorf("eve is answered with %d\n%s", page.Status, page.Body)
		}
	})
	t.Run("administrators by group", func(t *testing.T) {
		root := visitor.New(nil)
		in.signIn(t, root, "root@example.com")
		if page := open(t, root, in.base+"/admin/sso"); page.Status != http.StatusOK || page.URL.Path != "/admin/sso" {
			t.Errorf("the administrators' page is %s, which answers %d", page.URL, page.Status)
		}
		if page := open(t, ann, in.base+"/admin/sso"); page.Status != http.StatusForbidden {
			t.Errorf("the administrators' page answers ann with %d", page.Status)
		}
	})
	idpDown()
	t.Run("recover", func(t *testing.T) { recovered(t, in) })

	r.stop()
	r = in.serve(t)
	if in.link(r.printed) != "" {
		t.Errorf("a set-up link although people can sign in:\n%s", r.printed)
	}
	if page := open(t, ann, in.base+"/"); page.Status != http.StatusOK || !strings.Contains(page.Body, analyst) {
		t.Errorf("after the restart ann's page answers %d\n%s", page.Status, page.Body)
	}
}

// deniedBeforeSetup: nothing but set-up, probes and what everybody may see.
func deniedBeforeSetup(t *testing.T, in *installation) {
	stranger := visitor.New(nil)
	for _, path := range []string{"/", "/sign-in", "/sign-in/complete?handle=x", "/signed-out", "/admin/sso", "/cli/authorize", "/api/v1/session", "/api/v1/roles", "/api/v1/identity-providers"} {
		page := open(t, stranger, in.base+path)
		if page.Status != http.StatusServiceUnavailable || !strings.Contains(page.Body, "setup.pending") {
			t.Errorf("%s answers %d\n%s", path, page.Status, page.Body)
		}
	}
	for _, path := range []string{"/saml/consume", "/api/v1/roles/credentials", "/api/v1/cli/tokens", "/admin/sso/add", "/sign-out"} {
		resp, err := http.PostForm(in.base+path, url.Values{"SAMLResponse": {"x"}})
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("POST %s answers %d", path, resp.StatusCode)
		}
	}
	if page := open(t, stranger, in.base+"/healthz"); page.Status != http.StatusOK {
		t.Errorf("/healthz answers %d", page.Status)
	}
	if page := open(t, stranger, in.base+"/readyz"); page.Status != http.StatusOK {
		t.Errorf("/readyz answers %d %s", page.Status, page.Body)
	}
	if page := open(t, stranger, "http://"+in.aws+"/sales/x"); page.Status != http.StatusForbidden || !strings.Contains(page.Body, "AccessDenied") {
		t.Errorf("the AWS port answers %d %s", page.Status, page.Body)
	}
	resp, err := http.PostForm("http://"+in.aws+"/", url.Values{
		"Action": {"AssumeRoleWithSAML"}, "Version": {"2011-06-15"}, "RoleArn": {analyst}, "PrincipalArn": {provider}, "SAMLAssertion": {"PHg+PC94Pg=="},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 400 || resp.StatusCode > 499 {
		t.Errorf("STS answers %d", resp.StatusCode)
	}
}

// redeemed: opening the link uses nothing up, the button does.
func redeemed(t *testing.T, in *installation, v *visitor.Visitor, link string) {
	t.Helper()
	scanner := open(t, visitor.New(nil), link)
	for range 2 {
		if scanner = open(t, visitor.New(nil), link); scanner.Status != http.StatusOK || scanner.Header.Get("Set-Cookie") != "" {
			t.Errorf("the link answers %d, cookie %q", scanner.Status, scanner.Header.Get("Set-Cookie"))
		}
	}
	if page := submit(t, visitor.New(nil), scanner, "code", map[string]string{"code": "not-the-code"}); page.Status != http.StatusUnauthorized {
		t.Errorf("a wrong code answers %d", page.Status)
	}
	page := submit(t, v, open(t, v, link), "code", nil)
	if page.Status != http.StatusOK || page.URL.Path != "/admin/sso" {
		t.Fatalf("the button leads to %s, which answers %d\n%s", page.URL, page.Status, page.Body)
	}
	again := submit(t, visitor.New(nil), scanner, "code", nil)
	if again.Status != http.StatusUnauthorized || !strings.Contains(again.Body, "setup.code") || !strings.Contains(again.Body, "carnet admin recover") {
		t.Errorf("the second use answers %d\n%s", again.Status, again.Body)
	}
}

// entered: an administrator enters an identity provider with its list.
func entered(t *testing.T, in *installation, v *visitor.Visitor, metadata []byte) {
	fields := map[string]string{
		"name": "Corp", "metadata": "<not-metadata/>", "accounts": "111122223333", "role_patterns": "arn:aws:iam::111122223333:role/*",
		"user_name_domains": "example.com", "administrator_groups": "carnet-admins", "allow_auto_create": "yes",
	}
	page := submit(t, v, open(t, v, in.base+"/admin/sso/add"), "metadata", fields)
	if page.Status != http.StatusBadRequest || !strings.Contains(page.Body, `value="Corp"`) || !strings.Contains(open(t, v, in.base+"/admin/sso").Body, "None yet") {
		t.Errorf("bad metadata answers %d\n%s", page.Status, page.Body)
	}
	fields["metadata"] = string(metadata)
	page = submit(t, v, page, "metadata", fields)
	if page.Status != http.StatusOK || !strings.Contains(page.Body, "is entered") || !strings.Contains(open(t, v, in.base+"/admin/sso").Body, in.base+"/saml/consume") {
		t.Fatalf("the page answers %d\n%s", page.Status, page.Body)
	}
}

// ssoCommands: what the host enters is seen by the running server.
func ssoCommands(t *testing.T, in *installation) {
	if out := in.must(t, "sso", "url"); strings.TrimSpace(out) != in.base+"/saml/consume" {
		t.Errorf("sso url says %q", out)
	}
	other := in.write(t, "other.xml", string(forge.New(t, time.Now()).Metadata()))
	o := in.carnet(t, "sso", "add", "--name", "Other", "--metadata", other, "--accounts", "999999999999", "--roles", "*", "--domains", "*")
	if o.code == 0 || !strings.Contains(o.err, "999999999999") {
		t.Errorf("an account that is not configured: %s", o)
	}
	if o := in.carnet(t, "sso", "add", "--name", "Other", "--metadata", other); o.code != 2 {
		t.Errorf("an identity provider without its list: %s", o)
	}
	if out := in.must(t, "sso", "add", "--name", "Other", "--metadata", other, "--accounts", "444455556666", "--roles", "arn:aws:iam::444455556666:role/*", "--domains", "other.example"); !strings.Contains(out, in.base+"/saml/consume") {
		t.Errorf("sso add says %q", out)
	}
	soon(t, "a second identity provider to choose", func() bool {
		resp, err := http.Get(in.base + "/signed-out")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(body, []byte("Corp")) && bytes.Contains(body, []byte("Other"))
	})
	out := in.must(t, "sso", "list")
	for _, want := range []string{"Corp\n", "Other\n", forge.EntityID, "arn:aws:iam::111122223333:role/*", "example.com"} {
		if !strings.Contains(out, want) {
			t.Errorf("sso list does not say %q:\n%s", want, out)
		}
	}
}

// authorityCommands: a plan changes nothing; what is applied holds at once.
func authorityCommands(t *testing.T, in *installation, ann *visitor.Visitor, metadata []byte) {
	file := in.authority(t, metadata)
	if out := in.must(t, "authority", "plan", file); !strings.Contains(out, "would be changed") || !strings.Contains(out, "analyst") {
		t.Errorf("the plan says %q", out)
	}
	if got := roleOf(t, in, ann); got.State != "failed" || got.Error == nil {
		t.Errorf("before apply the role is %+v", got)
	}
	if out := in.must(t, "authority", "apply", file); !strings.Contains(out, "changed") {
		t.Errorf("apply says %q", out)
	}
	soon(t, "a role to assume", func() bool { return roleOf(t, in, ann).State == "ready" })
	if out := in.must(t, "authority", "plan", file); !strings.Contains(out, "Nothing to change.") {
		t.Errorf("the plan after apply says %q", out)
	}
}

// role is one role as the API tells of it.
type role struct {
	ARN, State string
	Error      *struct{ Code, Message, Mend string }
}

// roleOf signs ann in anew and gives her one role.
func roleOf(t *testing.T, in *installation, v *visitor.Visitor) role {
	t.Helper()
	in.signIn(t, v, "ann@example.com")
	var got struct{ Roles []role }
	if status := ask(t, v, http.MethodGet, in.base+"/api/v1/roles", "", &got); status != http.StatusOK || len(got.Roles) != 1 {
		t.Fatalf("the API answers %d %+v", status, got)
	}
	return got.Roles[0]
}

// firstObject: the keys work on the AWS port, reached at endpoint.
func firstObject(t *testing.T, in *installation, endpoint string, ann *visitor.Visitor) {
	t.Helper()
	var keys struct {
		AccessKeyID     string `json:"access_key_id"`
		SecretAccessKey string `json:"secret_access_key"`
		SessionToken    string `json:"session_token"`
	}
	if status := ask(t, ann, http.MethodPost, in.base+"/api/v1/roles/credentials", `{"role":"analyst"}`, &keys); status != http.StatusOK {
		t.Fatalf("the API answers %d", status)
	}
	c := awss3.New(awss3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(endpoint), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(keys.AccessKeyID, keys.SecretAccessKey, keys.SessionToken),
	})
	bucket, key := aws.String("sales"), aws.String("first.txt")
	if _, err := c.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("hello")}); err != nil {
		t.Fatal(err)
	}
	got, err := c.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: bucket, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if body, err := io.ReadAll(got.Body); err != nil || string(body) != "hello" {
		t.Errorf("the first object holds %q, %v", body, err)
	}
	if _, err := c.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("secrets")}); err == nil {
		t.Error("a bucket that no policy allows was made")
	}
}

// recovered: the host makes links while nobody can sign in; the newest holds.
func recovered(t *testing.T, in *installation) {
	older, newer := in.link(in.must(t, "admin", "recover")), in.link(in.must(t, "admin", "recover"))
	if older == "" || newer == "" || older == newer {
		t.Fatalf("links %q and %q", older, newer)
	}
	v := visitor.New(nil)
	if page := submit(t, v, open(t, v, older), "code", nil); page.Status != http.StatusUnauthorized {
		t.Errorf("an older link answers %d", page.Status)
	}
	if page := submit(t, v, open(t, v, newer), "code", nil); page.Status != http.StatusOK || page.URL.Path != "/admin/sso" || !strings.Contains(page.Body, "Corp") {
		t.Errorf("the link leads to %s, which answers %d", page.URL, page.Status)
	}
	if page := open(t, v, in.base+"/"); page.Status != http.StatusOK || !strings.Contains(page.Body, "You came with a set-up link") {
		t.Errorf("My access by a set-up link answers %d\n%s", page.Status, page.Body)
	}
}
