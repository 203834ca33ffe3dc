package iamapi

import (
	"strconv"

	"carnet.dev/carnet/internal/protocol/awsquery"
	"carnet.dev/carnet/internal/service/iam"
)

func accountOperations() map[string]operation {
	return map[string]operation{
		"CreateAccountAlias": createAlias, "DeleteAccountAlias": deleteAlias, "ListAccountAliases": listAliases,
		"GetAccountSummary": accountSummary, "GetAccountAuthorizationDetails": authorizationDetails,
	}
}

// account gives the finder of the account itself, for calls on no resource of
// their own.
func (c *call) account() finder[iam.AliasRecord] {
	return func(v *iam.View) (iam.AliasRecord, string, error) {
		alias, _ := v.Alias(c.caller.Account)
		return alias, c.arn("root", "", ""), c.may("*")
	}
}

// createAlias gives the account its alias, in place of the one that it has.
func createAlias(c *call) ([]awsquery.Field, error) {
	alias := c.in.text("AccountAlias", aliasText)
	return nil, change(c, c.account(), func(d *iam.Draft, _ iam.AliasRecord) error { return d.CreateAlias(c.caller.Account, alias) })
}

func deleteAlias(c *call) ([]awsquery.Field, error) {
	alias := c.in.text("AccountAlias", aliasText)
	return nil, change(c, c.account(), func(d *iam.Draft, _ iam.AliasRecord) error { return d.DeleteAlias(c.caller.Account, alias) })
}

func listAliases(c *call) ([]awsquery.Field, error) {
	p := c.page()
	r, _, err := see(c, c.account())
	if err != nil {
		return nil, err
	}
	var all []string
	if r.Alias != "" {
		all = append(all, r.Alias)
	}
	return partOfTexts("AccountAliases", p, all), nil
}

// accountSummary counts what is there, beside the quotas that are held here.
func accountSummary(c *call) ([]awsquery.Field, error) {
	_, v, err := see(c, c.account())
	if err != nil {
		return nil, err
	}
	account := c.caller.Account
	most := c.face.config.IAM.Quotas.Most
	versions := 0
	for _, p := range v.ManagedPolicies(account) {
		versions += len(p.Versions)
	}
	var entries [][2]string
	for _, e := range []struct {
		name string
		n    int
	}{
		{"Users", len(v.Users(account))}, {"Groups", len(v.Groups(account))}, {"Roles", len(v.Roles(account))},
		{"Policies", len(v.ManagedPolicies(account))}, {"PolicyVersionsInUse", versions},
		{"InstanceProfiles", len(v.InstanceProfiles(account))}, {"Providers", len(v.Providers(account)) + len(v.OIDCProviders(account))},
		{"ServerCertificates", 0}, {"MFADevices", 0}, {"MFADevicesInUse", 0}, {"AccountMFAEnabled", 0},
		{"AccountAccessKeysPresent", 0}, {"AccountPasswordPresent", 0}, {"AccountSigningCertificatesPresent", 0},
		{"AccessKeysPerUserQuota", iam.MostAccessKeys}, {"VersionsPerPolicyQuota", iam.MostVersions},
		{"UserPolicySizeQuota", 2048}, {"GroupPolicySizeQuota", 5120}, {"RolePolicySizeQuota", 10240}, {"PolicySizeQuota", 6144},
		{"AssumeRolePolicySizeQuota", 4096}, {"GroupsPerUserQuota", 10},
		{"AttachedPoliciesPerUserQuota", 10}, {"AttachedPoliciesPerGroupQuota", 10}, {"AttachedPoliciesPerRoleQuota", 10},
		{"UsersQuota", most(iam.KindUser)}, {"GroupsQuota", most(iam.KindGroup)}, {"RolesQuota", most(iam.KindRole)},
		{"PoliciesQuota", most(iam.KindManagedPolicy)}, {"InstanceProfilesQuota", most(iam.KindInstanceProfile)},
		{"GlobalEndpointTokenVersion", 2},
	} {
		entries = append(entries, [2]string{e.name, strconv.Itoa(e.n)})
	}
	return []awsquery.Field{mapField("SummaryMap", entries)}, nil
}
