package iamapi

import (
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/awsquery"
	"carnet.dev/carnet/internal/service/iam"
)

func samlOperations() map[string]operation {
	return map[string]operation{
		"CreateSAMLProvider":   createSAMLProvider,
		"GetSAMLProvider":      getSAMLProvider,
		"UpdateSAMLProvider":   updateSAMLProvider,
		"DeleteSAMLProvider":   deleteSAMLProvider,
		"ListSAMLProviders":    listSAMLProviders,
		"TagSAMLProvider":      tagSAMLProvider,
		"UntagSAMLProvider":    untagSAMLProvider,
		"ListSAMLProviderTags": listSAMLProviderTags,
	}
}

// samlName reads the ARN of a SAML provider, and gives its name once the
// parameters hold and it is one of the caller's account.
func (c *call) samlName() func() (string, error) {
	text := c.in.text("SAMLProviderArn", arnText)
	return func() (string, error) {
		if err := c.in.err(); err != nil {
			return "", err
		}
		name, err := arn.ParseSAMLProvider(text)
		switch {
		case err != nil:
			return "", fault.Coded(fault.Invalid, "InvalidInput", "Invalid SAMLProviderArn: "+clip(text))
		case name.Account != c.caller.Account || name.Partition != c.partition():
			return "", c.elsewhere(text)
		}
		return name.Name, nil
	}
}

// maySAML asks for permission on a SAML provider, whether it is there or not.
func (c *call) maySAML(v *iam.View, name string, more ...key) error {
	r, _ := v.Provider(c.caller.Account, name)
	return c.may(c.arn("saml-provider", "/", name), resourceTags(r.Tags), more)
}

func (c *call) editSAML(name string, ask []key, change func(*iam.Draft) error) error {
	return c.edit(func(d *iam.Draft) error {
		d.Concerns(c.arn("saml-provider", "/", name), nil)
		if err := c.maySAML(&d.View, name, ask...); err != nil {
			return err
		}
		return change(d)
	})
}

// samlProvider reads one provider for an operation that shows it.
func (c *call) samlProvider(name string) (iam.ProviderRecord, error) {
	v, err := c.view()
	if err != nil {
		return iam.ProviderRecord{}, err
	}
	if err := c.maySAML(v, name); err != nil {
		return iam.ProviderRecord{}, err
	}
	r, ok := v.Provider(c.caller.Account, name)
	if !ok {
		return r, noSuch("Manifest not found for arn %s", c.arn("saml-provider", "/", name))
	}
	return r, nil
}

func createSAMLProvider(c *call) ([]awsquery.Field, error) {
	r := iam.ProviderRecord{
		Account: c.caller.Account, Name: c.in.text("Name", samlName), Metadata: c.in.text("SAMLMetadataDocument", samlMetadata),
		EncryptionMode: c.in.or("AssertionEncryptionMode", encryptionMode, ""), Tags: c.in.tags("Tags"),
	}
	added := c.in.secret("AddPrivateKey", privateKey)
	if err := c.in.err(); err != nil {
		return nil, err
	}
	name := c.arn("saml-provider", "/", r.Name)
	err := c.edit(func(d *iam.Draft) error {
		d.Concerns(name, nil)
		if err := c.may(name, requestTags(r.Tags)); err != nil {
			return err
		}
		if len(r.Tags) > 0 {
			if err := c.mayDo("iam:TagSAMLProvider", name, requestTags(r.Tags)); err != nil {
				return err
			}
		}
		_, err := d.CreateSAMLProvider(r, added)
		return err
	})
	return append([]awsquery.Field{{Name: "SAMLProviderArn", Text: name}}, someTags(r.Tags)...), err
}

func getSAMLProvider(c *call) ([]awsquery.Field, error) {
	name, err := c.samlName()()
	if err != nil {
		return nil, err
	}
	r, err := c.samlProvider(name)
	if err != nil {
		return nil, err
	}
	fields := []awsquery.Field{
		{Name: "SAMLProviderUUID", Text: r.UUID}, {Name: "SAMLMetadataDocument", Text: r.Metadata},
		{Name: "CreateDate", Text: instant(r.Created)}, {Name: "ValidUntil", Text: instant(c.validUntil(r))},
	}
	if len(r.PrivateKeys) > 0 || r.EncryptionMode != "" {
		fields = append(fields, awsquery.Field{Name: "AssertionEncryptionMode", Text: r.EncryptionMode},
			awsquery.List("PrivateKeyList", r.PrivateKeys, func(k iam.PrivateKey) []awsquery.Field {
				return []awsquery.Field{{Name: "KeyId", Text: k.ID}, {Name: "Timestamp", Text: instant(k.Added)}}
			}))
	}
	return append(fields, someTags(r.Tags)...), nil
}

