package server_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
)

// observed is an installation in a process of its own that writes everything down.
func observed(t *testing.T, change ...func(string) string) *bridged {
	t.Helper()
	in := install(t, append([]func(string) string{replace("buckets:", "access_log: {format: s3, file: access.log}\naudit: {reads: on, writes: on}\nbuckets:")}, change...)...)
	p := &bridged{post: &post{installation: in, idp: forge.New(t, time.Now())}}
	p.must(t, "sso", "add", "--name", "Corp", "--metadata", p.write(t, "idp.xml", string(p.idp.Metadata())), "--accounts", "111122223333",
		"--roles", "arn:aws:iam::1*:role/*", "--domains", "*")
	in.write(t, "corp.xml", string(p.idp.Metadata()))
	p.must(t, "authority", "apply", in.write(t, "authority.yaml", fmt.Sprintf(`accounts:
  "111122223333":
    saml_providers: [{name: corp, metadata_file: corp.xml}]
    roles:
      - name: analyst
        trust_policy: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {Federated: "arn:aws:iam::111122223333:saml-provider/corp"},
          Action: ["sts:AssumeRoleWithSAML", "sts:TagSession", "sts:SetSourceIdentity"], Condition: {StringEquals: {"SAML:aud": %q}}}]}
        policies:
          - {name: sales, document: {Version: "2012-10-17", Statement: [{Sid: All, Effect: Allow, Action: "s3:*", Resource: ["arn:aws:s3:::sales", "arn:aws:s3:::sales/*"]}]}}
          - {name: salaries, document: {Version: "2012-10-17", Statement: [{Sid: Never, Effect: Deny, Action: "s3:Get*", Resource: "arn:aws:s3:::*/salaries/*"}]}}
`, in.base+"/saml/consume")))
	p.running = in.serve(t)
	p.db = sqltest.OpenWith(t, sql.Config{SQLite: filepath.Join(in.folder, "data", "carnet.db")})
	return p
}

// denied asks for an object that the role must not have, and gives the request id.
func (p *bridged) denied(t *testing.T, k fetched, bucket, key string) string {
	t.Helper()
	_, err := p.s3(k).GetObject(t.Context(), &awss3.GetObjectInput{Bucket: &bucket, Key: &key})
	var refused *awshttp.ResponseError
	if !errors.As(err, &refused) || refused.HTTPStatusCode() != http.StatusForbidden || refused.ServiceRequestID() == "" {
		t.Fatalf("%s/%s: %v", bucket, key, err)
	}
	for _, word := range []string{"salaries#Never", "sales#All"} {
		if strings.Contains(err.Error(), word) {
			t.Errorf("the public answer names %s: %v", word, err)
		}
	}
	return refused.ServiceRequestID()
}

