package server_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
)

const hr = "arn:aws:iam::111122223333:role/hr"

// gatewayWorld is an installation with two roles, of which analyst may do anything
// in the bucket sales but below hr/, and hr nothing but there, and alice, who holds
// both. Metrics and spans are on, so that the search for secrets sees what they show.
type gatewayWorld struct {
	*post
	alice *visitor.Visitor
}

func newGatewayWorld(t *testing.T, change ...func(string) string) *gatewayWorld {
	t.Helper()
	spans := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})) // takes all
	t.Cleanup(spans.Close)
	in := install(t, append([]func(string) string{
		replace("accounts:", fmt.Sprintf("telemetry: {metrics: %q, traces: {endpoint: %q, sample: 1}}\naccounts:", freeAddress(t), spans.URL)),
		replace(`name: analytics, kind: local}`, `name: analytics, kind: local, exchanges: [saml, web-identity]}`),
		replace("accounts:", "iam: {loopback_providers: true}\naccounts:")}, change...)...)
	w := &gatewayWorld{post: &post{installation: in, idp: forge.New(t, time.Now())}}
	w.must(t, "sso", "add", "--name", "Corp", "--metadata", w.write(t, "corp.xml", string(w.idp.Metadata())), "--accounts", "111122223333,777788889999",
		"--roles", "*", "--domains", "*")
	ours := strings.TrimPrefix(in.base, "http://") + "/oidc"
	trust := fmt.Sprintf(`{Version: "2012-10-17", Statement: [
          {Effect: Allow, Principal: {Federated: "arn:aws:iam::111122223333:saml-provider/corp"}, Action: "sts:AssumeRoleWithSAML", Condition: {StringEquals: {"SAML:aud": %q}}},
          {Effect: Allow, Principal: {Federated: "arn:aws:iam::111122223333:oidc-provider/%s"}, Action: ["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"],
           Condition: {StringEquals: {"%s:aud": sts.amazonaws.com}, Bool: {"sts:RoleAuthorizedByIdp": "true"}}}]}`, in.base+"/saml/consume", ours, ours)
	w.must(t, "authority", "apply", w.write(t, "authority.yaml", fmt.Sprintf(`accounts:
  "111122223333":
    saml_providers: [{name: corp, metadata_file: corp.xml}]
    oidc_providers: [{url: "http://%s", client_ids: [sts.amazonaws.com]}]
    roles:
      - name: analyst
        trust_policy: %s
        policies: [{name: sales, document: {Version: "2012-10-17", Statement: [
          {Effect: Allow, Action: "s3:*", Resource: ["arn:aws:s3:::sales", "arn:aws:s3:::sales/*"]},
          {Effect: Allow, Action: "s3:ListAllMyBuckets", Resource: "*"},
          {Effect: Deny, Action: "s3:*Object", Resource: "arn:aws:s3:::sales/hr/*"}]}}]
      - name: hr
        trust_policy: %s
        policies: [{name: hr, document: {Version: "2012-10-17", Statement: [
          {Effect: Allow, Action: ["s3:PutObject", "s3:GetObject", "s3:DeleteObject"], Resource: "arn:aws:s3:::sales/hr/*"},
          {Effect: Allow, Action: "s3:ListBucket", Resource: "arn:aws:s3:::sales", Condition: {StringLike: {"s3:prefix": "hr/*"}}}]}}]
`, ours, trust, trust)))
	w.running = w.serve(t)
	w.alice = w.enter(t, analyst, hr)
	var k fetched
	if status := ask(t, w.alice, http.MethodPost, w.base+"/api/v1/roles/credentials", `{"role":"analyst"}`, &k); status != http.StatusOK {
		t.Fatal(status, k)
	}
	c := w.s3(k.AccessKeyID, k.SecretAccessKey, k.SessionToken)
	if strings.Contains(w.read(t, "carnet.yaml"), "client_ca") {
		return w // its own clients speak TLS
	}
	if _, err := c.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("sales")}); err != nil {
		t.Fatal(err)
	}
	return w
}

