package iamapi

import (
	"crypto/sha256"
	"encoding/hex"

	"carnet.dev/carnet/internal/service/iam"
)

// finder looks up what a call is about, on a view or on a draft, and asks
// whether the caller may do it: before it says that there is no such thing. It
// gives the ARN for the audit record.
type finder[R any] func(v *iam.View) (found R, arn string, err error)

// snapshot gives the authority to read.
func (c *call) snapshot() (*iam.Snapshot, error) { return c.face.config.IAM.Current() }

// see finds something to read.
func see[R any](c *call, find finder[R]) (R, *iam.View, error) {
	var none R
	if err := c.in.err(); err != nil {
		return none, nil, err
	}
	v, err := c.view()
	if err != nil {
		return none, nil, err
	}
	found, _, err := find(v)
	return found, v, err
}

// change finds something and changes it, in one transaction with the audit
// record. The caller is asked for twice: on the view at hand, so that a denial
// costs little, and on the draft, which may be newer.
func change[R any](c *call, find finder[R], fn func(*iam.Draft, R) error) error {
	if err := c.in.err(); err != nil {
		return err
	}
	v, err := c.view()
	if err != nil {
		return err
	}
	if _, _, err := find(v); err != nil {
		return err
	}
	return c.edit(func(d *iam.Draft) error {
		found, arn, err := find(&d.View)
		if err != nil {
			return err
		}
		d.Concerns(arn, c.detail())
		return fn(d, found)
	})
}

// detail is what an audit record says of a change beside its target: what is
// short as it was sent, documents by their SHA-256. Nothing secret is among it.
func (c *call) detail() map[string]string {
	out := map[string]string{"caller": c.caller.ARN}
	for _, name := range []string{
		"PolicyArn", "PolicyName", "GroupName", "UserName", "VersionId", "SetAsDefault", "AccessKeyId", "Status", "PermissionsBoundary",
		"NewUserName", "NewGroupName", "NewPath", "RoleName", "InstanceProfileName", "MaxSessionDuration", "ClientID",
		"AssertionEncryptionMode", "RemovePrivateKey", "AccountAlias",
	} {
		if v, ok := c.in.parameters.Get(name); ok {
			out[name] = clip(v)
		}
	}
	for _, name := range []string{"PolicyDocument", "AssumeRolePolicyDocument", "SAMLMetadataDocument"} {
		if v, ok := c.in.parameters.Get(name); ok {
			sum := sha256.Sum256([]byte(v))
			out[name+"SHA256"] = hex.EncodeToString(sum[:])
		}
	}
	return out
}
