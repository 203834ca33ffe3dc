package server_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
)

// metaWorld is an installation whose account at AWS, played by another Carnet, takes
// assume-role by a key of an IAM user there.
type metaWorld struct {
	*gatewayWorld
	paper   *paper
	address string
	cloud   *installation
	admin   *awsiam.Client // of the account at AWS
}

func newMetaWorld(t *testing.T) *metaWorld {
	t.Helper()
	w := &metaWorld{paper: newPaper(t), address: freeAddress(t)}
	secrets := t.TempDir()
	id, key := filepath.Join(secrets, "given-id"), filepath.Join(secrets, "given-key")
	put := func(path, text string) { must(t, os.WriteFile(path, []byte(text+"\n"), 0o600)) }
	put(id, "AKIANOTYET0000000000")
	put(key, "not yet")
	w.gatewayWorld = newGatewayWorld(t,
		replace(`{id: "777788889999", name: lake, kind: aws}`, `{id: "777788889999", name: lake, kind: aws, exchanges: [saml, assume-role], sts: {endpoint: "https://`+w.address+`", ca: `+w.paper.file(t)+`}}`),
		replace("secrets: {", "secrets: {aws: {access_key_file: "+id+", secret_key_file: "+key+"}, "))
	w.cloud = w.gatewayWorld.cloud(t, w.paper, w.address, replace("accounts:", "static_keys: allow\naccounts:"))
	// People sign in there by somebody else: it knows nobody of w.
	others, _ := identityProvider(t, w.cloud.base+"/saml/consume")
	w.cloud.must(t, "sso", "add", "--name", "Other", "--metadata", w.cloud.write(t, "other.xml", string(others.Metadata())), "--accounts", "777788889999", "--roles", "*", "--domains", "*")
	// An administrator of that account makes the identity, and lets it take the role.
	v := visitor.New(nil)
	submit(t, v, open(t, v, w.cloud.link(w.cloud.must(t, "admin", "recover"))), "code", nil)
	var k fetched
	if status := ask(t, v, http.MethodPost, w.cloud.base+"/api/v1/accounts/777788889999/administrator-credentials", `{}`, &k); status != http.StatusOK {
		t.Fatal(status, k)
	}
	w.admin = awsiam.New(awsiam.Options{Region: "us-east-1", BaseEndpoint: aws.String("https://" + w.address), HTTPClient: w.paper.client(t, "", ""),
		Credentials: credentials.NewStaticCredentialsProvider(k.AccessKeyID, k.SecretAccessKey, k.SessionToken)})
	ctx := t.Context()
	_, err := w.admin.CreateUser(ctx, &awsiam.CreateUserInput{UserName: aws.String("carnet-meta")})
	must(t, err)
	made, err := w.admin.CreateAccessKey(ctx, &awsiam.CreateAccessKeyInput{UserName: aws.String("carnet-meta")})
	must(t, err)
	_, err = w.admin.PutUserPolicy(ctx, &awsiam.PutUserPolicyInput{UserName: aws.String("carnet-meta"), PolicyName: aws.String("data-roles"), PolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["sts:AssumeRole","sts:SetSourceIdentity"],"Resource":"` + reader + `"}]}`)})
	must(t, err)
	w.trust(t, w.words(t, "external_id", "cluster", "external-id"), "ali*")
	put(id, aws.ToString(made.AccessKey.AccessKeyId))
	put(key, aws.ToString(made.AccessKey.SecretAccessKey))
	w.running.stop()
	w.running = w.serve(t)
	return w
}

// trust has the data role trust assertions, and Carnet's identity under two conditions.
func (w *metaWorld) trust(t *testing.T, externalID, people string) {
	t.Helper()
	_, err := w.admin.UpdateAssumeRolePolicy(t.Context(), &awsiam.UpdateAssumeRolePolicyInput{RoleName: aws.String("reader"), PolicyDocument: aws.String(fmt.Sprintf(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::777788889999:saml-provider/corp"},"Action":"sts:AssumeRoleWithSAML","Condition":{"StringEquals":{"SAML:aud":%q}}},
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::777788889999:user/carnet-meta"},"Action":["sts:AssumeRole","sts:SetSourceIdentity"],
		 "Condition":{"StringEquals":{"sts:ExternalId":%q},"StringLike":{"sts:SourceIdentity":%q}}}]}`, w.base+"/saml/consume", externalID, people))})
	must(t, err)
}

// caller asks the account at AWS who keys are.
func (w *metaWorld) caller(t *testing.T, k nodedoc.Keys) string {
	t.Helper()
	out, err := awssts.New(awssts.Options{Region: "us-east-1", BaseEndpoint: aws.String("https://" + w.address), HTTPClient: w.paper.client(t, "", ""),
		Credentials: credentials.NewStaticCredentialsProvider(k.AccessKeyID, k.SecretAccessKey, k.SessionToken)}).GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
	must(t, err)
	return aws.ToString(out.Arn)
}