// enter signs alice in with some roles.
func (w *gatewayWorld) enter(t *testing.T, roles ...string) *visitor.Visitor {
	t.Helper()
	b := w.begin(t)
	resp, body := w.send(t, forge.Encode(w.answer(t, b, func(a *devidp.Answer) {
		a.Attributes[0].Values = nil
		for _, r := range roles {
			a.Attributes[0].Values = append(a.Attributes[0].Values, r+",arn:aws:iam::"+strings.Split(r, ":")[4]+":saml-provider/corp")
		}
	})), "")
	if resp.StatusCode != http.StatusSeeOther {
		t.Fatalf("the post answers %d\n%s", resp.StatusCode, body)
	}
	to, err := resp.Location()
	must(t, err)
	if page := open(t, b.browser, to.String()); page.URL.Path != "/" {
		t.Fatalf("the sign-in ends at %s\n%s", page.URL, page.Body)
	}
	return b.browser
}

func (w *gatewayWorld) s3(id, secret, token string) *awss3.Client {
	return awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://" + w.aws), UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(id, secret, token)})
}

// key makes a gateway key on the host.
func (w *gatewayWorld) key(t *testing.T, args ...string) api.MadeGatewayKey {
	t.Helper()
	var made api.MadeGatewayKey
	out := w.must(t, append([]string{"gateway-key", "make", "--output", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &made); err != nil {
		t.Fatal(err, out)
	}
	return made
}

func (w *gatewayWorld) with(k api.MadeGatewayKey) *awss3.Client {
	return w.s3(k.GatewayKey.AccessKeyID, k.SecretAccessKey, "")
}

// refusal gives what S3, STS or IAM refuse with; empty: they don't.
func refusal(err error) string {
	var f smithy.APIError
	if errors.As(err, &f) {
		return f.ErrorCode() + ": " + f.ErrorMessage()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func wantRefusal(t *testing.T, what string, err error, texts ...string) {
	t.Helper()
	got := refusal(err)
	for _, want := range texts {
		if !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q in it", what, got, want)
		}
	}
}

func puts(t *testing.T, c *awss3.Client, key string) error {
	t.Helper()
	_, err := c.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: aws.String("sales"), Key: aws.String(key), Body: strings.NewReader("content")})
	return err
}

func gets(t *testing.T, c *awss3.Client, key string) error {
	t.Helper()
	out, err := c.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("sales"), Key: aws.String(key)})
	if err == nil {
		_ = out.Body.Close()
	}
	return err
}

// TestGatewayKeys is the life of gateway keys over the wire.
func TestGatewayKeys(t *testing.T) {
	t.Parallel()
	w := newGatewayWorld(t)
	t.Run("role by prefix", func(t *testing.T) { roleByPrefix(t, w) })
	t.Run("attacks", func(t *testing.T) { attacksOnGatewayKeys(t, w) })
	t.Run("rolled", func(t *testing.T) { rolledKeys(t, w) })
	t.Run("machines", func(t *testing.T) { keysOfMachines(t, w) })
	t.Run("trino", func(t *testing.T) { trinoMapping(t, w) })
	t.Run("ended", func(t *testing.T) { endedKeys(t, w) })
}

