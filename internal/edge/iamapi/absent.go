package iamapi

import "carnet.dev/carnet/internal/protocol/awsquery"

// absentOperations lists what nobody can have here. Tools that look a user or
// an account over ask for it all: the true answer is that there is none.
func absentOperations() map[string]operation {
	table := map[string]operation{
		"ListVirtualMFADevices":  none("VirtualMFADevices", "AssignmentStatus"),
		"ListServerCertificates": none("ServerCertificateMetadataList", "PathPrefix"),
	}
	return table
}

// none answers an empty listing on the whole account, and reads the named
// parameters for nothing but their form.
func none(list string, parameters ...string) operation {
	return func(c *call) ([]awsquery.Field, error) {
		c.page()
		for _, name := range parameters {
			c.in.maybe(name, rule{most: 512})
		}
		if err := c.in.err(); err != nil {
			return nil, err
		}
		if err := c.may(c.arn("*", "", "")); err != nil {
			return nil, err
		}
		return []awsquery.Field{awsquery.Texts(list, nil), {Name: "IsTruncated", Text: "false"}}, nil
	}
}
