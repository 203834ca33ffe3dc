package s3

import (
	"encoding/xml"

	"carnet.dev/carnet/internal/core/fault"
)

// aclDocument is an access control policy. Whoever owns the bucket owns all
// objects in it and nobody else has a grant: one document is true of all.
type aclDocument struct {
	XMLName xml.Name `xml:"AccessControlPolicy"`
	Owner   *struct {
		ID          string  `xml:"ID"`
		DisplayName *string `xml:"DisplayName"`
	} `xml:"Owner"`
	List *struct {
		Grants []struct {
			Grantee struct {
				Kind        string  `xml:"http://www.w3.org/2001/XMLSchema-instance type,attr,omitempty"`
				ID          *string `xml:"ID"`
				DisplayName *string `xml:"DisplayName"`
				Email       *string `xml:"EmailAddress"`
				URI         *string `xml:"URI"`
				Type        *string `xml:"Type"`
			} `xml:"Grantee"`
			Permission string `xml:"Permission"`
		} `xml:"Grant"`
	} `xml:"AccessControlList"`
}

// readACL accepts what changes nothing: the two canned ACLs that leave all to
// the owner, or a document which gives the owner full control and nobody else
// anything. As on a bucket whose owner is enforced, all else is refused.
func (o *Operation) readACL(body []byte) ([]byte, error) {
	if o.ACL != "" {
		if len(body) > 0 {
			return nil, fault.Coded(fault.Invalid, "UnexpectedContent", "This request does not support content: the ACL stands in x-amz-acl already")
		}
		return nil, nil
	}
	if len(body) == 0 {
		return nil, fault.Coded(fault.Invalid, "MissingSecurityHeader", "Your request was missing a required header: x-amz-acl, or a document with the ACL")
	}
	var d aclDocument
	out, err := rewrite("AccessControlPolicy", body, &d)
	if err != nil {
		return nil, err
	}
	if d.Owner == nil || d.List == nil || len(d.List.Grants) != 1 {
		return nil, aclRefused()
	}
	g := d.List.Grants[0]
	if g.Permission != "FULL_CONTROL" || g.Grantee.ID == nil || *g.Grantee.ID != d.Owner.ID || g.Grantee.URI != nil || g.Grantee.Email != nil {
		return nil, aclRefused()
	}
	o.aclOwner = d.Owner.ID
	return out, nil
}

// ownerACL writes the ACL of every bucket and every object.
func ownerACL(owner string) string {
	const grantee = `<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>`
	return "<Owner><ID>" + owner + "</ID></Owner><AccessControlList><Grant>" + grantee + owner +
		"</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList>"
}
