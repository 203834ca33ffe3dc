package oauth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/service/revocation"
)

// Bounds of a client's lists and texts.
const (
	maxName  = 128
	maxOwner = 256
	maxList  = 20
)

// Add registers a client. Errors: Invalid with what to mend, Conflict when the
// name is taken.
func (s *Service) Add(ctx context.Context, c Client) (Client, error) {
	c.ID, c.Created, c.Enabled = string(identity.NewClientID()), s.Now().UTC().Truncate(time.Millisecond), true
	c, err := s.check(ctx, c)
	if err != nil {
		return c, err
	}
	e := event.Event{Action: "client.add", Outcome: event.Done, Target: c.ID, Detail: shown(c)}
	err = s.recorded(ctx, e, func(ctx context.Context) error { return s.Clients.PutClient(ctx, c) })
	s.reload(ctx)
	return c, err
}

// Update changes what change sets of a registered client. Errors as for Add, and
// NotFound.
func (s *Service) Update(ctx context.Context, id string, change func(*Client)) (c Client, err error) {
	err = s.State.Atomic(ctx, func(ctx context.Context) error {
		old, err := s.Clients.Client(ctx, id)
		if err != nil {
			return err
		}
		c = old
		change(&c)
		c.ID, c.Created, c.Enabled, c.Public = old.ID, old.Created, old.Enabled, old.Public
		if c, err = s.check(ctx, c); err != nil {
			return err
		}
		if err := s.Clients.PutClient(ctx, c); err != nil {
			return err
		}
		return s.Trail.Record(ctx, event.Event{Action: "client.change", Outcome: event.Done, Target: c.ID, Detail: shown(c)})
	})
	s.reload(ctx)
	return c, err
}

// SetEnabled switches a client on or off. Off, it gets nothing, and what it holds
// has ended.
func (s *Service) SetEnabled(ctx context.Context, id string, on bool) (c Client, err error) {
	action := "client.disable"
	if on {
		action = "client.enable"
	}
	err = s.State.Atomic(ctx, func(ctx context.Context) error {
		if c, err = s.Clients.Client(ctx, id); err != nil || c.Enabled == on {
			return err
		}
		c.Enabled = on
		if err := s.Clients.PutClient(ctx, c); err != nil {
			return err
		}
		if !on {
			if err := s.endClient(ctx, id); err != nil {
				return err
			}
		}
		return s.Trail.Record(ctx, event.Event{Action: action, Outcome: event.Done, Target: id, Detail: map[string]string{"client": c.Name}})
	})
	s.reload(ctx)
	return c, err
}

func (s *Service) endClient(ctx context.Context, id string) error {
	if err := s.Codes.EndClient(ctx, id); err != nil {
		return err
	}
	_, err := s.Feed.Revoke(ctx, revocation.OAuthClient, id)
	return err
}

// Remove takes a client out, with its credentials and all that it holds.
func (s *Service) Remove(ctx context.Context, id string) error {
	err := s.State.Atomic(ctx, func(ctx context.Context) error {
		c, err := s.Clients.Client(ctx, id)
		if err != nil {
			return err
		}
		if err := s.endClient(ctx, id); err != nil {
			return err
		}
		if err := s.Clients.RemoveClient(ctx, id); err != nil {
			return err
		}
		return s.Trail.Record(ctx, event.Event{Action: "client.remove", Outcome: event.Done, Target: id, Detail: map[string]string{"client": c.Name}})
	})
	s.reload(ctx)
	return err
}

// shown is what the trail tells of a client.
func shown(c Client) map[string]string {
	d := map[string]string{"client": c.Name, "grants": strings.Join(c.Grants, " "), "scopes": strings.Join(c.Scopes, " ")}
	for name, text := range map[string]string{"redirect_uris": strings.Join(c.RedirectURIs, " "), "audiences": strings.Join(c.Audiences, " "),
		"owner": c.Owner, "service_principal": string(c.ServicePrincipal)} {
		if text != "" {
			d[name] = text
		}
	}
	for name, on := range map[string]bool{"public": c.Public, "trusted": c.Trusted, "resource_server": c.ResourceServer} {
		if on {
			d[name] = "true"
		}
	}
	return d
}