func roleByPrefix(t *testing.T, w *gatewayWorld) {
	k := w.key(t, "--person", "alice", "--network", "127.0.0.1", "--role", analyst, "--role", hr)
	if k.Endpoint != "http://"+w.aws || len(k.GatewayKey.AccessKeyID) != 20 || k.GatewayKey.Owner != "login-session" || len(k.GatewayKey.Roles) != 2 {
		t.Errorf("%+v", k)
	}
	c := w.with(k)
	wantRefusal(t, "two roles and no grant", puts(t, c, "y"), "AccessDenied", analyst, hr, "prefix-grant add")
	w.must(t, "prefix-grant", "add", "s3://sales", analyst)
	w.must(t, "prefix-grant", "add", "s3://sales/hr/", hr)
	soon(t, "the prefix grants", func() bool { return puts(t, c, "y") == nil && puts(t, c, "hr/x") == nil })
	if err := errors.Join(gets(t, c, "y"), gets(t, c, "hr/x")); err != nil {
		t.Error(err)
	}
	list := func(prefix string) error {
		_, err := c.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: aws.String("sales"), Prefix: aws.String(prefix)})
		return err
	}
	if err := errors.Join(list("hr/"), list(""), list("h")); err != nil {
		t.Error(err)
	}
	_, err := c.DeleteObjects(t.Context(), &awss3.DeleteObjectsInput{Bucket: aws.String("sales"), Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("y")}, {Key: aws.String("hr/x")}}}})
	wantRefusal(t, "a batch of two roles", err, "AccessDenied", analyst, hr)
	if err := errors.Join(gets(t, c, "y"), gets(t, c, "hr/x")); err != nil {
		t.Error("the refused batch deleted something:", err)
	}
	copied := func(from, to string) error {
		_, err := c.CopyObject(t.Context(), &awss3.CopyObjectInput{Bucket: aws.String("sales"), Key: aws.String(to), CopySource: aws.String("sales/" + from)})
		return err
	}
	wantRefusal(t, "the destination's role reads what it may not", copied("y", "hr/z"), "AccessDenied", "assumed-role/hr/")
	wantRefusal(t, "and the other way", copied("hr/x", "z"), "AccessDenied", "assumed-role/analyst/")
	if err := copied("hr/x", "hr/z"); err != nil {
		t.Error(err)
	}
	// The same place for two roles that are held has no answer.
	w.must(t, "prefix-grant", "add", "s3://sales/hr/", analyst)
	soon(t, "the second grant", func() bool { return gets(t, c, "hr/x") != nil })
	wantRefusal(t, "two grants of equal claim", gets(t, c, "hr/x"), "AccessDenied", analyst, hr, "equal claim")
	// For a key that has one of the two roles it has.
	if err := gets(t, w.with(w.key(t, "--person", "alice", "--network", "127.0.0.0/8", "--role", hr)), "hr/x"); err != nil {
		t.Error(err)
	}
	var grants api.PrefixGrantList
	if err := json.Unmarshal([]byte(w.must(t, "prefix-grant", "list", "--output", "json")), &grants); err != nil || len(grants.PrefixGrants) != 3 {
		t.Fatal(err, grants)
	}
	i := slices.IndexFunc(grants.PrefixGrants, func(g api.PrefixGrant) bool { return g.Place == "s3://sales/hr/" && g.Role == analyst })
	w.must(t, "prefix-grant", "remove", grants.PrefixGrants[i].ID)
	soon(t, "the end of the grant", func() bool { return gets(t, c, "hr/x") == nil })
	buckets, err := w.with(w.key(t, "--person", "alice", "--network", "127.0.0.1", "--default-role", analyst)).ListBuckets(t.Context(), &awss3.ListBucketsInput{})
	if err != nil || len(buckets.Buckets) != 1 {
		t.Errorf("%v, %v", buckets, err)
	}
}

// attacksOnGatewayKeys: a stolen key is of no use elsewhere, nor for anything but
// signed requests to S3.
func attacksOnGatewayKeys(t *testing.T, w *gatewayWorld) {
	k := w.key(t, "--person", "alice", "--network", "127.0.0.1", "--role", analyst)
	if err := puts(t, w.with(k), "y"); err != nil {
		t.Fatal(err)
	}
	elsewhere := w.key(t, "--person", "alice", "--network", "10.0.0.0/8", "--role", analyst)
	wantRefusal(t, "from another network", gets(t, w.with(elsewhere), "y"), "AccessDenied", "not for requests from 127.0.0.1")
	// The log is written beside the requests.
	soon(t, "a line about the stray use", func() bool { return strings.Contains(w.log.String(), "a gateway key was used where it is not bound") })
	wrong := elsewhere
	wrong.SecretAccessKey = k.SecretAccessKey
	wantRefusal(t, "another key's secret", gets(t, w.with(wrong), "y"), "SignatureDoesNotMatch")
	certified := w.key(t, "--person", "alice", "--certificate", strings.Repeat("ab", 32), "--role", analyst)
	wantRefusal(t, "without the certificate", gets(t, w.with(certified), "y"), "AccessDenied", "client certificate")

	url, err := awss3.NewPresignClient(w.with(k)).PresignGetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("sales"), Key: aws.String("y")})
	must(t, err)
	resp, err := http.Get(url.URL)
	must(t, err)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("a presigned URL answers %d", resp.StatusCode)
	}
	wantRefusal(t, "with a session token", gets(t, w.s3(k.GatewayKey.AccessKeyID, k.SecretAccessKey, "FwoGZXIvYXdzEXAMPLE"), "y"), "InvalidToken", "")
	_, err = awssts.New(awssts.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://" + w.aws), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(k.GatewayKey.AccessKeyID, k.SecretAccessKey, "")}).GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
	wantRefusal(t, "at STS", err, "InvalidClientTokenId")
	if status, body := w.iam(t, k); status != http.StatusForbidden || !strings.Contains(body, "InvalidClientTokenId") {
		t.Errorf("IAM answers %d %s", status, body)
	}

	for what, args := range map[string][]string{
		"a role that is not held": {"--person", "alice", "--network", "127.0.0.1", "--role", analyst + "2"},
		"nothing to bind to":      {"--person", "alice"},
		"everywhere":              {"--person", "alice", "--network", "0.0.0.0/0"},
		"too long":                {"--person", "alice", "--network", "127.0.0.1", "--lifetime", "25h"},
		"nobody":                  {"--person", "bob", "--network", "127.0.0.1"},
		"a cluster of no name":    {"--person", "alice", "--cluster", "trino"},
		"two owners":              {"--person", "alice", "--service-principal", "x", "--network", "127.0.0.1"},
	} {
		if o := w.carnet(t, append([]string{"gateway-key", "make"}, args...)...); o.code == 0 {
			t.Errorf("%s: %s", what, o)
		}
	}
	if list := w.must(t, "gateway-key", "list", "--all", "--output", "json"); strings.Contains(list, k.SecretAccessKey) || !strings.Contains(list, k.GatewayKey.ID) {
		t.Error("the list lacks the key, or shows its secret")
	}
	if strings.Contains(w.log.String(), k.SecretAccessKey) || strings.Contains(w.read(t, "data/carnet.db")+w.read(t, "data/carnet.db-wal"), k.SecretAccessKey) {
		t.Error("the secret is in the log or the database")
	}
}

