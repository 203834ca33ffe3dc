package servers

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/devidp"
)

const (
	password = "the password of everybody"
	account  = "111122223333"
	analyst  = "arn:aws:iam::111122223333:role/analyst"
	provider = "arn:aws:iam::111122223333:saml-provider/corp"
)

// place is the address that people know, whichever server answers, and the
// identity provider behind it.
type place struct {
	base     string // web address
	aws      string // AWS address; empty: that of the one server
	metadata []byte
	// tries keeps to what the identity provider allows: ten tries of the
	// password at once, then one a second.
	tries *rate.Limiter
}

func (p place) awsURL(address string) string {
	if p.aws != "" {
		return p.aws
	}
	return "http://" + address
}

// newPlace starts an identity provider with its people; none: two who hold
// roles, and an administrator.
func newPlace(t *testing.T, base string, people ...devidp.User) place {
	t.Helper()
	if len(people) == 0 {
		people = []devidp.User{
			{Name: "alice@example.com", DisplayName: "Alice", Mail: "alice@example.com", Roles: []string{pair(account, "analyst")}},
			{Name: "bob@example.com", Roles: []string{pair(account, "analyst"), pair(account, "engineer")}},
			{Name: "root@example.com", Groups: []string{"carnet-admins"}},
		}
	}
	now := time.Now()
	keyPEM, certPEM, err := devidp.NewKey(now)
	if err != nil {
		t.Fatal(err)
	}
	key, cert, err := devidp.ParseKey(keyPEM, certPEM)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(nil)
	own := "http://localhost:" + strconv.Itoa(s.Listener.Addr().(*net.TCPAddr).Port)
	samlURL := base + "/saml/consume"
	idp, err := devidp.New(devidp.Config{
		BaseURL: own, EntityID: own + "/metadata", Key: key, Certificate: cert, Password: secret.New(password), Now: time.Now,
		ServiceProviders: []devidp.SP{{EntityID: samlURL, ACS: samlURL}},
		Users:            people,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Config.Handler = idp.Handler()
	s.Start()
	t.Cleanup(s.Close)
	return place{base: base, metadata: idp.Metadata(), tries: rate.NewLimiter(rate.Every(1100*time.Millisecond), 9)}
}

// pause waits until the identity provider allows one more try.
func (p place) pause(t *testing.T) {
	t.Helper()
	if err := p.tries.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// pair is a role with the provider corp of its account, as AWS wants it.
func pair(account, role string) string {
	return "arn:aws:iam::" + account + ":role/" + role + ",arn:aws:iam::" + account + ":saml-provider/corp"
}

// authority is an authority file: two roles that may do action on everything.
func (p place) authority(action string) string {
	role := func(name string) string {
		return fmt.Sprintf(`      - name: %s
        trust_policy: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {Federated: %q}, Action: "sts:AssumeRoleWithSAML", Condition: {StringEquals: {"SAML:aud": %q}}}]}
        policies: [{name: data, document: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: %q, Resource: "*"}]}}]
`, name, provider, p.base+"/saml/consume", action)
	}
	return "accounts:\n  \"" + account + "\":\n    saml_providers: [{name: corp, metadata_file: idp.xml}]\n    roles:\n" + role("analyst") + role("engineer")
}

// freeAddress finds an address below the ports that systems give to outgoing
// connections, so that no other test takes it before the server does.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(12000+rand.IntN(8000)))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no free port in 100 tries")
	return ""
}
