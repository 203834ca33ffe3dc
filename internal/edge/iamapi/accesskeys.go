package iamapi

import (
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/awsquery"
	"carnet.dev/carnet/internal/service/iam"
)

func accessKeyOperations() map[string]operation {
	return map[string]operation{
		"CreateAccessKey": createAccessKey, "ListAccessKeys": listAccessKeys, "UpdateAccessKey": updateAccessKey,
		"DeleteAccessKey": deleteAccessKey, "GetAccessKeyLastUsed": accessKeyLastUsed,
	}
}

// createAccessKey answers the secret once.
func createAccessKey(c *call) ([]awsquery.Field, error) {
	name := c.ownOr("UserName")
	var made iam.AccessKeyRecord
	var key secret.Text
	err := change(c, c.user(name), func(d *iam.Draft, u iam.UserRecord) (err error) {
		if !c.face.config.StaticKeys {
			return fault.Coded(fault.Denied, "AccessDenied", "Long-lived access keys are not issued here: the setting static_keys of this server is not allow.").
				WithMend("use the temporary keys of a role; where old software can't, an administrator writes static_keys: allow into carnet.yaml")
		}
		made, key, err = d.CreateAccessKey(c.caller.Account, name)
		detail := c.detail()
		detail["AccessKeyId"] = made.ID
		d.Concerns(c.arn("user", u.Path, u.Name), detail)
		return err
	})
	if err != nil {
		return nil, err
	}
	return []awsquery.Field{group("AccessKey", append(keyFields(name, made), text("SecretAccessKey", key.Reveal()))...)}, nil
}

func keyFields(owner string, k iam.AccessKeyRecord) []awsquery.Field {
	status := "Inactive"
	if k.Active {
		status = "Active"
	}
	return []awsquery.Field{text("UserName", owner), text("AccessKeyId", k.ID), text("Status", status), when("CreateDate", k.Created)}
}

func listAccessKeys(c *call) ([]awsquery.Field, error) {
	name, p := c.ownOr("UserName"), c.page()
	u, v, err := see(c, c.user(name))
	if err != nil {
		return nil, err
	}
	return part("AccessKeyMetadata", p, v.AccessKeys(u.Account, u.ID), func(k iam.AccessKeyRecord) string { return k.ID },
		func(k iam.AccessKeyRecord) []awsquery.Field { return keyFields(u.Name, k) }), nil
}

func updateAccessKey(c *call) ([]awsquery.Field, error) {
	name, id, status := c.ownOr("UserName"), c.in.text("AccessKeyId", keyID), c.in.text("Status", keyStatus)
	return nil, change(c, c.user(name), func(d *iam.Draft, _ iam.UserRecord) error {
		return d.SetAccessKey(c.caller.Account, name, id, status == "Active")
	})
}

func deleteAccessKey(c *call) ([]awsquery.Field, error) {
	name, id := c.ownOr("UserName"), c.in.text("AccessKeyId", keyID)
	return nil, change(c, c.user(name), func(d *iam.Draft, _ iam.UserRecord) error { return d.DeleteAccessKey(c.caller.Account, name, id) })
}

// accessKeyLastUsed says whose a key is. When it was used last is not kept with
// it: that stands in the audit trail. N/A is AWS's word for not known.
func accessKeyLastUsed(c *call) ([]awsquery.Field, error) {
	id := c.in.text("AccessKeyId", keyID)
	if err := c.in.err(); err != nil {
		return nil, err
	}
	v, err := c.view()
	if err != nil {
		return nil, err
	}
	k, ok := v.AccessKey(id)
	u, known := v.UserByID(c.caller.Account, k.User)
	ok = ok && known && k.Account == c.caller.Account
	arn := c.arn("user", "/", "*")
	if ok {
		arn = c.arn("user", u.Path, u.Name)
	}
	if err := c.may(arn, resourceTags(u.Tags)); err != nil {
		return nil, err
	}
	if !ok {
		return nil, noSuch("The Access Key with id %s cannot be found.", id)
	}
	return []awsquery.Field{
		text("UserName", u.Name), group("AccessKeyLastUsed", text("ServiceName", "N/A"), text("Region", "N/A")),
	}, nil
}
