// Package stsclient calls AssumeRoleWithSAML and AssumeRoleWithWebIdentity in
// AWS's own wire protocol, at AWS or at a local authority, and AssumeRole by Carnet's own
// AWS identity.
//
// One client per configured account; an account that isn't configured is never
// called. The first two are unsigned and carry a raw assertion or an ID token, which
// are credentials: the SDK's request logging stays off, and an error keeps the
// code and the text of STS only. No endpoint comes from the environment or
// from the caller.
package stsclient

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/broker"
)

// The headers that tell the internal listener of a local authority for whom
// keys are asked. They are sent to accounts marked Internal and nowhere else.
const (
	HeaderLoginSession = "X-Carnet-Login-Session"
	HeaderPerson       = "X-Carnet-Person"
)

// Account says how STS of one account is reached.
type Account struct {
	ID     string // 12 digits
	Region string
	// Endpoint is the base URL of a local authority, or of a VPC endpoint;
	// empty means AWS's own endpoint of the region, in the region's partition.
	Endpoint string
	// RootCAs are believed for the SDK's own client; nil means the system's.
	RootCAs *x509.CertPool
	// HTTP makes the connections; nil means the SDK's own client, which honours
	// HTTPS_PROXY and NO_PROXY.
	HTTP *http.Client
	// Internal marks the server's own internal listener.
	Internal bool
}

// Client calls STS for the configured accounts. Safe for concurrent use.
type Client struct{ accounts map[string]account }

type account struct {
	sts      *sts.Client
	internal bool
}

// keptOpen is how many connections to one STS wait for the next sign-in: a
// handshake for each role would cost more than the exchange.
const keptOpen = 64

// New makes a client for these accounts.
func New(accounts []Account) *Client {
	c := &Client{accounts: make(map[string]account, len(accounts))}
	for _, a := range accounts {
		o := a.options()
		o.Credentials = aws.AnonymousCredentials{}
		c.accounts[a.ID] = account{sts: sts.New(o), internal: a.Internal}
	}
	return c
}

// options say how the account's STS is reached, by nobody yet.
func (a Account) options() sts.Options {
	o := sts.Options{Region: a.Region, Retryer: newPatience()}
	if a.Endpoint != "" {
		o.BaseEndpoint = aws.String(a.Endpoint)
	}
	if o.HTTPClient = a.HTTP; a.HTTP == nil {
		o.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.TLSClientConfig.RootCAs = a.RootCAs
			t.MaxIdleConnsPerHost = keptOpen
		})
	}
	return o
}

// AssumeRoleWithSAML makes one call; see broker.STS for its errors.
func (c *Client) AssumeRoleWithSAML(ctx context.Context, call broker.Call) (broker.Assumed, error) {
	a, err := c.account(call.Role.Account)
	if err != nil {
		return broker.Assumed{}, err
	}
	out, err := a.sts.AssumeRoleWithSAML(ctx, &sts.AssumeRoleWithSAMLInput{
		RoleArn:         aws.String(call.Role.String()),
		PrincipalArn:    aws.String(call.Provider.String()),
		SAMLAssertion:   aws.String(call.Assertion.Reveal()),
		DurationSeconds: seconds(call.Duration),
	}, a.forWhom(call.LoginSession, call.Person))
	if err != nil {
		return broker.Assumed{}, explain(err)
	}
	return assumed(out.Credentials, out.AssumedRoleUser, out.SourceIdentity)
}

// AssumeRoleWithWebIdentity makes one call; see broker.STS for its errors.
func (c *Client) AssumeRoleWithWebIdentity(ctx context.Context, call broker.WebCall) (broker.Assumed, error) {
	a, err := c.account(call.Role.Account)
	if err != nil {
		return broker.Assumed{}, err
	}
	out, err := a.sts.AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{
		RoleArn:          aws.String(call.Role.String()),
		RoleSessionName:  aws.String(call.SessionName),
		WebIdentityToken: aws.String(call.Token.Reveal()),
		DurationSeconds:  seconds(call.Duration),
	}, a.forWhom(call.LoginSession, call.Person))
	if err != nil {
		return broker.Assumed{}, explain(err)
	}
	return assumed(out.Credentials, out.AssumedRoleUser, out.SourceIdentity)
}

func (c *Client) account(id string) (account, error) {
	a, ok := c.accounts[id]
	if !ok {
		return account{}, fault.Coded(fault.Denied, "AccessDenied", "account "+id+" is not configured").
			WithMend("an administrator has to add it to the accounts of the configuration")
	}
	return a, nil
}

func seconds(d time.Duration) *int32 { return aws.Int32(int32(min(d/time.Second, 1<<31-1))) }

func assumed(keys *types.Credentials, who *types.AssumedRoleUser, sourceIdentity *string) (broker.Assumed, error) {
	if keys == nil || who == nil {
		return broker.Assumed{}, fault.Coded(fault.Unavailable, "InternalFailure", "STS answered without credentials")
	}
	return broker.Assumed{
		Credentials: credential.Temporary{
			AccessKeyID:     aws.ToString(keys.AccessKeyId),
			SecretAccessKey: secret.New(aws.ToString(keys.SecretAccessKey)),
			SessionToken:    secret.New(aws.ToString(keys.SessionToken)),
			Expiration:      aws.ToTime(keys.Expiration).UTC().Truncate(time.Second),
		},
		AssumedRoleARN: aws.ToString(who.Arn),
		SourceIdentity: aws.ToString(sourceIdentity),
	}, nil
}

// forWhom adds the headers of the internal listener.
func (a account) forWhom(session identity.LoginSessionID, person identity.PersonID) func(*sts.Options) {
	return func(o *sts.Options) {
		if !a.internal {
			return
		}
		o.APIOptions = append(o.APIOptions,
			smithyhttp.SetHeaderValue(HeaderLoginSession, string(session)),
			smithyhttp.SetHeaderValue(HeaderPerson, string(person)))
	}
}

// explain keeps of an error what STS said, and of a failed connection only
// that it failed: neither may carry the request on.
func explain(err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() == "" || api.ErrorCode() == "UnknownError" {
		public := "STS did not answer"
		if errors.Is(err, context.DeadlineExceeded) {
			public = "STS did not answer in time"
		}
		var send *smithyhttp.RequestSendError
		if errors.As(err, &send) {
			return fault.Wrap(send.Err, fault.Unavailable, public)
		}
		return fault.New(fault.Unavailable, public)
	}
	return fault.Coded(kind(api.ErrorCode()), api.ErrorCode(), api.ErrorMessage())
}

func kind(code string) fault.Kind {
	switch code {
	case "AccessDenied", "AccessDeniedException", "IDPRejectedClaim", "RegionDisabledException":
		return fault.Denied
	case "ExpiredTokenException", "ExpiredToken":
		return fault.Expired
	case "InvalidIdentityToken", "InvalidIdentityTokenException":
		return fault.Unauthenticated
	case "PackedPolicyTooLarge", "PackedPolicyTooLargeException":
		return fault.TooLarge
	case "Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded":
		return fault.Limited
	case "ServiceUnavailable", "InternalFailure", "InternalError", "InternalServerError", "IDPCommunicationError":
		return fault.Unavailable
	}
	return fault.Invalid
}
