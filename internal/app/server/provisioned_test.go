package server_test

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
	"carnet.dev/carnet/internal/service/audit"
)

// provisioned is a world with a cluster, a node, and the provisioning system of its
// identity provider. root is the person of every test: their sign-ins bring no role,
// so that provisioning alone gives some.
type provisioned struct {
	*machineWorld
	t      *testing.T
	node   *machine
	bearer string
	access string // token of the orchestrator
}

const (
	root  = "root@example.com"
	other = "arn:aws:iam::111122223333:role/other" // nobody's in the authority
)

func newProvisioned(t *testing.T) *provisioned {
	t.Helper()
	w := newMachineWorld(t)
	if _, err := w.own(t).s3.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("sales")}); err != nil {
		t.Fatal(err)
	}
	w.must(t, "cluster", "add", "lab", "--kind", "high-concurrency", "--orchestrators", "nightly", "--network", "127.0.0.0/8")
	_, bearer, _ := strings.Cut(w.must(t, "provisioning", "credential", "add", "--idp", "Corp", "--label", "tests", "--owner", "tests"), "bearer token  ")
	p := &provisioned{machineWorld: w, t: t, bearer: strings.TrimSpace(bearer), node: w.join(t, "lab", "n1"), access: w.access(t, "all-apis")}
	p.node.works(t, "report", nodedoc.Report{Version: "1", Faces: []string{"container"}}, nil)
	w.ann = visitor.New(nil) // root works with it
	soon(t, "the credential counts", func() bool { status, _ := p.scim(http.MethodGet, "/Users", ""); return status == http.StatusOK })
	return p
}

// scim asks in the name of the provisioning system.
func (p *provisioned) scim(method, path, body string) (status int, out map[string]any) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.base+"/scim/v2"+path, strings.NewReader(body))
	must(p.t, err)
	req.Header.Set("Authorization", "Bearer "+p.bearer)
	req.Header.Set("Content-Type", "application/scim+json")
	resp, err := http.DefaultClient.Do(req)
	must(p.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(p.t, err)
	if len(text) > 0 {
		must(p.t, json.Unmarshal(text, &out))
	}
	return resp.StatusCode, out
}

// says is scim that has to succeed; it gives the id of what is answered.
func (p *provisioned) says(method, path, body string) string {
	p.t.Helper()
	status, out := p.scim(method, path, body)
	if status/100 != 2 {
		p.t.Fatalf("%s %s %s: %d %v", method, path, body, status, out)
	}
	id, _ := out["id"].(string)
	return id
}

func (p *provisioned) patch(path, operation string) {
	p.t.Helper()
	p.says(http.MethodPatch, path, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[`+operation+`]}`)
}

// user makes a person as provisioning does.
func (p *provisioned) user(rest string) string {
	p.t.Helper()
	return p.says(http.MethodPost, "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],`+rest+`}`)
}

// session is who root is by their sign-in, and what they have.
func (p *provisioned) session() (person, login string, roles []string) {
	p.t.Helper()
	var s struct {
		Person struct{ ID string }
		Login  struct{ ID string } `json:"login_session"`
	}
	var list struct {
		Roles []struct{ ARN string }
	}
	if ask(p.t, p.ann, http.MethodGet, p.base+"/api/v1/session", "", &s) != 200 || ask(p.t, p.ann, http.MethodGet, p.base+"/api/v1/roles", "", &list) != 200 {
		p.t.Fatalf("root is not signed in: %+v", s)
	}
	for _, r := range list.Roles {
		roles = append(roles, r.ARN)
	}
	return s.Person.ID, s.Login.ID, roles
}

// arrive signs root in anew, once out everywhere else.
func (p *provisioned) arrive() (person string, roles []string) {
	p.t.Helper()
	remove(p.t, p.machineWorld, "/api/v1/session")
	p.signIn(p.t, p.ann, root)
	person, _, roles = p.session()
	return person, roles
}

func (p *provisioned) delegate(to string) string {
	p.t.Helper()
	var d api.Delegation
	if status := ask(p.t, p.ann, http.MethodPost, p.base+"/api/v1/delegations", `{"role":"analyst","label":"long",`+to+`}`, &d); status != 201 {
		p.t.Fatalf("%s: %d %+v", to, status, d)
	}
	return d.ID
}

// everything is what one person has out: keys of every kind, and what more can be had by.
type everything struct {
	role, gateway map[string]taken
	tokens        map[string]string // ID tokens that buy keys
	attachments   map[string]string
	job           string // a delegation to a service principal
}

