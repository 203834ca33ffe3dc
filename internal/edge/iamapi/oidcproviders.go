package iamapi

import (
	"strings"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/awsquery"
	"carnet.dev/carnet/internal/service/iam"
)

func oidcOperations() map[string]operation {
	return map[string]operation{
		"CreateOpenIDConnectProvider":             createOIDCProvider,
		"GetOpenIDConnectProvider":                getOIDCProvider,
		"ListOpenIDConnectProviders":              listOIDCProviders,
		"DeleteOpenIDConnectProvider":             deleteOIDCProvider,
		"AddClientIDToOpenIDConnectProvider":      addClientID,
		"RemoveClientIDFromOpenIDConnectProvider": removeClientID,
		"UpdateOpenIDConnectProviderThumbprint":   updateThumbprint,
		"TagOpenIDConnectProvider":                tagOIDCProvider,
		"UntagOpenIDConnectProvider":              untagOIDCProvider,
		"ListOpenIDConnectProviderTags":           listOIDCProviderTags,
	}
}

// issuer reads the ARN of an OpenID Connect provider, and gives its URL
// without the scheme once the parameters hold and it is one of the caller's
// account.
func (c *call) issuer() func() (string, error) {
	text := c.in.text("OpenIDConnectProviderArn", arnText)
	return func() (string, error) {
		if err := c.in.err(); err != nil {
			return "", err
		}
		a, err := arn.Parse(text)
		name, ok := strings.CutPrefix(a.Resource, "oidc-provider/")
		switch {
		case err != nil || !ok || name == "" || a.Service != "iam" || a.Region != "":
			return "", fault.Coded(fault.Invalid, "InvalidInput", "Invalid OpenIDConnectProviderArn: "+clip(text))
		case a.Account != c.caller.Account || a.Partition != c.partition():
			return "", c.elsewhere(text)
		}
		return name, nil
	}
}

// mayOIDC asks for permission on a provider, whether it is there or not.
func (c *call) mayOIDC(v *iam.View, name string, more ...key) error {
	r, _ := v.OIDCProvider(c.caller.Account, name)
	return c.may(c.arn("oidc-provider", "/", name), resourceTags(r.Tags), more)
}

func (c *call) editOIDC(name string, ask []key, change func(*iam.Draft) error) error {
	return c.edit(func(d *iam.Draft) error {
		d.Concerns(c.arn("oidc-provider", "/", name), nil)
		if err := c.mayOIDC(&d.View, name, ask...); err != nil {
			return err
		}
		return change(d)
	})
}

// oidcProvider reads one provider for an operation that shows it.
func (c *call) oidcProvider(name string) (iam.OIDCProviderRecord, error) {
	v, err := c.view()
	if err != nil {
		return iam.OIDCProviderRecord{}, err
	}
	if err := c.mayOIDC(v, name); err != nil {
		return iam.OIDCProviderRecord{}, err
	}
	r, ok := v.OIDCProvider(c.caller.Account, name)
	if !ok {
		return r, noSuch("OpenIDConnect Provider not found for arn %s", c.arn("oidc-provider", "/", name))
	}
	return r, nil
}

func createOIDCProvider(c *call) ([]awsquery.Field, error) {
	r := iam.OIDCProviderRecord{
		Account: c.caller.Account, URL: c.in.text("Url", issuerURL), ClientIDs: c.in.texts("ClientIDList", clientID, 0, 1000),
		Thumbprints: c.in.texts("ThumbprintList", thumbprint, 0, 100), Tags: c.in.tags("Tags"),
	}
	if err := c.in.err(); err != nil {
		return nil, err
	}
	name := r.ARN(c.partition())
	err := c.edit(func(d *iam.Draft) error {
		d.Concerns(name, nil)
		if err := c.may(name, requestTags(r.Tags)); err != nil {
			return err
		}
		if len(r.Tags) > 0 {
			if err := c.mayDo("iam:TagOpenIDConnectProvider", name, requestTags(r.Tags)); err != nil {
				return err
			}
		}
		_, err := d.CreateOIDCProvider(r)
		return err
	})
	return append([]awsquery.Field{{Name: "OpenIDConnectProviderArn", Text: name}}, someTags(r.Tags)...), err
}

