package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/app/server"
	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
)

// lasting is how long keys live in these tests.
const lasting = 4 * time.Second

// bridged is an installation in this process whose keys are short, with the
// bridge on for its first account.
type bridged struct {
	*post
	db *sql.DB // beside the server's own connections
}

const both = `{id: "111122223333", name: analytics, kind: local, exchanges: [saml, web-identity], bridge: {renew: accept}}`

func newBridged(t *testing.T) *bridged {
	t.Helper()
	in := install(t, replace(`{id: "111122223333", name: analytics, kind: local}`, both), replace("buckets:", "iam: {loopback_providers: true, minimum_duration: 1s}\nbuckets:"))
	p := &bridged{post: &post{installation: in, idp: forge.New(t, time.Now())}}
	p.running = &running{log: &log{}}
	p.must(t, "sso", "add", "--name", "Corp", "--metadata", p.write(t, "idp.xml", string(p.idp.Metadata())), "--accounts", "111122223333",
		"--roles", "arn:aws:iam::1*:role/*", "--domains", "*")
	p.trust(t, true)
	c, err := config.Load(p.config)
	must(t, err)
	srv, err := server.New(t.Context(), server.Options{Config: c, Binary: os.Args[0], Now: time.Now, KeyLifetime: lasting,
		Logger: slog.New(slog.NewJSONHandler(p.log, nil))})
	must(t, err)
	listeners, err := server.Listen(c)
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, listeners) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	p.db = sqltest.OpenWith(t, sql.Config{SQLite: c.Database.SQLite})
	return p
}

// trust applies roles that trust the identity provider, and with ours our issuer
// too.
func (p *bridged) trust(t *testing.T, ours bool) {
	t.Helper()
	in := p.installation
	in.write(t, "corp.xml", string(p.idp.Metadata()))
	name := strings.TrimPrefix(in.base, "http://") + "/oidc"
	statements := fmt.Sprintf(`{Effect: Allow, Principal: {Federated: "arn:aws:iam::111122223333:saml-provider/corp"}, `+
		`Action: ["sts:AssumeRoleWithSAML", "sts:TagSession", "sts:SetSourceIdentity"], Condition: {StringEquals: {"SAML:aud": %q}}}`, in.base+"/saml/consume")
	if ours {
		statements += fmt.Sprintf(`, {Effect: Allow, Principal: {Federated: "arn:aws:iam::111122223333:oidc-provider/%s"}, `+
			`Action: ["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"], `+
			`Condition: {StringEquals: {"%s:aud": sts.amazonaws.com}, StringLike: {"%s:sub": "user:psn_*"}, Bool: {"sts:RoleAuthorizedByIdp": "true"}}}`, name, name, name)
	}
	p.must(t, "authority", "apply", in.write(t, "authority.yaml", fmt.Sprintf(`accounts:
  "111122223333":
    saml_providers: [{name: corp, metadata_file: corp.xml}]
    oidc_providers: [{url: "%s/oidc", client_ids: [sts.amazonaws.com]}]
    roles:
      - name: analyst
        trust_policy: {Version: "2012-10-17", Statement: [%s]}
        policies: [{name: sales, document: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "s3:*", Resource: ["arn:aws:s3:::sales", "arn:aws:s3:::sales/*"]}]}}]
      - name: other
        trust_policy: {Version: "2012-10-17", Statement: [%s]}
`, in.base, statements, statements)))
}

