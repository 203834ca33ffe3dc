package iam_test

import (
	"slices"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/iam"
)

// whole has something of everything that an authority file can say.
const whole = `
accounts:
  "111122223333":
    alias: analytics
    saml_providers:
      - {name: dev-idp, metadata_file: idp.xml, tags: {team: blue}}
    oidc_providers:
      - {url: "https://issuer.example/oidc", client_ids: [sts.amazonaws.com], thumbprints: ["9E99A48A9960B14926BB7F3B02E22DA2B0AB7280"], tags: {team: blue}}
    managed_policies:
      - name: ReadSales
        path: /team/
        description: reads
        document: {Version: 2012-10-17, Statement: {Effect: Allow, Action: "s3:GetObject", Resource: "*"}}
      - {name: Most, document: '{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}'}
    roles:
      - name: analyst
        path: /data/
        max_session_duration: 90m
        trust_policy: {Statement: {Effect: Allow, Principal: {AWS: "arn:aws:iam::111122223333:user/ann"}, Action: "sts:AssumeRole"}}
        managed_policies: [ReadSales, "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"]
        permissions_boundary: Most
      - name: loader
        trust_policy: {Statement: {Effect: Allow, Principal: {AWS: "arn:aws:iam::111122223333:role/data/analyst"}, Action: "sts:AssumeRole"}}
        permissions_boundary: {name: in-place, document: {Statement: {Effect: Allow, Action: "s3:*", Resource: "*"}}}
        policies: [{name: b, document: {Statement: {Effect: Allow, Action: "s3:PutObject", Resource: "*"}}}]
    groups:
      - {name: readers, managed_policies: [ReadSales], policies: [{name: list, document: {Statement: {Effect: Allow, Action: "s3:ListBucket", Resource: "*"}}}]}
    users:
      - {name: ann, groups: [readers], tags: {cost: "1"}, permissions_boundary: Most}
    instance_profiles:
      - {name: meta, role: loader}
    guardrails:
      service_control:
        - [{name: full, document: {Statement: {Effect: Allow, Action: "*", Resource: "*"}}}]
        - [{name: s3, document: {Statement: {Effect: Allow, Action: "s3:*", Resource: "*"}}}]
    buckets:
      - name: sales
        policy: {Version: 2012-10-17, Statement: {Effect: Deny, Principal: {AWS: "arn:aws:iam::111122223333:user/ann"}, Action: "s3:*", Resource: "arn:aws:s3:::sales/*"}}
        cors: [{allowed_methods: [GET, PUT], allowed_origins: ["https://app.example"], max_age: 600}, {id: all, allowed_methods: [GET], allowed_origins: ["*"], allowed_headers: ["*"], expose_headers: [ETag]}]
`

func TestTheWholeFileIsAppliedOnceAndExported(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		w := open(t, c)
		if got := w.apply(t, whole); len(got) != 13 {
			t.Errorf("plan %q", got)
		}
		s := current(t, w.Service)
		ann, ok := s.User("arn:aws:iam::111122223333:user/ann")
		if !ok || ann.Boundary == nil || len(ann.Policies) != 1 {
			t.Fatalf("user %+v", ann)
		}
		if service, _ := s.Guardrails("111122223333"); len(service) != 2 {
			t.Errorf("guardrails %v", service)
		}
		if got := w.apply(t, whole); len(got) != 0 {
			t.Errorf("second plan %q", got)
		}
		text, err := w.Export(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := w.apply(t, string(text)); len(got) != 0 {
			t.Errorf("the export plans %q:\n%s", got, text)
		}
		// On another installation it makes the same, with ids of its own.
		other := open(t, sqlite(t))
		other.apply(t, string(text))
		again, err := other.Export(t.Context())
		if err != nil || string(again) != string(text) {
			t.Errorf("exported again: %v\n%s", err, again)
		}
		theirs, _ := current(t, other.Service).User(ann.ARN)
		if theirs.ID == ann.ID {
			t.Error("two installations made the same unique id")
		}
	})
}

