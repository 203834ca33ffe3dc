package stsclient

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/meta"
)

// Own is Carnet's own AWS identity: a long-lived key, or where it has none the default
// credentials of the server, as the SDK finds them (environment, shared files, web
// identity, the server's own role).
type Own struct {
	AccessKeyID     string
	SecretAccessKey secret.Text
}

// Assumer takes roles by Carnet's own identity. Safe for concurrent use.
type Assumer struct{ accounts map[string]*sts.Client }

var _ meta.STS = (*Assumer)(nil)

// NewAssumer makes one for these accounts. Default credentials are looked for when a
// role is first taken, and kept by the SDK until they end.
func NewAssumer(ctx context.Context, accounts []Account, own Own) (*Assumer, error) {
	var provider aws.CredentialsProvider
	if len(accounts) > 0 {
		var err error
		if provider, err = own.provider(ctx); err != nil {
			return nil, err
		}
	}
	a := &Assumer{accounts: map[string]*sts.Client{}}
	for _, account := range accounts {
		o := account.options()
		o.Credentials = provider
		a.accounts[account.ID] = sts.New(o)
	}
	return a, nil
}

// provider finds the identity's keys.
func (o Own) provider(ctx context.Context) (aws.CredentialsProvider, error) {
	if o.AccessKeyID != "" {
		return credentials.NewStaticCredentialsProvider(o.AccessKeyID, o.SecretAccessKey.Reveal(), ""), nil
	}
	c, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fault.Wrap(err, fault.Misconfigured, "the server's own AWS credentials can't be looked for").WithMend("name a key in secrets.aws, or mend the AWS configuration of the server's account")
	}
	return c.Credentials, nil
}

// Keys gives what finds the identity's keys, for requests that are signed with them
// alone. Those of a machine's role are kept by the SDK until they end. A key without
// an end has the zero time.
func (o Own) Keys(ctx context.Context) (func(context.Context) (credential.Temporary, error), error) {
	provider, err := o.provider(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (credential.Temporary, error) {
		c, err := provider.Retrieve(ctx)
		if err != nil {
			return credential.Temporary{}, err
		}
		return credential.Temporary{AccessKeyID: c.AccessKeyID, SecretAccessKey: secret.New(c.SecretAccessKey), SessionToken: secret.New(c.SessionToken), Expiration: c.Expires}, nil
	}, nil
}

// AssumeRole makes one call; see broker.STS for its errors.
func (a *Assumer) AssumeRole(ctx context.Context, call meta.Call) (broker.Assumed, error) {
	client, ok := a.accounts[call.Role.Account]
	if !ok {
		return broker.Assumed{}, fault.Coded(fault.Denied, "AccessDenied", "account "+call.Role.Account+" is not taken by Carnet's own identity")
	}
	out, err := client.AssumeRole(ctx, &sts.AssumeRoleInput{
		RoleArn:         aws.String(call.Role.String()),
		RoleSessionName: aws.String(call.SessionName),
		SourceIdentity:  aws.String(call.SourceIdentity),
		ExternalId:      aws.String(call.ExternalID),
		DurationSeconds: seconds(call.Duration),
	})
	if err != nil {
		return broker.Assumed{}, explain(err)
	}
	return assumed(out.Credentials, out.AssumedRoleUser, out.SourceIdentity)
}