func getOIDCProvider(c *call) ([]awsquery.Field, error) {
	name, err := c.issuer()()
	if err != nil {
		return nil, err
	}
	r, err := c.oidcProvider(name)
	if err != nil {
		return nil, err
	}
	return append([]awsquery.Field{
		{Name: "Url", Text: r.Name()}, awsquery.Texts("ClientIDList", r.ClientIDs), awsquery.Texts("ThumbprintList", r.Thumbprints),
		{Name: "CreateDate", Text: instant(r.Created)},
	}, someTags(r.Tags)...), nil
}

func listOIDCProviders(c *call) ([]awsquery.Field, error) {
	if err := c.in.err(); err != nil {
		return nil, err
	}
	if err := c.may(c.arn("oidc-provider", "/", "*")); err != nil {
		return nil, err
	}
	v, err := c.view()
	if err != nil {
		return nil, err
	}
	return []awsquery.Field{awsquery.List("OpenIDConnectProviderList", v.OIDCProviders(c.caller.Account), func(r iam.OIDCProviderRecord) []awsquery.Field {
		return []awsquery.Field{{Name: "Arn", Text: r.ARN(c.partition())}}
	})}, nil
}

func deleteOIDCProvider(c *call) ([]awsquery.Field, error) {
	name, err := c.issuer()()
	if err != nil {
		return nil, err
	}
	return nil, c.editOIDC(name, nil, func(d *iam.Draft) error { return d.DeleteOIDCProvider(c.caller.Account, name) })
}

func addClientID(c *call) ([]awsquery.Field, error) {
	named, id := c.issuer(), c.in.text("ClientID", clientID)
	name, err := named()
	if err != nil {
		return nil, err
	}
	return nil, c.editOIDC(name, nil, func(d *iam.Draft) error { return d.AddClientID(c.caller.Account, name, id) })
}

func removeClientID(c *call) ([]awsquery.Field, error) {
	named, id := c.issuer(), c.in.text("ClientID", clientID)
	name, err := named()
	if err != nil {
		return nil, err
	}
	return nil, c.editOIDC(name, nil, func(d *iam.Draft) error { return d.RemoveClientID(c.caller.Account, name, id) })
}

func updateThumbprint(c *call) ([]awsquery.Field, error) {
	named, list := c.issuer(), c.in.texts("ThumbprintList", thumbprint, 0, 100)
	name, err := named()
	if err != nil {
		return nil, err
	}
	return nil, c.editOIDC(name, nil, func(d *iam.Draft) error { return d.SetThumbprints(c.caller.Account, name, list) })
}

func tagOIDCProvider(c *call) ([]awsquery.Field, error) {
	named, tags := c.issuer(), c.in.tags("Tags")
	name, err := named()
	if err != nil {
		return nil, err
	}
	return nil, c.editOIDC(name, requestTags(tags), func(d *iam.Draft) error { return d.TagOIDCProvider(c.caller.Account, name, tags) })
}

func untagOIDCProvider(c *call) ([]awsquery.Field, error) {
	named, keys := c.issuer(), c.in.texts("TagKeys", tagKey, 0, 50)
	name, err := named()
	if err != nil {
		return nil, err
	}
	return nil, c.editOIDC(name, tagKeys(keys), func(d *iam.Draft) error { return d.UntagOIDCProvider(c.caller.Account, name, keys) })
}

func listOIDCProviderTags(c *call) ([]awsquery.Field, error) {
	named, p := c.issuer(), c.page()
	name, err := named()
	if err != nil {
		return nil, err
	}
	r, err := c.oidcProvider(name)
	if err != nil {
		return nil, err
	}
	return tagPage(p, r.Tags), nil
}