// TestDeniedRequestIsExplained goes from a client's error to the statement that
// denied it, by the command on the host; and the same request stands in trail and
// access log under the same id.
func TestDeniedRequestIsExplained(t *testing.T) {
	t.Parallel()
	p := observed(t)
	_, k := p.first(t)
	byDeny, byNone := p.denied(t, k, "sales", "salaries/2026.csv"), p.denied(t, k, "hr", "list.csv")
	var text string
	soon(t, "the denial to be kept", func() bool {
		o := p.carnet(t, "explain", byNone)
		text = o.out
		return o.code == 0
	})
	if !strings.Contains(text, "no statement allows it, because no identity-based policy allows the s3:GetObject action") || !strings.Contains(text, "Resource does not cover") {
		t.Errorf("explained as\n%s", text)
	}
	text = p.must(t, "explain", byDeny)
	for _, want := range []string{
		"GetObject was denied", "s3:GetObject on arn:aws:s3:::sales/salaries/2026.csv: denied by salaries#Never, with an explicit deny in an identity-based policy",
		"Deny  salaries#Never (identity-based policy): applies", "Allow sales#All (identity-based policy): applies", "assumed-role/analyst/alice", "alice psn_", "127.0.0.1", k.AccessKeyID,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the explanation lacks %q:\n%s", want, text)
		}
	}
	if o := p.carnet(t, "explain", "AAAAAAAAAAAAAAAA"); o.code == 0 || !strings.Contains(o.err, "kept for 7 days") {
		t.Errorf("an unknown id: %s", o)
	}

	for range 20 { // more of the same
		p.denied(t, k, "sales", "salaries/2026.csv")
	}
	signed, err := awss3.NewPresignClient(p.s3(k)).PresignGetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("sales"), Key: aws.String("a")})
	must(t, err)
	resp, err := http.Get(signed.URL)
	must(t, err)
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK || string(body) != "what was sold" {
		t.Fatalf("the presigned URL answers %d %s %v", resp.StatusCode, body, err)
	}
	resp.Body.Close()
	p.stop()

	trail := p.recorded(t)
	count := map[string]int{}
	for _, line := range trail {
		action := regexp.MustCompile(`"action":"([^"]+)","outcome":"([^"]+)"`).FindStringSubmatch(line)
		count[action[1]+" "+action[2]]++
		if strings.Contains(line, `"request":"`+byDeny+`"`) && (!strings.Contains(line, `"statements":"salaries#Never"`) || !strings.Contains(line, `"target":"arn:aws:s3:::sales/salaries/2026.csv"`)) {
			t.Errorf("recorded as %s", line)
		}
	}
	for what, want := range map[string]int{"s3.CreateBucket done": 1, "s3.PutObject done": 1, "s3.GetObject done": 2, "s3.GetObject denied": 3} {
		if count[what] != want {
			t.Errorf("%d records of %s, want %d: %v", count[what], what, want, count)
		}
	}
	if out := p.must(t, "audit", "verify"); !strings.Contains(out, "The trail is whole") || strings.Contains(out, "under no signature") {
		t.Error(out)
	}
	lines := p.read(t, "access.log")
	for _, want := range []string{
		byDeny + ` REST.GET.OBJECT salaries/2026.csv "GET /sales/salaries/2026.csv?x-id=GetObject HTTP/1.1" 403 AccessDenied`,
		` REST.GET.OBJECT a "GET /sales/a?x-id=GetObject HTTP/1.1" 200 - 13 13 `, " SigV4 - QueryString ",
	} {
		if !strings.Contains(lines, want) {
			t.Errorf("the access log lacks %s:\n%s", want, lines)
		}
	}
	p.holdsNo(t, k.SecretAccessKey, k.SessionToken, "X-Amz-Signature", "Security-Token=", "AWS4-HMAC-SHA256 Credential")
}

// recorded gives the bodies of all audit records.
func (p *bridged) recorded(t *testing.T) (all []string) {
	t.Helper()
	must(t, p.db.Read(t.Context(), func(tx *sql.Tx) error {
		all = nil
		return tx.Each(`SELECT body FROM audit_record ORDER BY writer, seq`, nil, func(scan func(...any) error) error {
			var body string
			err := scan(&body)
			all = append(all, body)
			return err
		})
	}))
	return all
}

// holdsNo demands that no file of the installation, and nothing that the process
// wrote, holds a secret.
func (p *bridged) holdsNo(t *testing.T, secrets ...string) {
	t.Helper()
	files := 0
	look := func(name, text string) {
		for _, s := range secrets {
			if strings.Contains(text, s) {
				t.Errorf("%s holds %.20s…", name, s)
			}
		}
	}
	must(t, filepath.WalkDir(p.folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		files++
		look(path, string(b))
		return err
	}))
	look("the log", p.log.String())
	if files < 5 {
		t.Errorf("only %d files were read", files)
	}
}