func TestChangesKeepIDsAndVersions(t *testing.T) {
	t.Parallel()
	w := open(t, sqlite(t))
	w.apply(t, whole)
	before := current(t, w.Service).View()
	w.edit(t, func(d *iam.Draft) error {
		ann, _ := d.User(account, "ann")
		key := &iam.AccessKeyRecord{ID: "AKIAEXAMPLEEXAMPLE00", Account: account, User: ann.ID, Active: true, Created: d.Now()}
		key.Sealed, _ = d.Seal(iam.SealAccessKey, key.ID, secret.New("s"))
		d.Put(key)
		return nil
	})
	for _, tc := range []struct {
		name, from, to string
		want           []string
	}{
		{"a document", `"s3:GetObject", Resource: "*"}}`, `"s3:Get*", Resource: "*"}}`, []string{"update policy 111122223333/ReadSales (document)"}},
		{"a boundary", "permissions_boundary: Most\n      - name: loader", "permissions_boundary: ReadSales\n      - name: loader", []string{"update role 111122223333/analyst (permissions boundary)"}},
		{"membership", "groups: [readers], ", "", []string{"update user 111122223333/ann (groups)"}},
		{"alias", "alias: analytics", "alias: sales", []string{"update alias 111122223333 (alias)"}},
		{"a level", "        - [{name: s3, document: {Statement: {Effect: Allow, Action: \"s3:*\", Resource: \"*\"}}}]\n", "", []string{"update guardrails 111122223333 (service control)"}},
		{"a group made again", "name: readers,", "name: readers, path: /x/,", []string{"replace group 111122223333/readers (path or name)", "update user 111122223333/ann (groups)"}},
		{"a user made again", "name: ann,", "name: ann, path: /x/,", nil},
	} {
		changed := strings.Replace(whole, tc.from, tc.to, 1)
		if changed == whole {
			t.Fatalf("%s: nothing was replaced", tc.name)
		}
		p, err := w.Plan(t.Context(), w.parse(t, changed))
		if tc.want == nil {
			// The trust and the bucket policy name the user of the old path.
			if err == nil || !strings.Contains(fault.Of(err).Public, "Invalid principal") {
				t.Errorf("%s: %v", tc.name, err)
			}
			continue
		}
		if err != nil || !slices.Equal(lines(p), tc.want) {
			t.Errorf("%s: plan %q, %v", tc.name, lines(p), err)
		}
	}
	w.apply(t, strings.Replace(whole, `"s3:GetObject", Resource: "*"}}`, `"s3:Get*", Resource: "*"}}`, 1))
	old, _ := before.ManagedPolicy(account, "ReadSales")
	m, _ := current(t, w.Service).View().ManagedPolicy(account, "ReadSales")
	if m.ID != old.ID || m.Default != "v2" || len(m.Versions) != 2 || m.Versions[0] != old.Versions[0] {
		t.Errorf("managed policy %+v", m)
	}
	// A user made again loses the keys of the old one.
	w.apply(t, strings.NewReplacer("name: ann,", "name: ann, path: /x/,", "user/ann", "user/x/ann").Replace(whole))
	if keys := current(t, w.Service).View().AccessKeys(account, ""); len(keys) != 0 {
		t.Errorf("keys %+v", keys)
	}
}

// TestAFileThatAddsDeletesNothing is what a demo's own data comes in by.
func TestAFileThatAddsDeletesNothing(t *testing.T) {
	t.Parallel()
	w := open(t, sqlite(t))
	w.apply(t, whole)
	p, err := w.PlanOver(t.Context(), w.parse(t, `accounts: {"111122223333": {alias: sales, roles: [{name: x, trust_policy: {Statement: {Effect: Allow, Principal: {AWS: "111122223333"}, Action: "sts:AssumeRole"}}}]}}`))
	if err != nil || !slices.Equal(lines(p), []string{"create role 111122223333/x", "update alias 111122223333 (alias)"}) {
		t.Errorf("plan %q, %v", lines(p), err)
	}
}