// validUntil is what the metadata says of itself; a hundred years where it
// doesn't, as on AWS. It is looked up, not parsed again: a list of providers
// may hold a gigabyte of metadata.
func (c *call) validUntil(r iam.ProviderRecord) time.Time {
	name := arn.SAMLProvider{Partition: c.partition(), Account: r.Account, Name: r.Name}
	if s, err := c.snapshot(); err == nil {
		if p, ok := s.Provider(name); ok && !p.Metadata.ValidUntil.IsZero() {
			return p.Metadata.ValidUntil
		}
	}
	return r.Created.AddDate(100, 0, 0)
}

func updateSAMLProvider(c *call) ([]awsquery.Field, error) {
	named := c.samlName()
	change := iam.SAMLProviderChange{
		Metadata: c.in.or("SAMLMetadataDocument", samlMetadata, ""), EncryptionMode: c.in.or("AssertionEncryptionMode", encryptionMode, ""),
		AddKey: c.in.secret("AddPrivateKey", privateKey), RemoveKey: c.in.or("RemovePrivateKey", privateKeyID, ""),
	}
	name, err := named()
	if err != nil {
		return nil, err
	}
	return []awsquery.Field{{Name: "SAMLProviderArn", Text: c.arn("saml-provider", "/", name)}},
		c.editSAML(name, nil, func(d *iam.Draft) error {
			_, err := d.UpdateSAMLProvider(c.caller.Account, name, change)
			return err
		})
}

func deleteSAMLProvider(c *call) ([]awsquery.Field, error) {
	name, err := c.samlName()()
	if err != nil {
		return nil, err
	}
	return nil, c.editSAML(name, nil, func(d *iam.Draft) error { return d.DeleteSAMLProvider(c.caller.Account, name) })
}

func listSAMLProviders(c *call) ([]awsquery.Field, error) {
	if err := c.in.err(); err != nil {
		return nil, err
	}
	if err := c.may(c.arn("saml-provider", "/", "*")); err != nil {
		return nil, err
	}
	v, err := c.view()
	if err != nil {
		return nil, err
	}
	return []awsquery.Field{awsquery.List("SAMLProviderList", v.Providers(c.caller.Account), func(r iam.ProviderRecord) []awsquery.Field {
		return []awsquery.Field{
			{Name: "Arn", Text: r.ARN(c.partition())}, {Name: "ValidUntil", Text: instant(c.validUntil(r))}, {Name: "CreateDate", Text: instant(r.Created)},
		}
	})}, nil
}

func tagSAMLProvider(c *call) ([]awsquery.Field, error) {
	named, tags := c.samlName(), c.in.tags("Tags")
	name, err := named()
	if err != nil {
		return nil, err
	}
	return nil, c.editSAML(name, requestTags(tags), func(d *iam.Draft) error { return d.TagSAMLProvider(c.caller.Account, name, tags) })
}

func untagSAMLProvider(c *call) ([]awsquery.Field, error) {
	named, keys := c.samlName(), c.in.texts("TagKeys", tagKey, 0, 50)
	name, err := named()
	if err != nil {
		return nil, err
	}
	return nil, c.editSAML(name, tagKeys(keys), func(d *iam.Draft) error { return d.UntagSAMLProvider(c.caller.Account, name, keys) })
}

func listSAMLProviderTags(c *call) ([]awsquery.Field, error) {
	named, p := c.samlName(), c.page()
	name, err := named()
	if err != nil {
		return nil, err
	}
	r, err := c.samlProvider(name)
	if err != nil {
		return nil, err
	}
	return tagPage(p, r.Tags), nil
}

// secret reads a parameter whose value no answer and no log repeats.
func (in *input) secret(name string, r rule) secret.Text {
	in.read[name] = true
	v, ok := in.parameters.Get(name)
	if !ok {
		return secret.Text{}
	}
	if len(v) < r.least || len(v) > r.most || !r.form.MatchString(v) {
		in.breaks("Value at '%s' failed to satisfy constraint: Member must have %d to %d characters of pattern %s", lower(name), r.least, r.most, r.pattern)
	}
	return secret.New(v)
}
