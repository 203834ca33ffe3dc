package iam

import (
	"crypto/rsa"
	"crypto/x509"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/saml"
)

func (c *compiler) provider(r *ProviderRecord) error {
	p, ok := reuse[Provider](c, r, nil)
	if !ok {
		var err error
		if p, err = c.compileProvider(r); err != nil {
			return err
		}
		c.keep(r, nil, p)
	}
	c.providers[p.ARN] = p
	return nil
}

func (c *compiler) compileProvider(r *ProviderRecord) (*Provider, error) {
	partition, err := c.partition(r.Account)
	if err != nil {
		return nil, err
	}
	name, err := arn.ParseSAMLProvider(r.ARN(partition))
	if err != nil {
		return nil, invalid("%s", err)
	}
	if n := len(r.Metadata); n < leastMetadata || n > mostMetadata {
		return nil, invalid("the metadata document has %d characters: want %d to %d", n, leastMetadata, mostMetadata)
	}
	if err := checkTags("TagsPerSAMLProvider", r.Tags); err != nil {
		return nil, err
	}
	metadata, err := saml.ParseMetadata([]byte(r.Metadata))
	if err != nil {
		return nil, err
	}
	p := &Provider{ARN: name, Metadata: metadata, RequireEncrypted: r.EncryptionMode == EncryptionRequired}
	if len(r.PrivateKeys) > 0 {
		p.Decrypter = &saml.Decrypter{}
	}
	for i := len(r.PrivateKeys) - 1; i >= 0; i-- { // the newest first
		key, err := c.privateKey(r.PrivateKeys[i])
		if err != nil {
			return nil, err
		}
		p.Decrypter.Keys = append(p.Decrypter.Keys, key)
	}
	switch r.EncryptionMode {
	case "", EncryptionAllowed, EncryptionRequired:
	default:
		return nil, invalid("assertion encryption mode %q: want %s or %s", r.EncryptionMode, EncryptionRequired, EncryptionAllowed)
	}
	return p, nil
}

// The values of a SAML provider's AssertionEncryptionMode.
const (
	EncryptionRequired = "Required"
	EncryptionAllowed  = "Allowed"
)

func (c *compiler) open(purpose, id string, sealed []byte) ([]byte, error) {
	if c.sealer == nil {
		return nil, fault.New(fault.Internal, "no key ring is at hand")
	}
	return c.sealer.Open(purpose, []byte(id), sealed)
}

func (c *compiler) privateKey(k PrivateKey) (*rsa.PrivateKey, error) {
	der, err := c.open(SealPrivateKey, k.ID, k.Sealed)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "private key "+k.ID+" can't be opened")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "private key "+k.ID+" can't be read")
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fault.New(fault.Internal, "private key "+k.ID+" is not an RSA key")
	}
	return key, nil
}

func (c *compiler) oidcProvider(r *OIDCProviderRecord) error {
	partition, err := c.partition(r.Account)
	if err != nil {
		return err
	}
	if err := checkTags("TagsPerOpenIdConnectProvider", r.Tags); err != nil {
		return err
	}
	c.oidc[r.Ref()] = &OIDCProvider{
		ARN: r.ARN(partition), Issuer: r.URL, Name: r.Name(), ClientIDs: r.ClientIDs, Thumbprints: r.Thumbprints,
	}
	return nil
}

func (c *compiler) managedPolicy(r *ManagedPolicyRecord) error {
	p, ok := reuse[ManagedPolicy](c, r, nil)
	if !ok {
		partition, err := c.partition(r.Account)
		if err != nil {
			return err
		}
		if err := checkEntityName(managedPolicy, r.Path, r.Name); err != nil {
			return err
		}
		if err := checkTags("TagsPerPolicy", r.Tags); err != nil {
			return err
		}
		v, ok := r.Version(r.Default)
		if !ok {
			return invalid("managed policy %s has no version %s", r.Name, r.Default)
		}
		if p, err = compileManaged(r.ARN(partition), r.Name, v.Document); err != nil {
			return err
		}
		c.keep(r, nil, p)
	}
	c.managed[p.ARN] = p
	return nil
}

func compileManaged(arn, name, document string) (*ManagedPolicy, error) {
	d, err := compilePolicy(policy.Identity, Policy{Name: name, Document: document})
	if err != nil {
		return nil, err
	}
	if d.Size() > mostManaged {
		return nil, limited("Cannot exceed quota for PolicySize: %d", mostManaged)
	}
	b, err := compilePolicy(policy.Boundary, Policy{Name: name, Document: document})
	if err != nil {
		return nil, err
	}
	return &ManagedPolicy{ARN: arn, Text: document, Identity: d, Boundary: b}, nil
}

// compiledGroup is what a group gives to its members.
type compiledGroup struct {
	policies []*policy.Document
	own      own
}

func (c *compiler) group(r *GroupRecord) error {
	managed, needs, err := c.attachments(r.Account, r.Attached, nil)
	if err != nil {
		return err
	}
	g, ok := reuse[compiledGroup](c, r, needs)
	if !ok {
		if _, err := c.partition(r.Account); err != nil {
			return err
		}
		if err := checkEntityName(userGroup, r.Path, r.Name); err != nil {
			return err
		}
		g = &compiledGroup{}
		inline, err := g.own.inline(userGroup, r.Name, r.Policies, earlier[compiledGroup](c, r).own)
		if err != nil {
			return err
		}
		g.policies = unite(inline, managed)
		c.keep(r, needs, g)
	}
	c.groups[r.ID] = g
	return nil
}