func (p *provisioned) asJob(delegation string) answered {
	return p.token(p.t, p.self(), map[string]string{"grant_type": "client_credentials", "audience": forAWS, "delegation": delegation})
}

// holds has everything for root, who holds just these roles, and uses it.
func (p *provisioned) holds(roles string) (e everything) {
	p.t.Helper()
	e = everything{role: map[string]taken{}, gateway: map[string]taken{}, tokens: map[string]string{}, attachments: map[string]string{}}
	if _, has := p.arrive(); strings.Join(has, " ") != roles {
		p.t.Fatalf("root has %v, want %s", has, roles)
	}
	p.delegate(`"cluster":"lab"`)
	e.job = p.delegate(`"service_principal":"nightly"`)
	remove(p.t, p.machineWorld, "/api/v1/session")
	away, refused := p.hub(p.t, p.access, "lab", root, 1002, "")
	if refused.Status != 201 || away.RestsOn != "delegation" {
		p.t.Fatalf("%+v %+v", away, refused)
	}
	p.arrive()
	e.attachments["by a code"], e.attachments["by a delegation"] = p.attach(p.t, p.node, place(1001)).ID, away.ID
	for how, id := range e.attachments {
		p.node.works(p.t, "role", nodedoc.SetRole{Attachment: id, Role: analyst}, nil)
		for what, k := range p.fetch(p.t, p.node, id) {
			e.role[what+" of an attachment "+how] = k
		}
		var token nodedoc.IDToken
		p.node.works(p.t, "id-token", nodedoc.Fetch{Attachment: id}, &token)
		e.tokens["of an attachment "+how] = token.Token
	}
	job := p.asJob(e.job)
	e.tokens["of the job"], e.role["own"] = job.IDToken, p.own(p.t)
	for what, token := range maps.Clone(e.tokens) {
		k, err := p.trade(p.t, token)
		must(p.t, err)
		e.role["bought by the token "+what] = k
	}
	_, login, _ := p.session()
	for what, owner := range map[string]string{"own": `"login_session":"` + login, "of the job": `"delegation":"` + e.job} {
		var made api.MadeGatewayKey
		if status := ask(p.t, p.ann, http.MethodPost, p.base+"/api/v1/gateway-keys", `{`+owner+`","roles":["`+analyst+`"],"networks":["127.0.0.0/8"]}`, &made); status != 201 {
			p.t.Fatalf("a gateway key %s: %d", what, status)
		}
		e.gateway[what] = p.take(made.GatewayKey.AccessKeyID, made.SecretAccessKey, "", time.Time{})
	}
	var engine nodedoc.Trino
	p.node.works(p.t, "trino", struct{}{}, &engine)
	if len(engine.Mappings) != 1 {
		p.t.Fatalf("%+v", engine)
	}
	e.gateway["of the engine"] = p.take(engine.Mappings[0].AccessKey, engine.Mappings[0].SecretKey, "", time.Time{})
	work(p.t, e.role)
	for what, k := range e.gateway {
		if atS3, _ := k.use(p.t); atS3 != nil {
			p.t.Fatalf("the gateway key %s: %v", what, atS3)
		}
	}
	return e
}

// gone wants all of it refused, and nothing more to be had by it.
func (p *provisioned) gone(why string, e everything) {
	p.t.Helper()
	over(p.t, why, e.role)
	for what, k := range e.gateway {
		soon(p.t, why+": the gateway key "+what, func() bool { atS3, _ := k.use(p.t); return awsCode(atS3) != "" })
	}
	for what, token := range e.tokens {
		if k, err := p.trade(p.t, token); awsCode(err) == "" {
			p.t.Errorf("%s: the token %s buys %s, %v", why, what, k.id, err)
		}
	}
	for _, id := range e.attachments {
		p.node.refused(p.t, 404, "attachment.ended", "credentials", nodedoc.Fetch{Attachment: id})
		p.node.refused(p.t, 404, "attachment.ended", "id-token", nodedoc.Fetch{Attachment: id})
	}
	if a := p.asJob(e.job); a.Error != "invalid_grant" || a.IDToken != "" {
		p.t.Errorf("%s: the job has %+v", why, a)
	}
}