// iam asks IAM for its roles with a gateway key.
func (w *gatewayWorld) iam(t *testing.T, k api.MadeGatewayKey) (int, string) {
	t.Helper()
	const body = "Action=ListRoles&Version=2010-05-08"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+w.aws+"/", strings.NewReader(body))
	must(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	sum := sha256.Sum256([]byte(body))
	keys := aws.Credentials{AccessKeyID: k.GatewayKey.AccessKeyID, SecretAccessKey: k.SecretAccessKey}
	must(t, v4.NewSigner().SignHTTP(t.Context(), keys, req, hex.EncodeToString(sum[:]), "iam", "us-east-1", time.Now()))
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(raw)
}

func rolledKeys(t *testing.T, w *gatewayWorld) {
	k := w.key(t, "--person", "alice", "--network", "127.0.0.1", "--role", analyst)
	roll := func(id, overlap string) (api.MadeGatewayKey, outcome) {
		o := w.carnet(t, "gateway-key", "roll", id, "--overlap", overlap, "--output", "json")
		var made api.MadeGatewayKey
		_ = json.Unmarshal([]byte(o.out), &made)
		return made, o
	}
	next, o := roll(k.GatewayKey.ID, "2s")
	if o.code != 0 || next.GatewayKey.Follows != k.GatewayKey.ID || next.SecretAccessKey == k.SecretAccessKey {
		t.Fatal(o)
	}
	if err := gets(t, w.with(next), "y"); err != nil {
		t.Error(err)
	}
	if _, o := roll(k.GatewayKey.ID, "1h"); o.code == 0 || !strings.Contains(o.err, "rolled already") && !strings.Contains(o.err, "ended") {
		t.Errorf("rolled twice: %s", o)
	}
	soon(t, "the end of the overlap", func() bool { return gets(t, w.with(k), "y") != nil })
	wantRefusal(t, "after the overlap", gets(t, w.with(k), "y"), "ExpiredToken")
	w.must(t, "gateway-key", "revoke", next.GatewayKey.ID)
	soon(t, "the revocation", func() bool { return gets(t, w.with(next), "y") != nil })
	if _, o := roll(next.GatewayKey.ID, "1h"); o.code == 0 {
		t.Errorf("a revoked key was rolled: %s", o)
	}
}