// signIn signs alice in with some roles.
func (p *bridged) signIn(t *testing.T, roles ...string) *visitor.Visitor {
	t.Helper()
	b := p.begin(t)
	resp, body := p.send(t, forge.Encode(p.answer(t, b, func(a *devidp.Answer) {
		a.Attributes[0].Values = nil
		for _, r := range roles {
			a.Attributes[0].Values = append(a.Attributes[0].Values, "arn:aws:iam::111122223333:role/"+r+","+provider)
		}
		a.Attributes = append(a.Attributes,
			devidp.Attribute{Name: "https://aws.amazon.com/SAML/Attributes/PrincipalTag:team", Values: []string{"blue"}},
			devidp.Attribute{Name: "https://aws.amazon.com/SAML/Attributes/SourceIdentity", Values: []string{"alice.smith"}})
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

// fetched is an answer of the API: keys, or a problem.
type fetched struct {
	AccessKeyID     string    `json:"access_key_id"`
	SecretAccessKey string    `json:"secret_access_key"`
	SessionToken    string    `json:"session_token"`
	Expiration      time.Time `json:"expiration"`
	Code, Detail    string
	status          int
}

func (p *bridged) keys(t *testing.T, v *visitor.Visitor) (k fetched) {
	t.Helper()
	k.status = ask(t, v, http.MethodPost, p.base+"/api/v1/roles/credentials", `{"role": "analyst"}`, &k)
	return k
}

func (p *bridged) s3(k fetched) *awss3.Client {
	return awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://" + p.aws), UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(k.AccessKeyID, k.SecretAccessKey, k.SessionToken)})
}

// reads wants an object to be read with keys.
func (p *bridged) reads(t *testing.T, k fetched) error {
	t.Helper()
	got, err := p.s3(k).GetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("sales"), Key: aws.String("a")})
	if err != nil {
		return err
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	if err == nil && string(body) != "what was sold" {
		err = fmt.Errorf("read %q", body)
	}
	return err
}

// status is what the API says of the role.
func (p *bridged) status(t *testing.T, v *visitor.Visitor) (r struct {
	State, Served string
	Renewable     bool
	NeededBy      *time.Time `json:"needed_by"`
	Warning       *struct{ Message string }
	Error         *struct{ Code, Message, Mend string }
}) {
	t.Helper()
	var all struct{ Roles []json.RawMessage }
	ask(t, v, http.MethodGet, p.base+"/api/v1/roles", "", &all)
	if len(all.Roles) == 0 {
		t.Fatal("no roles")
	}
	must(t, json.Unmarshal(all.Roles[0], &r))
	return r
}

// renewals gives the audit records of renewals.
func (p *bridged) renewals(t *testing.T, outcome string) (out []string) {
	t.Helper()
	must(t, p.db.Read(t.Context(), func(tx *sql.Tx) error {
		out = nil
		return tx.Each(`SELECT body FROM audit_record WHERE action = 'renewal' ORDER BY at, seq`, nil, func(scan func(...any) error) error {
			var text []byte
			err := scan(&text)
			if strings.Contains(string(text), `"outcome":"`+outcome+`"`) {
				out = append(out, string(text))
			}
			return err
		})
	}))
	return out
}

// first signs alice in and puts the object that is read.
func (p *bridged) first(t *testing.T) (*visitor.Visitor, fetched) {
	t.Helper()
	v := p.signIn(t, "analyst")
	k := p.keys(t, v)
	if k.status != http.StatusOK {
		t.Fatalf("no keys: %+v\n%s", k, p.log)
	}
	c := p.s3(k)
	_, _ = c.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("sales")})
	_, err := c.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: aws.String("sales"), Key: aws.String("a"), Body: strings.NewReader("what was sold")})
	must(t, err)
	must(t, p.reads(t, k))
	return v, k
}

// until waits for the end of keys.
func until(k fetched) { time.Sleep(time.Until(k.Expiration) + 100*time.Millisecond) }

// TestSessionOutlivesItsAssertion: a session that SAML started still reads S3 after
// the keys by SAML have expired, again and again, as the same person.
func TestSessionOutlivesItsAssertion(t *testing.T) {
	t.Parallel()
	p := newBridged(t)
	v, k := p.first(t)
	if st := p.status(t, v); st.State != "ready" || st.Served != "bridge" || !st.Renewable || st.NeededBy == nil || time.Until(*st.NeededBy) < 3*time.Hour+59*time.Minute ||
		time.Until(*st.NeededBy) > 4*time.Hour {
		t.Errorf("status %+v", st)
	}
	for range 3 {
		old := k
		until(old)
		if err := p.reads(t, old); err == nil || !strings.Contains(err.Error(), "ExpiredToken") {
			t.Fatalf("the old keys: %v", err)
		}
		if k = p.keys(t, v); k.status != http.StatusOK || k.AccessKeyID == old.AccessKeyID {
			t.Fatalf("not renewed: %+v\n%s", k, p.log)
		}
		must(t, p.reads(t, k))
	}
	done := p.renewals(t, "done")
	if len(done) < 3 || !strings.Contains(done[0], `"login_session":"lgn_`) || !strings.Contains(done[0], `"target":"`) || !strings.Contains(done[0], `"user_name":"alice"`) {
		t.Errorf("recorded %s", done)
	}
	// Our own STS records what the token carried on.
	var exchange string
	must(t, p.db.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRow(`SELECT body FROM audit_record WHERE action = 'sts.AssumeRoleWithWebIdentity' ORDER BY at DESC, seq DESC LIMIT 1`).Scan(&exchange)
	}))
	for _, want := range []string{`assumed-role/analyst/alice"`, `"issuer":"` + p.base + `/oidc"`, `"subject":"user:psn_`, `"audience":"sts.amazonaws.com"`} {
		if !strings.Contains(exchange, want) {
			t.Errorf("the exchange lacks %s: %s", want, exchange)
		}
	}
	p.nothingLeaks(t)
}