// nobody wants nobody to be on the node, nor to come there by an orchestrator.
func (p *provisioned) nobody(why string) {
	p.t.Helper()
	if a, refused := p.hub(p.t, p.access, "lab", root, 1002, ""); refused.Status < 400 {
		p.t.Errorf("%s: the orchestrator attaches %+v", why, a)
	}
	var engine nodedoc.Trino
	if p.node.works(p.t, "trino", struct{}{}, &engine); len(engine.Mappings) != 0 {
		p.t.Errorf("%s: the engine has %+v", why, engine)
	}
}

// TestProvisionedOnNodes: whatever way a role ends at the provisioning system, whoever
// is attached to a node, or works there while they are away, gets nothing more there, and
// nor does the job that works as them. The keys that were given are refused at S3. What
// comes back later, under the same name or external id, revives none of it.
func TestProvisionedOnNodes(t *testing.T) {
	t.Parallel()
	p := newProvisioned(t)
	person := p.user(`"userName":"` + root + `"`)
	value := func(role string) string { return `[{"value":"` + role + `"}]` }
	own := func(op, role string) {
		p.patch("/Users/"+person, `{"op":"`+op+`","path":"roles","value":`+value(role)+`}`)
	}
	lose := func(role string) { p.patch("/Users/"+person, `{"op":"remove","path":"roles[value eq \"`+role+`\"]"}`) }
	var old []everything
	for _, row := range []struct {
		what string
		give func() (take func())
		has  string
	}{
		{"one of two roles", func() func() {
			own("add", analyst)
			own("add", other)
			return func() { lose(other) }
		}, analyst + " " + other},
		{"the last role", func() func() { return func() { lose(analyst) } }, analyst},
		{"out of the group", func() func() {
			group := "/Groups/" + p.says(http.MethodPost, "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"readers","roles":`+value(analyst)+`,"members":[{"value":"`+person+`"}]}`)
			return func() { p.patch(group, `{"op":"remove","path":"members[value eq \"`+person+`\"]"}`) }
		}, analyst},
		{"switched off", func() func() {
			own("add", analyst)
			return func() { p.patch("/Users/"+person, `{"op":"replace","value":{"active":false}}`) }
		}, analyst},
	} {
		take := row.give()
		e := p.holds(row.has)
		take()
		p.gone(row.what, e)
		p.nobody(row.what)
		old = append(old, e)
	}
	if page := p.signIn(t, p.ann, root); page.Status == http.StatusOK {
		t.Errorf("root signs in while they are switched off: %s", page.URL)
	}
	p.patch("/Users/"+person, `{"op":"replace","value":{"active":true}}`)
	for _, e := range old { // what was given back revives nothing
		for _, id := range e.attachments {
			p.node.refused(t, 404, "attachment.ended", "credentials", nodedoc.Fetch{Attachment: id})
		}
		over(t, "in the end", e.role)
		for what, k := range e.gateway {
			if atS3, _ := k.use(t); awsCode(atS3) == "" {
				t.Errorf("the gateway key %s reads again: %v", what, atS3)
			}
		}
	}
}

// TestProvisionedAnew: provisioning says anew who a NameID is. Whoever arrives by it then
// has what is said of them, and nothing of who had it before. (A world of its own: its
// identity provider takes ten passwords in a row.)
func TestProvisionedAnew(t *testing.T) {
	t.Parallel()
	p := newProvisioned(t)
	first := p.user(`"userName":"` + root + `"`)
	p.must(t, "people", "map", first, analyst) // by hand: no provisioning knows it
	e := p.holds(analyst)
	p.says(http.MethodDelete, "/Users/"+first, "")
	second := p.user(`"userName":"rita","externalId":"` + root + `"`)
	p.gone("deleted", e)
	p.nobody("deleted")
	if is, roles := p.arrive(); is != second || len(roles) != 0 {
		t.Fatalf("whoever comes by the external id is %s with %v, want %s", is, roles, second)
	}
	var d api.DelegationList
	var a api.AttachmentList
	if ask(t, p.ann, http.MethodGet, p.base+"/api/v1/delegations", "", &d); len(d.Delegations) != 0 {
		t.Errorf("they have delegations: %+v", d)
	}
	if ask(t, p.ann, http.MethodGet, p.base+"/api/v1/attachments", "", &a); len(a.Attachments) != 0 {
		t.Errorf("they have attachments: %+v", a)
	}
	p.gone("somebody else is there", e)

	// The external id goes to a third, while the identity that was proven stays whose it is.
	p.patch("/Users/"+second, `{"op":"replace","value":{"externalId":"elsewhere","roles":[{"value":"`+analyst+`"}]}}`)
	third := p.user(`"userName":"rosa","externalId":"` + root + `","roles":[{"value":"` + other + `"}]`)
	if is, roles := p.arrive(); is != second || strings.Join(roles, " ") != analyst {
		t.Errorf("after the external id moved: %s with %v, want %s", is, roles, second)
	}
	now := map[string]taken{"the second's": p.own(t)}
	work(t, now)
	p.says(http.MethodDelete, "/Users/"+second, "")
	over(t, "the second is deleted", now)
	if is, roles := p.arrive(); is != third || strings.Join(roles, " ") != other {
		t.Errorf("after the second is deleted: %s with %v, want %s", is, roles, third)
	}
	over(t, "the third is there", now)
	p.gone("the third is there", e)
	t.Run("refusals are found by their request ids", func(t *testing.T) { refusalsFound(t, p) })
}

// refusalsFound: what was refused anywhere is found in the trail by the request id that
// stood in the answer.
func refusalsFound(t *testing.T, p *provisioned) {
	eve := visitor.New(nil)
	page := p.signIn(t, eve, "eve@elsewhere.example")
	if page.Status < 400 {
		t.Fatalf("eve signs in: %d %s", page.Status, page.URL)
	}
	p.signIn(t, p.ann, "ann@example.com")
	var k fetched
	if status := ask(t, p.ann, http.MethodPost, p.base+"/api/v1/roles/credentials", `{"role": "analyst"}`, &k); status != 200 {
		t.Fatalf("%d %+v", status, k)
	}
	keys := p.take(k.AccessKeyID, k.SecretAccessKey, k.SessionToken, k.Expiration)
	id := func(err error) string {
		var answer interface{ ServiceRequestID() string }
		if !errors.As(err, &answer) {
			t.Fatalf("not refused: %v", err)
		}
		return answer.ServiceRequestID()
	}
	_, forged := keys.sts.AssumeRoleWithSAML(t.Context(), &awssts.AssumeRoleWithSAMLInput{RoleArn: aws.String(analyst), PrincipalArn: aws.String(provider), SAMLAssertion: aws.String("PGE+PC9hPg==")})
	_, chained := keys.sts.AssumeRole(t.Context(), &awssts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::111122223333:role/other"), RoleSessionName: aws.String("chained")})
	_, denied := keys.s3.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: aws.String("hr")})

	root := visitor.New(nil)
	p.signIn(t, root, "root@example.com")
	for request, want := range map[string]string{
		page.Header.Get("X-Request-Id"): "sign-in by nobody",
		id(forged):                      "sts.AssumeRoleWithSAML by nobody",
		id(chained):                     "sts.AssumeRole by person",
		id(denied):                      "s3.ListObjectsV2 by person",
		p.iamDenied(t, k):               "iam.ListRoles by person",
	} {
		if request == "" {
			t.Fatalf("the answer to %s has no request id", want)
		}
		var found audit.Found
		soon(t, want, func() bool {
			ask(t, root, http.MethodGet, p.base+"/api/v1/audit?request="+url.QueryEscape(request), "", &found)
			return len(found.Documents) > 0
		})
		for _, d := range found.Documents {
			if d.EventName+" by "+d.UserIdentity.Type != want || d.Outcome != "denied" || d.RequestID != request || d.SourceIP != "127.0.0.1" || d.ErrorCode == "" {
				t.Errorf("%s: %+v", want, d)
			}
			if strings.HasSuffix(want, "by person") && (d.UserIdentity.AccessKeyID != k.AccessKeyID || d.UserIdentity.Person == "") {
				t.Errorf("%s: %+v", want, d.UserIdentity)
			}
		}
	}
}

// iamDenied asks IAM for what the keys may not, and gives the answer's request id.
func (p *provisioned) iamDenied(t *testing.T, k fetched) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.aws+"/?Action=ListRoles&Version=2010-05-08", nil)
	must(t, err)
	keys := aws.Credentials{AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey, SessionToken: k.SessionToken}
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	must(t, v4.NewSigner().SignHTTP(t.Context(), keys, req, empty, "iam", "us-east-1", time.Now()))
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusForbidden || !strings.Contains(string(body), resp.Header.Get("X-Amzn-Requestid")) {
		t.Fatalf("IAM answers %d %s", resp.StatusCode, body)
	}
	return resp.Header.Get("X-Amzn-Requestid")
}
