package iamapi

import (
	"carnet.dev/carnet/internal/protocol/awsquery"
	"carnet.dev/carnet/internal/service/iam"
)

// absentOperations are about what nobody can have here. Tools that look a user
// or an account over ask for it all: the true answer is that there is none.
func absentOperations() map[string]operation {
	table := map[string]operation{
		"ListVirtualMFADevices":    none("VirtualMFADevices", "AssignmentStatus"),
		"ListServerCertificates":   none("ServerCertificateMetadataList", "PathPrefix"),
		"GetAccountPasswordPolicy": noPasswordPolicy, "DeleteAccountPasswordPolicy": noPasswordPolicy,
		"ListServiceSpecificCredentials": noneOfUser("ServiceSpecificCredentials", "ServiceName", "AllUsers"),
		"GetLoginProfile":                noLoginProfile, "DeleteLoginProfile": noLoginProfile,
	}
	for operation, list := range map[string]string{
		"ListMFADevices": "MFADevices", "ListSSHPublicKeys": "SSHPublicKeys", "ListSigningCertificates": "Certificates",
	} {
		table[operation] = noneOfUser(list)
	}
	return table
}

// any reads a parameter for nothing but its form.
func (c *call) any(names []string) {
	for _, name := range names {
		c.in.maybe(name, rule{most: 512})
	}
}

// none answers an empty listing of the account.
func none(list string, parameters ...string) operation {
	return func(c *call) ([]awsquery.Field, error) {
		c.page()
		c.any(parameters)
		if _, _, err := see(c, c.account()); err != nil {
			return nil, err
		}
		return []awsquery.Field{awsquery.Texts(list, nil), truth("IsTruncated", false)}, nil
	}
}

// noneOfUser answers an empty listing of a user.
func noneOfUser(list string, parameters ...string) operation {
	return func(c *call) ([]awsquery.Field, error) {
		c.page()
		c.any(parameters)
		if all, _ := c.in.parameters.Get("AllUsers"); all == "true" {
			c.in.maybe("UserName", anyUserName)
			if _, _, err := see(c, c.account()); err != nil {
				return nil, err
			}
		} else if _, _, err := see(c, c.user(c.ownOr("UserName"))); err != nil {
			return nil, err
		}
		return []awsquery.Field{awsquery.Texts(list, nil), truth("IsTruncated", false)}, nil
	}
}

// noLoginProfile says of any user that there is no password.
func noLoginProfile(c *call) ([]awsquery.Field, error) {
	u, _, err := see(c, c.user(c.ownOr("UserName")))
	if err != nil {
		return nil, err
	}
	return nil, noSuch("Login Profile for User %s cannot be found.", u.Name)
}

func noPasswordPolicy(c *call) ([]awsquery.Field, error) {
	_, _, err := see(c, func(*iam.View) (struct{}, string, error) { return struct{}{}, "", c.may("*") })
	if err != nil {
		return nil, err
	}
	return nil, noSuch("The Password Policy with domain name %s cannot be found.", c.caller.Account)
}