// TestRenewalEndsWithTheEntitlement: a later sign-in without the role ends what an
// earlier one renews.
func TestRenewalEndsWithTheEntitlement(t *testing.T) {
	t.Parallel()
	p := newBridged(t)
	v, k := p.first(t)
	p.signIn(t, "other")
	until(k)
	if k = p.keys(t, v); k.status != http.StatusForbidden || k.Code != "bridge.word" {
		t.Errorf("renewed: %+v", k)
	}
	if st := p.status(t, v); st.State != "failed" || st.Error == nil || st.Error.Code != "bridge.word" || st.Error.Mend == "" {
		t.Errorf("status %+v", st)
	}
	if denied := p.renewals(t, "denied"); len(denied) != 1 || !strings.Contains(denied[0], `"code":"bridge.word"`) {
		t.Errorf("recorded %s", denied)
	}
}

// TestRenewalEndsWithTheList: what the identity provider may not say any more is
// not renewed.
func TestRenewalEndsWithTheList(t *testing.T) {
	t.Parallel()
	p := newBridged(t)
	v, k := p.first(t)
	p.must(t, "sso", "set", "Corp", "--roles", "arn:aws:iam::1*:role/other")
	time.Sleep(2 * time.Second) // the running server sees it within a second
	until(k)
	if k = p.keys(t, v); k.AccessKeyID != "" && k.Expiration.After(time.Now()) { // renewed before the list changed
		until(k)
		k = p.keys(t, v)
	}
	if k.status != http.StatusForbidden || k.Code != "entitlement.ended" {
		t.Errorf("renewed: %+v", k)
	}
}

// TestRenewalEndsWithTheTrust: a role whose trust no longer takes our issuer is
// refused at the next renewal, with AWS's reason.
func TestRenewalEndsWithTheTrust(t *testing.T) {
	t.Parallel()
	p := newBridged(t)
	v, k := p.first(t)
	p.trust(t, false)
	soon(t, "the trust that was taken back", func() bool {
		k = p.keys(t, v)
		return k.status == http.StatusForbidden
	})
	if k.Code != "AccessDenied" || !strings.Contains(k.Detail, "Not authorized to perform sts:AssumeRoleWithWebIdentity") {
		t.Errorf("refused with %+v", k)
	}
	st := p.status(t, v)
	if st.State != "failed" || st.Error == nil || st.Error.Code != "AccessDenied" || !strings.Contains(st.Error.Mend, "trust policy") {
		t.Errorf("status %+v %+v", st, st.Error)
	}
	if page := open(t, v, p.base+"/"); !strings.Contains(page.Body, "AssumeRoleWithWebIdentity") {
		t.Errorf("the page does not say why\n%s", page.Body)
	}
}

// TestBridgeRiskIsSaid: by the check of the configuration and at the start, where
// it is on.
func TestBridgeRiskIsSaid(t *testing.T) {
	t.Parallel()
	const risk = "whoever holds Carnet's issuer key can then act as anyone in roles that trust it"
	if off := install(t).serve(t); strings.Contains(off.log.String(), "can then act as anyone") {
		t.Error("said where the bridge is off")
	}
	in := install(t, replace(`{id: "111122223333", name: analytics, kind: local}`, both))
	if said := in.must(t, "server", "--check-config"); !strings.Contains(said, risk) || !strings.Contains(said, "111122223333") {
		t.Errorf("--check-config says %s", said)
	}
	on := in.serve(t)
	if said := on.log.String(); !strings.Contains(said, risk) || !strings.Contains(said, "111122223333") || strings.Contains(said, "444455556666\"") {
		t.Errorf("the log says %s", said)
	}
}