func (c *compiler) user(r *UserRecord) error {
	managed, needs, err := c.attachments(r.Account, r.Attached, r.Boundary)
	if err != nil {
		return err
	}
	if len(r.Groups) > mostGroups {
		return limited("Cannot exceed quota for GroupsPerUser: %d", mostGroups)
	}
	for _, id := range r.Groups {
		g, ok := c.groups[id]
		if !ok {
			return invalid("user %s is in group %s, which does not exist or does not compile", r.Name, id)
		}
		managed, needs = append(managed, g.policies...), append(needs, g)
	}
	u, ok := reuse[User](c, r, needs)
	if !ok {
		if u, err = c.compileUser(r, managed); err != nil {
			return err
		}
		c.keep(r, needs, u)
	}
	c.users[u.ARN], c.userIDs[u.ID] = u, u
	return nil
}

func (c *compiler) compileUser(r *UserRecord, more []*policy.Document) (*User, error) {
	partition, err := c.partition(r.Account)
	if err != nil {
		return nil, err
	}
	if err := checkEntityName(user, r.Path, r.Name); err != nil {
		return nil, err
	}
	if err := checkTags("TagsPerUser", r.Tags); err != nil {
		return nil, err
	}
	u := &User{ID: r.ID, ARN: r.ARN(partition), Account: r.Account, Path: r.Path, Name: r.Name, Tags: r.Tags}
	inline, err := u.own.inline(user, r.Name, r.Policies, earlier[User](c, r).own)
	if err != nil {
		return nil, err
	}
	u.Policies = unite(inline, more)
	u.Boundary, err = c.boundary(r.Boundary)
	return u, err
}

func (c *compiler) accessKey(r *AccessKeyRecord) error {
	u, ok := c.userIDs[r.User]
	if !ok || u.Account != r.Account {
		return invalid("access key %s belongs to user %s, who does not exist or does not compile", r.ID, r.User)
	}
	if !r.Active {
		return nil
	}
	needs := []any{u}
	k, ok := reuse[AccessKey](c, r, needs)
	if !ok {
		plain, err := c.open(SealAccessKey, r.ID, r.Sealed)
		if err != nil {
			return fault.Wrap(err, fault.Internal, "access key "+r.ID+" can't be opened")
		}
		k = &AccessKey{ID: r.ID, User: u, Secret: secret.New(string(plain))}
		c.keep(r, needs, k)
	}
	c.keys[r.ID] = k
	return nil
}

func (c *compiler) instanceProfile(r *InstanceProfileRecord) error {
	if _, err := c.partition(r.Account); err != nil {
		return err
	}
	if err := checkEntityName(instanceProfile, r.Path, r.Name); err != nil {
		return err
	}
	return checkTags("TagsPerInstanceProfile", r.Tags)
}

func (c *compiler) alias(r *AliasRecord) error {
	if _, err := c.partition(r.Account); err != nil {
		return err
	}
	if !validAlias(r.Alias) {
		return invalid("account alias %q: want 3 to 63 lower-case letters, digits and single hyphens inside", r.Alias)
	}
	for account := range c.view.partitions {
		if other, ok := c.view.Alias(account); ok && account != r.Account && other.Alias == r.Alias {
			return exists("The account alias %s already exists.", r.Alias)
		}
	}
	return nil
}

// validAlias holds IAM's pattern of an account alias.
func validAlias(s string) bool {
	if len(s) < 3 || len(s) > 63 || strings.Contains(s, "--") || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func (c *compiler) guardrail(r *GuardrailsRecord) error {
	g, ok := reuse[Guardrails](c, r, nil)
	var err error
	if !ok {
		if g, err = compileGuardrails(r); err == nil {
			c.keep(r, nil, g)
		}
	}
	c.guardrails[r.Account] = g
	return err
}

// denyAll stands for guardrails that do not compile.
const denyAll = `{"Version":"2012-10-17","Statement":{"Sid":"GuardrailsDoNotCompile","Effect":"Deny","Action":"*","Resource":"*"}}`

func compileGuardrails(r *GuardrailsRecord) (*Guardrails, error) {
	service, err := compileLevels(r.ServiceControl)
	if err == nil {
		var resource [][]*policy.Document
		if resource, err = compileLevels(r.ResourceControl); err == nil {
			return &Guardrails{ServiceControl: service, ResourceControl: resource}, nil
		}
	}
	d, bad := policy.Parse(policy.Guardrail, "guardrails", []byte(denyAll))
	if bad != nil {
		return &Guardrails{ServiceControl: [][]*policy.Document{{}}, ResourceControl: [][]*policy.Document{{}}}, err
	}
	level := [][]*policy.Document{{d}}
	return &Guardrails{ServiceControl: level, ResourceControl: level}, err
}

func compileLevels(levels [][]Policy) (out [][]*policy.Document, err error) {
	for i, level := range levels {
		if len(level) == 0 || len(level) > mostGuardrails {
			return nil, invalid("guardrails, level %d: want 1 to %d policies", i+1, mostGuardrails)
		}
		var documents []*policy.Document
		for _, p := range level {
			d, err := compilePolicy(policy.Guardrail, p)
			if err != nil {
				return nil, err
			}
			documents = append(documents, d)
		}
		out = append(out, documents)
	}
	return out, nil
}