// check holds a client to the rules, and fills in what was left out.
func (s *Service) check(ctx context.Context, c Client) (Client, error) {
	invalid := func(format string, args ...any) (Client, error) {
		return c, fault.New(fault.Invalid, fmt.Sprintf(format, args...))
	}
	if !plainText(c.Name, 1, maxName) || strings.HasPrefix(c.Name, "oac_") || strings.HasPrefix(c.Name, "spn_") {
		return invalid("a client's name is 1 to %d printable characters, and no id", maxName)
	}
	if !plainText(c.Owner, 0, maxOwner) {
		return invalid("the owner is at most %d printable characters", maxOwner)
	}
	for _, l := range []struct {
		name     string
		list     *[]string
		of       []string
		standard []string
	}{
		{"grant", &c.Grants, GrantTypes(), []string{GrantCode, GrantRefresh}},
		{"scope", &c.Scopes, ScopeNames(), []string{ScopeOpenID, ScopeProfile, ScopeEmail, ScopeOffline}},
		{"audience", &c.Audiences, nil, nil}, {"redirect URI", &c.RedirectURIs, nil, nil},
	} {
		if len(*l.list) == 0 {
			*l.list = l.standard
		}
		if len(*l.list) > maxList {
			return invalid("a client has at most %d of each list: there are %d of %s", maxList, len(*l.list), l.name)
		}
		for i, v := range *l.list {
			if l.of != nil && !slices.Contains(l.of, v) {
				return invalid("there is no %s %s; there is %s", l.name, quoted(v), strings.Join(l.of, ", "))
			}
			if slices.Contains((*l.list)[:i], v) || !plainText(v, 1, maxRedirectURI) {
				return invalid("the %s %s stands twice, or can't be kept", l.name, quoted(v))
			}
		}
	}
	for _, u := range c.RedirectURIs {
		if err := checkRedirectURI(u); err != nil {
			return c, err
		}
	}
	return s.checkKind(ctx, c)
}

// checkKind holds together what a client is and what it may do.
func (s *Service) checkKind(ctx context.Context, c Client) (Client, error) {
	say := func(bad bool, what, mend string) error {
		if !bad {
			return nil
		}
		return fault.New(fault.Invalid, what).WithMend(mend)
	}
	for _, err := range []error{
		say(c.May(GrantCode) && len(c.RedirectURIs) == 0, "a client that people send on has to have a redirect URI", "give --redirect-uri"),
		say(c.Public && c.May(GrantClient), "a public client can't keep a secret, so it acts for nobody but people", "leave "+GrantClient+" out, or register a confidential client"),
		say(c.Public && c.ResourceServer, "a public client can't prove itself, so it may not ask about tokens", "register a confidential client"),
		say(c.May(GrantClient) && c.ServicePrincipal == "", "a client with the grant "+GrantClient+" acts as a service principal", "name it with --service-principal"),
		say(c.IDTokenAlg != "" && !slices.Contains(assertionAlgorithms(), c.IDTokenAlg), "ID tokens are signed with RS256 or ES256", "give one of them, or neither"),
	} {
		if err != nil {
			return c, err
		}
	}
	if c.ServicePrincipal != "" {
		if _, err := s.Principals.ServicePrincipal(ctx, c.ServicePrincipal); err != nil {
			return c, err
		}
	}
	return c, nil
}

// Warnings says what is weaker than need be.
func (c Client) Warnings() (all []string) {
	if c.Public && c.Trusted && slices.ContainsFunc(c.RedirectURIs, func(u string) bool { return !strings.HasPrefix(u, "https:") }) {
		all = append(all, "any program on a person's machine can pass for this one, and people are not asked (RFC 8252 section 8.6)")
	}
	return all
}

// plainText reports whether a text can be kept and shown.
func plainText(text string, least, most int) bool {
	return len(text) >= least && len(text) <= most && utf8.ValidString(text) && strings.TrimSpace(text) == text &&
		!strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) })
}

// AddSecret makes a secret for a confidential client or a service principal. Its
// digest alone is stored: it is shown once. life 0 means SecretLifetime.
func (s *Service) AddSecret(ctx context.Context, client, owner string, life time.Duration) (secret.Text, Credential, error) {
	if life == 0 {
		life = SecretLifetime
	}
	if life < time.Minute || life > 10*SecretLifetime {
		return secret.Text{}, Credential{}, fault.New(fault.Invalid, "a secret lives from a minute to 20 years")
	}
	text := secret.New(SecretPrefix + secret.Random(32).Reveal())
	k := Kept{Credential: Credential{Kind: SecretCredential, Expires: s.millis().Add(life)}, Digest: text.Digest()}
	k, err := s.addCredential(ctx, client, owner, k)
	return text, k.Credential, err
}