// keysOfMachines: a service principal in its own role, and a job for alice.
func keysOfMachines(t *testing.T, w *gatewayWorld) {
	sp := w.words(t, "id", "people", "service-principal", "add", "nightly")
	if o := w.carnet(t, "gateway-key", "make", "--service-principal", "nightly", "--network", "127.0.0.1"); o.code == 0 {
		t.Errorf("a service principal without a role has a key: %s", o)
	}
	w.must(t, "people", "map", "nightly", analyst)
	own := w.key(t, "--service-principal", "nightly", "--network", "127.0.0.1")
	if list := w.must(t, "gateway-key", "list"); !strings.Contains(list, "service principal nightly until ") {
		t.Errorf("the list: %s", list)
	}
	if err := gets(t, w.with(own), "y"); err != nil {
		t.Error(err)
	}
	var d struct{ ID string }
	if status := ask(t, w.alice, http.MethodPost, w.base+"/api/v1/delegations", `{"role":"hr","service_principal":"nightly","label":"report","lifetime_seconds":3600}`, &d); status != http.StatusCreated {
		t.Fatal(status)
	}
	job := w.key(t, "--delegation", d.ID, "--network", "127.0.0.1")
	if job.GatewayKey.Name != "alice" || job.GatewayKey.Expires.After(time.Now().Add(time.Hour)) {
		t.Errorf("%+v", job.GatewayKey)
	}
	if err := gets(t, w.with(job), "hr/x"); err != nil {
		t.Error(err)
	}
	wantRefusal(t, "another role than delegated", gets(t, w.with(job), "y"), "AccessDenied", "assumed-role/hr/")
	if o := w.carnet(t, "gateway-key", "make", "--delegation", d.ID, "--network", "127.0.0.1", "--role", analyst); o.code == 0 {
		t.Errorf("a role that is not delegated: %s", o)
	}
	w.must(t, "revoke", "delegation", d.ID)
	soon(t, "the end of the delegation", func() bool { return gets(t, w.with(job), "hr/x") != nil })
	if err := gets(t, w.with(own), "y"); err != nil {
		t.Error("the machine's own key ended with the delegation:", err)
	}
	w.must(t, "people", "service-principal", "disable", sp)
	soon(t, "the end of the service principal", func() bool { return gets(t, w.with(own), "y") != nil })
}

func trinoMapping(t *testing.T, w *gatewayWorld) {
	w.must(t, "gateway-key", "cluster", "add", "trino", "--network", "127.0.0.0/8")
	k := w.key(t, "--person", "alice", "--cluster", "Trino")
	var m struct {
		Mappings []api.TrinoRule
	}
	if err := json.Unmarshal([]byte(w.must(t, "trino", "mapping", "--cluster", "trino")), &m); err != nil || len(m.Mappings) != 1 ||
		m.Mappings[0] != (api.TrinoRule{User: "alice", AccessKey: k.GatewayKey.AccessKeyID, SecretKey: k.SecretAccessKey, Endpoint: "http://" + w.aws, Region: "us-east-1"}) {
		t.Errorf("%v, %+v", err, m)
	}
	c := w.with(k)
	if err := gets(t, c, "y"); err != nil {
		t.Error(err)
	}
	w.must(t, "gateway-key", "cluster", "add", "trino", "--network", "10.0.0.0/8")
	soon(t, "where the cluster calls from now", func() bool { return gets(t, c, "y") != nil })
	w.must(t, "gateway-key", "cluster", "add", "trino", "--network", "127.0.0.1")
	soon(t, "where the cluster calls from again", func() bool { return gets(t, c, "y") == nil })
	w.must(t, "gateway-key", "cluster", "remove", "trino")
	soon(t, "that the cluster is gone", func() bool { return gets(t, c, "y") != nil })
}

// endedKeys: a key ends with the sign-in that it rests on.
func endedKeys(t *testing.T, w *gatewayWorld) {
	k := w.key(t, "--person", "alice", "--network", "127.0.0.1", "--role", analyst)
	if err := gets(t, w.with(k), "y"); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, w.base+"/api/v1/session", nil)
	must(t, err)
	resp, err := w.alice.Do(req)
	must(t, err)
	_ = resp.Body.Close()
	soon(t, "that alice signed out", func() bool { return gets(t, w.with(k), "y") != nil })
	wantRefusal(t, "after alice signed out", gets(t, w.with(k), "y"), "ExpiredToken", "was ended")
	if o := w.carnet(t, "gateway-key", "make", "--person", "alice", "--network", "127.0.0.1"); o.code == 0 || !strings.Contains(o.err, "not signed in") {
		t.Errorf("a key of a person who is away: %s", o)
	}
	if o := w.carnet(t, "gateway-key", "roll", k.GatewayKey.ID); o.code == 0 {
		t.Errorf("rolled: %s", o)
	}
}
