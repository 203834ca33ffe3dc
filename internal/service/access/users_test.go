package access_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/iam"
	"pgregory.net/rapid"
)

const (
	account   = "111122223333"
	otherOne  = "444455556666"
	staticID  = "AKIA2222222222222222"
	bobARN    = "arn:aws:iam::111122223333:user/staff/bob"
	fedARN    = "arn:aws:sts::111122223333:federated-user/visitor"
	roleARN   = "arn:aws:iam::111122223333:role/analyst"
	sessARN   = "arn:aws:sts::111122223333:assumed-role/analyst/alice"
	salesRead = `{"Version":"2012-10-17","Statement":[{"Sid":"Read","Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::sales/*"}]}`
)

// plain seals nothing: what it protects is made up.
type plain struct{}

func (plain) Seal(_ string, _, p []byte) ([]byte, error) { return p, nil }
func (plain) Open(_ string, _, p []byte) ([]byte, error) { return p, nil }

func doc(name, text string) iam.Policy { return iam.Policy{Name: name, Document: text} }

func allow(action, resource string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":%q,"Resource":%q}]}`, action, resource)
}

func bucketPolicy(effect, principal, action string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":"B","Effect":%q,"Principal":{"AWS":%q},"Action":%q,"Resource":"arn:aws:s3:::sales/*"}]}`, effect, principal, action)
}

// people gives a world with the role, the user bob (one inline policy, one
// group) and his access key.
func people(t testing.TB, change func(*iam.State)) *world {
	t.Helper()
	w := newWorld(t)
	state := iam.State{
		Roles: []iam.RoleRecord{{
			ID: "AROA1", Account: account, Path: "/", Name: "analyst", MaxSession: time.Hour,
			Trust: doc("trust", trust), Policies: []iam.Policy{doc("read", salesRead)},
		}},
		Groups: []iam.GroupRecord{{ID: "AGPA1", Account: account, Path: "/", Name: "writers", Policies: []iam.Policy{doc("write", allow("s3:PutObject", "arn:aws:s3:::sales/*"))}}},
		Users: []iam.UserRecord{{
			ID: "AIDA1", Account: account, Path: "/staff/", Name: "bob", Groups: []string{"AGPA1"},
			Policies: []iam.Policy{doc("own", salesRead)}, Tags: map[string]string{"team": "red"},
		}},
		AccessKeys: []iam.AccessKeyRecord{{ID: staticID, Account: account, User: "AIDA1", Sealed: []byte("long-secret"), Active: true}},
	}
	if change != nil {
		change(&state)
	}
	w.authority.snapshot = iam.CompileSealed(state, []iam.Account{{ID: account}, {ID: otherOne}}, plain{})
	if faults := w.authority.snapshot.Faults(); len(faults) > 0 {
		t.Fatal(faults)
	}
	w.StaticKeys = true
	return w
}

func session(kind sessiontoken.Kind, change func(*sessiontoken.Claims)) func(*sessiontoken.Claims) {
	return func(c *sessiontoken.Claims) {
		*c = sessiontoken.Claims{
			Kind: kind, User: arn.User{Partition: "aws", Account: account, Path: "/staff/", Name: "bob"}, UserID: "AIDA1",
			SecretKey: secret.New("shh"), IssuedAt: now, Expires: now.Add(time.Hour), Epoch: 5,
		}
		if kind == sessiontoken.FederatedUser {
			c.FederatedName = "visitor"
		}
		if change != nil {
			change(c)
		}
	}
}

// caller gives the caller of one of four kinds.
func (w *world) caller(t testing.TB, kind access.Kind, change func(*sessiontoken.Claims)) access.Caller {
	t.Helper()
	id, token := keyID, secret.Text{}
	switch kind {
	case access.User:
		id = staticID
	case access.RoleSession:
		token = w.token(t, change)
	case access.UserSession:
		token = w.token(t, session(sessiontoken.UserSession, change))
	case access.FederatedUser:
		token = w.token(t, session(sessiontoken.FederatedUser, change))
	}
	c, _, err := w.Lookup(context.Background(), id, token)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) may(c access.Caller, action string) bool {
	return w.Authorize(context.Background(), c, access.Question{Action: action, Resource: "arn:aws:s3:::sales/x", ResourceAccount: account, Environment: access.Environment{Now: now}}).Allow
}

func TestUsersAreLookedUp(t *testing.T) {
	t.Parallel()
	w := people(t, nil)
	c, key, err := w.Lookup(context.Background(), staticID, secret.Text{})
	if err != nil || key.Reveal() != "long-secret" || c.Kind != access.User || c.ARN != bobARN || c.UserID != "AIDA1" || c.Account != account || !c.Expires.IsZero() {
		t.Fatalf("%+v %v", c, err)
	}
	if c := w.caller(t, access.UserSession, nil); c.ARN != bobARN || c.UserID != "AIDA1" || c.Expires.IsZero() {
		t.Errorf("user session: %+v", c)
	}
	if c := w.caller(t, access.FederatedUser, nil); c.ARN != fedARN || c.UserID != account+":visitor" {
		t.Errorf("federated user: %+v", c)
	}
	for name, change := range map[string]func(*world) (id string, token secret.Text){
		"keys are off":           func(w *world) (string, secret.Text) { w.StaticKeys = false; return staticID, secret.Text{} },
		"no such key":            func(*world) (string, secret.Text) { return "AKIA3333333333333333", secret.Text{} },
		"long-term with a token": func(w *world) (string, secret.Text) { return staticID, w.token(t, nil) },
		"session of a user made new": func(w *world) (string, secret.Text) {
			return keyID, w.token(t, session(sessiontoken.UserSession, func(c *sessiontoken.Claims) { c.UserID = "AIDA0" }))
		},
		"session of a user renamed": func(w *world) (string, secret.Text) {
			return keyID, w.token(t, session(sessiontoken.UserSession, func(c *sessiontoken.Claims) { c.User.Name = "bobby" }))
		},
		"session that was revoked": func(w *world) (string, secret.Text) {
			w.feed.revoked["access-key "+keyID] = 9
			return keyID, w.token(t, session(sessiontoken.UserSession, nil))
		},
		"a view that is away": func(w *world) (string, secret.Text) { w.feed.away = true; return staticID, secret.Text{} },
	} {
		w := people(t, nil)
		id, token := change(w)
		if c, key, err := w.Lookup(context.Background(), id, token); err == nil || !key.IsZero() || c.Kind != access.Nobody {
			t.Errorf("%s: %+v", name, c)
		}
	}
	inactive := people(t, func(s *iam.State) { s.AccessKeys[0].Active = false })
	if _, _, err := inactive.Lookup(context.Background(), staticID, secret.Text{}); fault.Of(err).Code != "InvalidAccessKeyId" {
		t.Errorf("a key that is switched off: %v", err)
	}
}

// TestPrincipals holds which policies limit whom: rows of "Policy evaluation
// logic" and of the operations that make temporary keys.
func TestPrincipals(t *testing.T) {
	t.Parallel()
	inline := func(text string) func(*sessiontoken.Claims) {
		return func(c *sessiontoken.Claims) { c.SessionPolicy = text }
	}
	managed := func(arns ...string) func(*sessiontoken.Claims) {
		return func(c *sessiontoken.Claims) { c.SessionPolicyARNs = arns }
	}
	bucket := func(text string) func(*iam.State) {
		return func(s *iam.State) {
			s.Buckets = []iam.BucketRecord{{Account: account, Name: "sales", Policy: doc("bucket", text)}}
		}
	}
	boundary := func(text string) func(*iam.State) {
		return func(s *iam.State) {
			p := doc("boundary", text)
			s.Users[0].Boundary, s.Roles[0].Boundary = &p, &p
		}
	}
	rails := func(service, resource string) func(*iam.State) {
		return func(s *iam.State) {
			g := iam.GuardrailsRecord{Account: account}
			if service != "" {
				g.ServiceControl = [][]iam.Policy{{doc("scp", service)}}
			}
			if resource != "" {
				g.ResourceControl = [][]iam.Policy{{doc("rcp", resource)}}
			}
			s.Guardrails = []iam.GuardrailsRecord{g}
		}
	}
	both := func(a, b func(*iam.State)) func(*iam.State) { return func(s *iam.State) { a(s); b(s) } }
	const getAll, putAll, nothing = `{"Statement":{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}}`, `{"Statement":{"Effect":"Allow","Action":"s3:Put*","Resource":"*"}}`, `{"Statement":{"Effect":"Allow","Action":"ec2:*","Resource":"*"}}`
	const all = `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
	for name, tc := range map[string]struct {
		kind   access.Kind
		state  func(*iam.State)
		claims func(*sessiontoken.Claims)
		get    bool
		put    bool
	}{
		"user: own and group's policies":        {access.User, nil, nil, true, true},
		"user: boundary":                        {access.User, boundary(getAll), nil, true, false},
		"user: service control":                 {access.User, rails(putAll, ""), nil, false, true},
		"user: resource control":                {access.User, rails("", getAll), nil, true, false},
		"user: both controls":                   {access.User, rails(putAll, getAll), nil, false, false},
		"user: bucket policy past the boundary": {access.User, both(boundary(nothing), bucket(bucketPolicy("Allow", bobARN, "s3:GetObject"))), nil, true, false},
		"user: bucket policy, by account":       {access.User, both(boundary(nothing), bucket(bucketPolicy("Allow", account, "s3:GetObject"))), nil, false, false},
		"user: bucket deny":                     {access.User, bucket(bucketPolicy("Deny", bobARN, "s3:GetObject")), nil, false, true},
		"user session: as the user":             {access.UserSession, nil, nil, true, true},
		"user session: boundary":                {access.UserSession, boundary(getAll), nil, true, false},
		"user session: bucket policy":           {access.UserSession, both(boundary(nothing), bucket(bucketPolicy("Allow", bobARN, "s3:GetObject"))), nil, true, false},
		"federated: no session policy":          {access.FederatedUser, nil, nil, false, false},
		"federated: inline":                     {access.FederatedUser, nil, inline(getAll), true, false},
		"federated: never more than the user":   {access.FederatedUser, func(s *iam.State) { s.Users[0].Groups = nil }, inline(all), true, false},
		"federated: managed":                    {access.FederatedUser, nil, managed("arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"), true, false},
		"federated: united": {access.FederatedUser, nil, func(c *sessiontoken.Claims) {
			inline(putAll)(c)
			managed("arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")(c)
		}, true, true},
		"federated: a managed one is gone":        {access.FederatedUser, nil, managed("arn:aws:iam::111122223333:policy/gone"), false, false},
		"federated: boundary of the user":         {access.FederatedUser, boundary(putAll), inline(all), false, true},
		"federated: bucket names it":              {access.FederatedUser, bucket(bucketPolicy("Allow", fedARN, "s3:PutObject")), nil, false, true},
		"federated: bucket names the user":        {access.FederatedUser, both(func(s *iam.State) { s.Users[0].Groups = nil }, bucket(bucketPolicy("Allow", bobARN, "s3:PutObject"))), inline(getAll), true, false},
		"federated: bucket names user, in policy": {access.FederatedUser, both(func(s *iam.State) { s.Users[0].Groups = nil }, bucket(bucketPolicy("Allow", bobARN, "s3:PutObject"))), inline(all), true, true},
		"federated: bucket denies it":             {access.FederatedUser, bucket(bucketPolicy("Deny", fedARN, "s3:GetObject")), inline(all), false, true},
		"role: own policy":                        {access.RoleSession, nil, nil, true, false},
		"role: session policy":                    {access.RoleSession, nil, inline(nothing), false, false},
		"role: managed session policy":            {access.RoleSession, nil, managed("arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"), true, false},
		"role: managed session policy is gone":    {access.RoleSession, nil, managed("arn:aws:iam::aws:policy/Gone"), false, false},
		"role: bucket names the role":             {access.RoleSession, bucket(bucketPolicy("Allow", roleARN, "s3:PutObject")), nil, true, true},
		"role: bucket names the session":          {access.RoleSession, bucket(bucketPolicy("Allow", sessARN, "s3:PutObject")), inline(nothing), false, true},
		"role: session named, service control":    {access.RoleSession, both(rails(getAll, ""), bucket(bucketPolicy("Allow", sessARN, "s3:PutObject"))), nil, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := tc.state
			if strings.HasPrefix(name, "role: bucket names the role") {
				// A role ARN is pinned to its id when the policy is written.
				state = func(s *iam.State) {
					tc.state(s)
					s.Buckets[0].Policy.Pins = map[string]string{roleARN: "AROA1"}
				}
			}
			if strings.Contains(name, "user") && tc.state != nil {
				state = func(s *iam.State) {
					tc.state(s)
					for i := range s.Buckets {
						s.Buckets[i].Policy.Pins = map[string]string{bobARN: "AIDA1"}
					}
				}
			}
			w := people(t, state)
			c := w.caller(t, tc.kind, tc.claims)
			for _, check := range []struct {
				action string
				want   bool
			}{{"s3:GetObject", tc.get}, {"s3:PutObject", tc.put}} {
				one := get("sales", "x")
				one.Action = check.action
				d := w.Decide(context.Background(), c, oneCheck(one), access.Environment{Now: now})
				if d.Allow != check.want || d.Allow != (d.Reason == "") {
					t.Errorf("%s: %+v, want %v", check.action, d, check.want)
				}
			}
		})
	}
}

func TestUsersContext(t *testing.T) {
	t.Parallel()
	for condition, kinds := range map[string]string{
		`"StringEquals":{"aws:username":"bob"}`:                                     "user session",
		`"StringEquals":{"aws:userid":"AIDA1"}`:                                     "user session",
		`"StringEquals":{"aws:userid":"111122223333:visitor"}`:                      "federated",
		`"StringEquals":{"aws:PrincipalType":"User"}`:                               "user session",
		`"StringEquals":{"aws:PrincipalType":"FederatedUser"}`:                      "federated",
		`"ArnEquals":{"aws:PrincipalArn":"` + bobARN + `"}`:                         "user session",
		`"ArnEquals":{"aws:PrincipalArn":"` + fedARN + `"}`:                         "federated",
		`"StringEquals":{"aws:PrincipalTag/team":"red"}`:                            "user session",
		`"StringEquals":{"aws:PrincipalTag/team":"blue"}`:                           "federated",
		`"Null":{"aws:TokenIssueTime":"true"}`:                                      "user",
		`"Null":{"aws:MultiFactorAuthPresent":"true"}`:                              "user",
		`"Bool":{"aws:MultiFactorAuthPresent":"false"}`:                             "session federated",
		`"DateGreaterThanEquals":{"aws:TokenIssueTime":"2026-03-01T12:00:00Z"}`:     "session federated",
		`"StringEquals":{"aws:PrincipalAccount":"111122223333"}`:                    "user session federated",
		`"Null":{"aws:FederatedProvider":"true","saml:sub":"true"}`:                 "user session federated",
		`"StringNotEquals":{"aws:RequestedRegion":"eu-central-1"}`:                  "user session federated",
		`"Null":{"aws:SourceIdentity":"true"},"Bool":{"aws:ViaAWSService":"false"}`: "user session federated",
	} {
		w := people(t, func(s *iam.State) {
			s.Users[0].Policies[0].Document = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":{` + condition + `}}}`
		})
		blue := func(c *sessiontoken.Claims) {
			c.Tags = []sessiontoken.Tag{{Key: "Team", Value: "blue"}}
			c.SessionPolicy = allow("*", "*")
		}
		for kind, name := range map[access.Kind]string{access.User: "user", access.UserSession: "session", access.FederatedUser: "federated"} {
			change := blue
			if kind == access.UserSession {
				change = nil
			}
			if got := w.may(w.caller(t, kind, change), "s3:GetObject"); got != slices.Contains(strings.Fields(kinds), name) {
				t.Errorf("%s for %s: %v", condition, name, got)
			}
		}
	}
}

// TestTemporaryKeysOfUsersHaveTheirBounds (STS API Reference, GetSessionToken
// and GetFederationToken): the first call of STS AssumeRole and
// GetCallerIdentity alone, the second GetCallerIdentity alone; neither calls IAM.
func TestTemporaryKeysOfUsersHaveTheirBounds(t *testing.T) {
	t.Parallel()
	w := people(t, func(s *iam.State) { s.Users[0].Policies[0].Document = allow("*", "*") })
	everything := func(c *sessiontoken.Claims) { c.SessionPolicy = allow("*", "*") }
	for action, want := range map[string][3]bool{
		"s3:GetObject":           {true, true, true},
		"iam:GetUser":            {true, false, false},
		"IAM:GetUser":            {true, false, false},
		"sts:AssumeRole":         {true, true, false},
		"sts:TagSession":         {true, true, false},
		"sts:GetSessionToken":    {true, false, false},
		"sts:GetFederationToken": {true, false, false},
	} {
		got := [3]bool{w.may(w.caller(t, access.User, nil), action), w.may(w.caller(t, access.UserSession, nil), action), w.may(w.caller(t, access.FederatedUser, everything), action)}
		if got != want {
			t.Errorf("%s: %v, want %v", action, got, want)
		}
	}
}

func TestAuthorize(t *testing.T) {
	t.Parallel()
	w := people(t, func(s *iam.State) {
		s.Users[0].Policies[0].Document = `{"Version":"2012-10-17","Statement":[{"Sid":"Own","Effect":"Allow","Action":"iam:*AccessKey","Resource":"arn:aws:iam::*:user/staff/${aws:username}","Condition":{"StringEquals":{"aws:RequestTag/a":"b"}}}]}`
	})
	c := w.caller(t, access.User, nil)
	q := access.Question{Action: "iam:CreateAccessKey", Resource: bobARN, ResourceAccount: account, Environment: access.Environment{Now: now}}
	q.Context.Set("aws:RequestTag/a", "b")
	if d := w.Authorize(t.Context(), c, q); !d.Allow || d.Reason != "" || len(d.Statements) != 1 || d.Statements[0] != "own#Own" {
		t.Errorf("%+v", d)
	}
	q.ResourceAccount = otherOne
	if d := w.Authorize(t.Context(), c, q); d.Allow {
		t.Error("another account's user")
	}
	q.ResourceAccount = account
	q.Context.Set("aws:username", "eve")
	q.Resource = "arn:aws:iam::111122223333:user/staff/eve"
	d := w.Authorize(t.Context(), c, q)
	if want := "User: " + bobARN + " is not authorized to perform: iam:CreateAccessKey on resource: " + q.Resource + " because no identity-based policy allows the iam:CreateAccessKey action"; d.Allow || d.Reason != want {
		t.Errorf("a question can't say who asks: %+v", d)
	}
	if d := w.Authorize(t.Context(), access.Caller{Kind: access.User, Account: account, ARN: bobARN, IAMUser: "AIDA1"}, q); d.Allow {
		t.Error("a caller that Lookup didn't make")
	}
	w.authority.snapshot = nil
	if d := w.Authorize(t.Context(), c, q); d.Allow {
		t.Error("allowed without a view of the authority")
	}
}

// TestASessionNeverWidens draws policies at random and holds every kind of
// temporary key to what the principal behind it may.
func TestASessionNeverWidens(t *testing.T) {
	t.Parallel()
	actions := rapid.SampledFrom([]string{"s3:GetObject", "s3:PutObject", "s3:*", "s3:Get*", "*", "ec2:*"})
	effects := rapid.SampledFrom([]string{"Allow", "Allow", "Deny"})
	draw := func(t *rapid.T, label string) string {
		return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":%q,"Action":%q,"Resource":"*"},{"Effect":%q,"Action":%q,"Resource":"arn:aws:s3:::sales/*"}]}`,
			effects.Draw(t, label+"1"), actions.Draw(t, label+"2"), effects.Draw(t, label+"3"), actions.Draw(t, label+"4"))
	}
	rapid.Check(t, func(rt *rapid.T) {
		own, bound, limit := draw(rt, "own"), draw(rt, "boundary"), draw(rt, "session")
		w := people(t, func(s *iam.State) {
			s.Users[0].Groups, s.Users[0].Policies[0].Document, s.Roles[0].Policies[0].Document = nil, own, own
			if rapid.Bool().Draw(rt, "bounded") {
				p := doc("boundary", bound)
				s.Users[0].Boundary, s.Roles[0].Boundary = &p, &p
			}
		})
		limited := func(c *sessiontoken.Claims) { c.SessionPolicy = limit }
		for _, action := range []string{"s3:GetObject", "s3:PutObject"} {
			user, role := w.may(w.caller(t, access.User, nil), action), w.may(w.caller(t, access.RoleSession, nil), action)
			if user != role || user != w.may(w.caller(t, access.UserSession, nil), action) {
				rt.Fatalf("%s: the same policies answer differently", action)
			}
			document, err := policy.Parse(policy.Session, "s", []byte(limit))
			if err != nil {
				rt.Fatal(err)
			}
			set := policy.Set{Identity: []*policy.Document{document}}
			r := policy.Request{Principal: policy.Principal{Account: account}, Action: action, Resource: "arn:aws:s3:::sales/x", ResourceAccount: account}
			want := user && set.Decide(&r).Allow
			for _, kind := range []access.Kind{access.RoleSession, access.FederatedUser} {
				if got := w.may(w.caller(t, kind, limited), action); got != want {
					rt.Fatalf("%s, kind %d: %v, want the intersection %v\nown %s\nsession %s", action, kind, got, want, own, limit)
				}
			}
			if w.may(w.caller(t, access.FederatedUser, nil), action) {
				rt.Fatal("a federated user without a session policy")
			}
		}
	})
}

// TestCVE_2025_62506 (MinIO): the session policy of temporary keys was skipped
// for actions on the account's own service accounts. Here none of the ways to
// ask leaves it out.
func TestCVE_2025_62506(t *testing.T) {
	t.Parallel()
	w := people(t, func(s *iam.State) {
		s.Users[0].Policies[0].Document, s.Roles[0].Policies[0].Document = allow("*", "*"), allow("*", "*")
	})
	only := func(c *sessiontoken.Claims) { c.SessionPolicy = salesRead }
	for _, kind := range []access.Kind{access.RoleSession, access.FederatedUser} {
		c := w.caller(t, kind, only)
		for _, q := range []access.Question{
			{Action: "iam:CreateAccessKey", Resource: bobARN, ResourceAccount: account},
			{Action: "iam:CreateUser", Resource: "*", ResourceAccount: account},
			{Action: "sts:AssumeRole", Resource: roleARN, ResourceAccount: account},
			{Action: "s3:PutObject", Resource: "arn:aws:s3:::sales/x", ResourceAccount: account},
		} {
			if d := w.Authorize(t.Context(), c, q); d.Allow {
				t.Errorf("kind %d: %s is allowed past the session policy", kind, q.Action)
			}
		}
	}
}

func TestUserKeysAreNoSessionTokens(t *testing.T) {
	t.Parallel()
	w := people(t, nil)
	token := w.token(t, session(sessiontoken.UserSession, nil))
	if _, _, err := w.Lookup(t.Context(), staticID, token); fault.Of(err).Code != "InvalidToken" {
		t.Errorf("a session token under a long-term key: %v", err)
	}
	if _, _, err := w.Lookup(t.Context(), keyID, secret.Text{}); fault.Of(err).Code != "InvalidToken" {
		t.Errorf("temporary keys without their token: %v", err)
	}
}