// AddKey registers a public key for private_key_jwt: a JWK, a set of one, or PEM.
// expires zero means that it counts until it is removed.
func (s *Service) AddKey(ctx context.Context, client, owner string, key []byte, expires time.Time) (Credential, error) {
	jwk, err := readKey(key)
	if err != nil {
		return Credential{}, err
	}
	if !expires.IsZero() && !expires.After(s.Now()) {
		return Credential{}, fault.New(fault.Invalid, "the key would have expired already")
	}
	k, err := s.addCredential(ctx, client, owner, Kept{Credential: Credential{Kind: KeyCredential, JWK: jwk, Expires: expires}})
	return k.Credential, err
}

func (s *Service) millis() time.Time { return s.Now().UTC().Truncate(time.Millisecond) }

func (s *Service) addCredential(ctx context.Context, client, owner string, k Kept) (Kept, error) {
	if !plainText(owner, 1, maxOwner) {
		return k, fault.New(fault.Invalid, fmt.Sprintf("a credential has an owner, of at most %d printable characters", maxOwner)).WithMend("say who answers for it: --owner")
	}
	k.ID, k.Client, k.Owner, k.Created = identity.NewCredentialID(), client, owner, s.millis()
	err := s.State.Atomic(ctx, func(ctx context.Context) error {
		if err := s.holds(ctx, client); err != nil {
			return err
		}
		if err := s.Credentials.PutCredential(ctx, k, MostCredentials); err != nil {
			return err
		}
		return s.Trail.Record(ctx, event.Event{Action: "client-credential.add", Outcome: event.Done, Target: client, Detail: credentialShown(k.Credential)})
	})
	s.reload(ctx)
	return k, err
}

func credentialShown(k Credential) map[string]string {
	d := map[string]string{"credential": string(k.ID), "kind": string(k.Kind), "owner": k.Owner}
	if !k.Expires.IsZero() {
		d["expires"] = k.Expires.Format(time.RFC3339)
	}
	return d
}

// holds reports, by nil, that a client or service principal may have credentials.
func (s *Service) holds(ctx context.Context, client string) error {
	if strings.HasPrefix(client, "spn_") {
		_, err := s.Principals.ServicePrincipal(ctx, identity.ServicePrincipalID(client))
		return err
	}
	c, err := s.Clients.Client(ctx, client)
	if err == nil && c.Public {
		err = fault.New(fault.Invalid, "the client "+c.Name+" is public: it has no credentials, since it could not keep them").
			WithMend("register a confidential client beside it")
	}
	return err
}

// RemoveCredential ends a credential of a client or service principal: it proves
// nothing any more. Tokens that it got live on.
func (s *Service) RemoveCredential(ctx context.Context, client string, id identity.CredentialID) error {
	e := event.Event{Action: "client-credential.remove", Outcome: event.Done, Target: client, Detail: map[string]string{"credential": string(id)}}
	err := s.recorded(ctx, e, func(ctx context.Context) error { return s.Credentials.RemoveCredential(ctx, client, id) })
	s.reload(ctx)
	return err
}

// readKey gives a public key as one JWK, which can verify here.
func readKey(text []byte) ([]byte, error) {
	wrong := fault.New(fault.Invalid, "the file holds no public key of RSA with 2048 bits or more, or of P-256").
		WithMend("give a PEM public key (openssl pkey -pubout), a JWK, or a JWKS of one key; never the private key")
	if block, rest := pem.Decode(text); block != nil {
		public, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil || block.Type != "PUBLIC KEY" || len(strings.TrimSpace(string(rest))) > 0 {
			return nil, wrong.WithCause(err)
		}
		return jwkOf(public, wrong)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, wrong.WithCause(err)
	}
	if len(set.Keys) == 1 {
		text = set.Keys[0]
	} else if len(set.Keys) > 1 {
		return nil, wrong
	}
	if _, err := keySet(text); err != nil {
		return nil, wrong.WithCause(err)
	}
	var kind struct {
		Type  string `json:"kty"`
		Curve string `json:"crv"`
	}
	if err := json.Unmarshal(text, &kind); err != nil || len(text) > maxAssertion || kind.Type != "RSA" && kind.Curve != "P-256" {
		return nil, wrong.WithCause(err)
	}
	return text, nil
}

// jwkOf writes a public key as a JWK.
func jwkOf(public crypto.PublicKey, wrong *fault.Fault) ([]byte, error) {
	algorithm := ""
	switch public.(type) {
	case *rsa.PublicKey:
		algorithm = oidc.RS256
	case *ecdsa.PublicKey:
		algorithm = oidc.ES256
	}
	id, err := oidc.Thumbprint(public)
	if err != nil {
		return nil, wrong.WithCause(err)
	}
	set, err := oidc.WriteKeySet([]oidc.PublicKey{{ID: id, Algorithm: algorithm, Key: public}})
	if err != nil {
		return nil, wrong.WithCause(err)
	}
	return readKey(set)
}
