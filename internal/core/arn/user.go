package arn

import "fmt"

// User is the name of an IAM user. Comparable; the zero value names nobody.
type User struct {
	Partition string
	Account   string
	Path      string // begins and ends with "/"
	Name      string // [\w+=,.@-]{1,64}
}

// ParseUser reads arn:P:iam::ACCOUNT:user/PATH/NAME.
func ParseUser(s string) (User, error) {
	a, path, name, err := iamResource(s, "user")
	if err != nil {
		return User{}, err
	}
	if len(name) > 64 {
		return User{}, fmt.Errorf("user name %q is longer than 64 characters", clip(name))
	}
	return User{Partition: a.Partition, Account: a.Account, Path: path, Name: name}, nil
}

// String gives the user's ARN.
func (u User) String() string {
	if u == (User{}) {
		return ""
	}
	return "arn:" + u.Partition + ":iam::" + u.Account + ":user" + u.Path + u.Name
}

// IsZero reports whether u names nobody.
func (u User) IsZero() bool { return u == User{} }

// Federated gives the ARN of a federated user that this user's keys made by
// GetFederationToken (IAM User Guide, "AWS STS principals").
func (u User) Federated(name string) string {
	return "arn:" + u.Partition + ":sts::" + u.Account + ":federated-user/" + name
}

// OIDCProvider is the name of an IAM OIDC provider. Comparable.
type OIDCProvider struct {
	Partition string
	Account   string
	URL       string // host and path of the issuer, without the scheme, letter case as given
}

// String gives the provider's ARN.
func (p OIDCProvider) String() string {
	if p == (OIDCProvider{}) {
		return ""
	}
	return "arn:" + p.Partition + ":iam::" + p.Account + ":oidc-provider/" + p.URL
}