// TestAccessLogFollowsItsFile: the running server writes to a new file once the old
// one was moved away, and survives the signal that rotating tools send.
func TestAccessLogFollowsItsFile(t *testing.T) {
	t.Parallel()
	p := observed(t)
	_, k := p.first(t)
	soon(t, "lines", func() bool { return strings.Count(p.read(t, "access.log"), "\n") >= 3 })
	must(t, os.Rename(filepath.Join(p.folder, "access.log"), filepath.Join(p.folder, "access.log.1")))
	must(t, p.process.Signal(syscall.SIGHUP))
	soon(t, "a new file", func() bool { _, err := os.Stat(filepath.Join(p.folder, "access.log")); return err == nil })
	must(t, p.reads(t, k))
	soon(t, "a line in it", func() bool { return strings.Count(p.read(t, "access.log"), "\n") == 1 })
}

// TestTelemetry: Prometheus finds every documented metric on its own listener and
// on no other; a collector gets spans; neither holds a secret, an object's key or a
// person.
func TestTelemetry(t *testing.T) {
	t.Parallel()
	spans := &lockedText{}
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		spans.add(string(b))
	}))
	t.Cleanup(collector.Close)
	metrics := freeAddress(t)
	p := observed(t, replace("buckets:", fmt.Sprintf("telemetry: {metrics: %q, traces: {endpoint: %q, sample: 1}}\nbuckets:", metrics, collector.URL)))
	v, k := p.first(t)
	id := p.denied(t, k, "sales", "salaries/2026.csv")
	var text string
	soon(t, "the denial to be recorded", func() bool {
		text = open(t, visitor.New(nil), "http://"+metrics+"/metrics").Body
		return strings.Contains(text, `{action="s3.GetObject",outcome="denied"} 1`)
	})
	for _, want := range []string{
		`carnet_s3_requests_total{by="",cause="",operation="PutObject",status="2xx"} 1`,
		`carnet_s3_requests_total{by="gateway",cause="denied",operation="GetObject",status="4xx"} 1`,
		`carnet_s3_role_requests_total{account="111122223333",outcome="denied",role="analyst"} 1`,
		`carnet_upstream_up{endpoint="http://store.inner",upstream="disk"} 1`, `carnet_audit_records_total{action="sign-in",outcome="done"} 1`,
		`carnet_audit_records_total{action="exchange",outcome="done"} 1`, "carnet_audit_lost_total 0", "carnet_access_log_lost_total 0", "carnet_s3_in_flight 0",
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("metrics lack %s", want)
		}
	}
	doc, err := os.ReadFile("../../../docs/operations/observe.md")
	must(t, err)
	names := regexp.MustCompile(`(?m)^# TYPE (carnet_\w+) `).FindAllStringSubmatch(text, -1)
	for _, name := range names {
		if !strings.Contains(string(doc), "`"+name[1]+"`") {
			t.Errorf("docs/operations/observe.md lacks %s", name[1])
		}
	}
	if len(names) < 14 {
		t.Errorf("only %d metrics", len(names))
	}
	for _, public := range []string{in(p.web), in(p.aws)} {
		if page := open(t, v, public+"/metrics"); page.Status == http.StatusOK || strings.Contains(page.Body, "carnet_build_info") {
			t.Errorf("%s/metrics answers %d", public, page.Status)
		}
	}
	p.stop()
	for _, want := range []string{`"name":"S3.GetObject"`, `"name":"authenticate"`, `"name":"decide"`, `"name":"upstream"`, id, `"stringValue":"sales"`} {
		if !strings.Contains(spans.text(), want) {
			t.Errorf("the spans lack %s", want)
		}
	}
	for what, text := range map[string]string{"metrics": text, "spans": spans.text()} {
		for _, secret := range []string{k.SecretAccessKey, k.SessionToken, "salaries", "alice"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s hold %.20s…", what, secret)
			}
		}
	}
	p.holdsNo(t, k.SecretAccessKey, k.SessionToken)
}

func in(address string) string { return "http://" + address }

// lockedText collects what arrives.
type lockedText struct {
	mu  sync.Mutex
	all []string
}

func (l *lockedText) add(s string) {
	l.mu.Lock()
	l.all = append(l.all, s)
	l.mu.Unlock()
}

func (l *lockedText) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "\n")
}