func TestWhatAFileMayNotSay(t *testing.T) {
	t.Parallel()
	w := open(t, sqlite(t))
	for name, tc := range map[string]struct{ from, to, want string }{
		"Carnet's own role":          {"name: loader\n", "name: Carnet-Admin\n", "Carnet's own"},
		"unknown group":              {"groups: [readers]", "groups: [ghosts]", `no group "ghosts"`},
		"unknown role of profile":    {"role: loader}", "role: ghost}", `no role "ghost"`},
		"unknown managed policy":     {"managed_policies: [ReadSales]", "managed_policies: [Ghost]", "Ghost does not exist"},
		"unknown boundary":           {"permissions_boundary: Most\n      - name: loader", "permissions_boundary: Ghost\n      - name: loader", "Ghost does not exist"},
		"policy of another account":  {"managed_policies: [ReadSales]", `managed_policies: ["arn:aws:iam::444455556666:policy/x"]`, "does not exist"},
		"issuer without TLS":         {"https://issuer.example/oidc", "http://issuer.example/oidc", "must begin with https://"},
		"issuer with a port":         {"https://issuer.example/oidc", "https://issuer.example:8443/oidc", "must not hold a port"},
		"thumbprint":                 {"9E99A48A9960B14926BB7F3B02E22DA2B0AB7280", "9E99", "40 hexadecimal"},
		"alias":                      {"alias: analytics", "alias: Analytics", "account alias"},
		"encrypted without a key":    {"metadata_file: idp.xml, ", "metadata_file: idp.xml, assertion_encryption: Required, ", "needs a private key"},
		"guardrail with a principal": {`[{name: full, document: {Statement: {Effect: Allow, `, `[{name: full, document: {Statement: {Effect: Allow, Principal: {AWS: "111122223333"}, `, "guardrail's Principal"},
	} {
		src := strings.Replace(whole, tc.from, tc.to, 1)
		if src == whole {
			t.Fatalf("%s: nothing was replaced", name)
		}
		p, err := w.Plan(t.Context(), w.parse(t, src))
		if err == nil || !strings.Contains(fault.Of(err).Public, tc.want) {
			t.Errorf("%s: plan %v, error %v; want %q in it", name, p, err, tc.want)
		}
	}
}

// TestExportOfATrustInWhoIsGone: a deleted principal stands in the file by its
// unique id, and the file still changes nothing.
func TestExportOfATrustInWhoIsGone(t *testing.T) {
	t.Parallel()
	w := open(t, sqlite(t))
	w.apply(t, whole)
	gone, _ := current(t, w.Service).View().User(account, "ann")
	w.edit(t, func(d *iam.Draft) error {
		d.Delete(gone.Ref())
		return nil
	})
	text, err := w.Export(t.Context())
	if err != nil || strings.Count(string(text), string(gone.ID)) != 2 || strings.Contains(string(text), "user/ann") {
		t.Errorf("%v\n%s", err, text)
	}
	if got := w.apply(t, string(text)); len(got) != 0 {
		t.Errorf("the export plans %q", got)
	}
}

// TestWarnings keeps what a plan says of wide policies.
func TestWarnings(t *testing.T) {
	t.Parallel()
	w := open(t, sqlite(t))
	w.SAMLURL = "https://carnet.example/saml/consume"
	p, err := w.Plan(t.Context(), w.parse(t, `
accounts:
  "111122223333":
    saml_providers: [{name: dev-idp, metadata_file: idp.xml}]
    oidc_providers: [{url: "https://issuer.example"}]
    roles:
      - name: any-audience
        trust_policy: {Statement: {Effect: Allow, Principal: {Federated: "arn:aws:iam::111122223333:saml-provider/dev-idp"}, Action: "sts:AssumeRoleWithSAML"}}
      - name: any-subject
        trust_policy: {Statement: {Effect: Allow, Principal: {Federated: "arn:aws:iam::111122223333:oidc-provider/issuer.example"}, Action: "sts:AssumeRoleWithWebIdentity", Condition: {StringEquals: {"issuer.example:aud": x}}}}
      - name: well
        trust_policy: {Statement: {Effect: Allow, Principal: {Federated: "arn:aws:iam::111122223333:saml-provider/dev-idp"}, Action: "sts:AssumeRoleWithSAML", Condition: {StringEquals: {"SAML:aud": "https://carnet.example/saml/consume"}}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(p.Warnings, "\n")
	if len(p.Warnings) != 2 || !strings.Contains(text, "any-audience") || !strings.Contains(text, "any-subject") {
		t.Errorf("%s", text)
	}
	if err := w.Apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if again, err := w.Warnings(); err != nil || !slices.Equal(again, p.Warnings) {
		t.Errorf("%q, %v", again, err)
	}
}