// password is a person's for JDBC.
func (w *metaWorld) password(t *testing.T, v *visitor.Visitor, audience string) string {
	t.Helper()
	var out struct {
		Token   string
		Expires time.Time
		Detail  string
	}
	if status := ask(t, v, http.MethodPost, w.base+"/api/v1/id-tokens", `{"audience":"`+audience+`"}`, &out); status != http.StatusOK {
		t.Fatal(status, out.Detail)
	}
	if left := time.Until(out.Expires); left > 16*time.Minute {
		t.Errorf("a password for %s", left)
	}
	return out.Token
}

// TestJDBCByTheMetaRole: who connects to an engine with a short token has keys of their
// own role, by Carnet's own identity, under their own name.
func TestJDBCByTheMetaRole(t *testing.T) {
	t.Parallel()
	w := newMetaWorld(t)
	alice := w.enter(t, analyst, reader)
	w.must(t, "cluster", "add", "lab", "--meta")
	w.must(t, "cluster", "add", "plain")
	m, other, plain := w.join(t, "lab", "n1"), w.join(t, "lab", "n2"), w.join(t, "plain", "n1")
	password := w.password(t, alice, "jdbc")
	var c nodedoc.JDBCConnection
	m.works(t, "jdbc", nodedoc.JDBC{User: "alice", Password: password, Role: "reader"}, &c)
	if who := w.caller(t, c.Keys); who != "arn:aws:sts::777788889999:assumed-role/reader/alice" || c.User != "alice" {
		t.Errorf("%s for %s", who, c.User)
	}
	if left := time.Until(c.Keys.Expiration); left > time.Hour+time.Minute || left < 50*time.Minute {
		t.Errorf("keys for %s", left)
	}
	// A role of the local account comes from the login session itself.
	var local nodedoc.JDBCConnection
	m.works(t, "jdbc", nodedoc.JDBC{User: "alice", Password: password, Role: "analyst"}, &local)
	if local.Keys.Role != analyst || local.Keys.S3 != "http://"+w.aws {
		t.Errorf("%+v", local.Keys)
	}
	var again nodedoc.JDBCConnection
	m.works(t, "jdbc", nodedoc.JDBC{Connection: c.Connection}, &again)
	if again.Keys.AccessKeyID == c.Keys.AccessKeyID || again.Keys.Role != reader || again.User != "alice" {
		t.Errorf("renewed %+v", again)
	}
	m.refused(t, 400, "role.choose", "jdbc", nodedoc.JDBC{User: "alice", Password: password})
	m.refused(t, 404, "role.unheld", "jdbc", nodedoc.JDBC{User: "alice", Password: password, Role: "hr"})
	m.refused(t, 400, "jdbc.both", "jdbc", nodedoc.JDBC{User: "alice", Connection: c.Connection})
	plain.refused(t, 403, "jdbc.off", "jdbc", nodedoc.JDBC{User: "alice", Password: password, Role: "reader"})
	other.refused(t, 403, "jdbc.refused", "jdbc", nodedoc.JDBC{Connection: c.Connection})
	for what, in := range map[string]nodedoc.JDBC{
		"nothing":             {},
		"another user":        {User: "bob", Password: password, Role: "reader"},
		"another case":        {User: "ALICE", Password: password, Role: "reader"},
		"no password":         {User: "alice", Role: "reader"},
		"a changed password":  {User: "alice", Password: password[:len(password)-8] + "AAAAAAAA", Role: "reader"},
		"the connection":      {User: "alice", Password: c.Connection, Role: "reader"},
		"a made-up text":      {Connection: "carnet-jdbc-AAAA"},
		"the password itself": {Connection: password},
		"an access token":     {Connection: m.access},
	} {
		if p := m.post(t, "jdbc", in, nil); p.Status != 403 || p.Code != "jdbc.refused" {
			t.Errorf("%s: %+v", what, p)
		}
	}
	// Keys of a local account for a connection end with the node.
	other.works(t, "jdbc", nodedoc.JDBC{User: "alice", Password: password, Role: "analyst"}, &local)
	identify := func() error {
		sts := awssts.New(awssts.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://" + w.aws), RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider(local.Keys.AccessKeyID, local.Keys.SecretAccessKey, local.Keys.SessionToken)})
		_, err := sts.GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
		return err
	}
	if err := identify(); err != nil {
		t.Error(err)
	}
	w.must(t, "node", "remove", "lab", "n2")
	soon(t, "the keys of a node that was removed", func() bool { return strings.HasPrefix(awsCode(identify()), "ExpiredToken") })
	// AWS is asked under this installation's id, and for people whom the role admits.
	external := w.words(t, "external_id", "cluster", "external-id")
	w.trust(t, "another-installation", "ali*")
	m.refused(t, 403, "AccessDenied", "jdbc", nodedoc.JDBC{Connection: c.Connection})
	w.trust(t, external, "bob*")
	m.refused(t, 403, "AccessDenied", "jdbc", nodedoc.JDBC{Connection: c.Connection})
	w.trust(t, external, "ali*")
	m.works(t, "jdbc", nodedoc.JDBC{Connection: c.Connection}, &again)
	// What the cluster allows, and who may work there, is asked anew.
	w.must(t, "cluster", "set", "lab", "--roles", analyst)
	soon(t, "the roles of the cluster", func() bool {
		return m.post(t, "jdbc", nodedoc.JDBC{Connection: c.Connection}, nil).Code == "role.unheld"
	})
	w.must(t, "cluster", "set", "lab", "--roles", "", "--meta=false")
	soon(t, "that the cluster has no meta role", func() bool { return m.post(t, "jdbc", nodedoc.JDBC{Connection: c.Connection}, nil).Code == "jdbc.off" })
	w.must(t, "cluster", "set", "lab", "--meta")
	soon(t, "that it has it again", func() bool { return m.post(t, "jdbc", nodedoc.JDBC{Connection: c.Connection}, nil).Status == 200 })
	// Signed out, neither password nor connection is worth anything.
	w.must(t, "revoke", "person", "alice")
	soon(t, "that alice was revoked", func() bool {
		return m.post(t, "jdbc", nodedoc.JDBC{Connection: c.Connection}, nil).Code == "jdbc.refused"
	})
	m.refused(t, 403, "jdbc.refused", "jdbc", nodedoc.JDBC{User: "alice", Password: password, Role: "reader"})
	if log := w.log.String(); strings.Contains(log, password) || strings.Contains(log, c.Connection) || strings.Contains(log, c.Keys.SecretAccessKey) {
		t.Error("a secret is in the log")
	}
	w.must(t, "audit", "verify")
}

// TestAJobByTheMetaRole: somebody who is away works on a cluster by their delegation,
// in a role of an account that takes no web identity.
func TestAJobByTheMetaRole(t *testing.T) {
	t.Parallel()
	w := newMetaWorld(t)
	alice := w.enter(t, analyst, reader)
	w.must(t, "cluster", "add", "lab", "--meta", "--login-names", "Corp")
	w.must(t, "cluster", "add", "plain")
	m := w.join(t, "lab", "n1")
	var d api.Delegation
	delegate := func(cluster string) int {
		return ask(t, alice, http.MethodPost, w.base+"/api/v1/delegations", `{"role":"reader","cluster":"`+cluster+`","label":"nightly","lifetime_seconds":86400}`, &d)
	}
	if status := delegate("plain"); status != http.StatusForbidden {
		t.Errorf("a delegation that could not be served: %d", status)
	}
	if status := delegate("lab"); status != http.StatusCreated {
		t.Fatal(status, d)
	}
	if status := ask(t, alice, http.MethodPost, w.base+"/api/v1/delegations", `{"role":"reader","cluster":"lab","service_principal":"x","label":"two"}`, &problem{}); status != http.StatusBadRequest {
		t.Errorf("two who would have it: %d", status)
	}
	for _, v := range []*visitor.Visitor{alice, w.alice} { // she leaves
		req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, w.base+"/api/v1/session", nil)
		must(t, err)
		resp, err := v.Do(req)
		must(t, err)
		resp.Body.Close()
	}
	p := place(1001)
	p.Account = "alice"
	var begun nodedoc.AttachBegun
	m.works(t, "attach", nodedoc.AttachRequest{Place: p, ByLoginName: true}, &begun)
	if begun.Attachment == nil || begun.Attachment.Name != "alice" {
		t.Fatalf("%+v", begun)
	}
	var k nodedoc.Keys
	m.works(t, "credentials", nodedoc.Fetch{Attachment: begun.Attachment.ID}, &k)
	if who := w.caller(t, k); who != "arn:aws:sts::777788889999:assumed-role/reader/alice" {
		t.Errorf("the job is %s", who)
	}
	// There is no token of ours that would do.
	if p := m.post(t, "id-token", nodedoc.Fetch{Attachment: begun.Attachment.ID}, nil); p.Status < 400 {
		t.Error("a web-identity token of an account that takes none")
	}
	w.must(t, "cluster", "set", "lab", "--meta=false")
	soon(t, "that the cluster has no meta role", func() bool {
		return m.post(t, "credentials", nodedoc.Fetch{Attachment: begun.Attachment.ID}, nil).Status >= 400
	})
	w.must(t, "audit", "verify")
}
