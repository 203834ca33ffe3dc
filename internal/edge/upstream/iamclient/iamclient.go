// Package iamclient reads, writes and deletes one inline policy of roles at AWS, in
// IAM's own wire protocol, with the keys of the one role that an account gives Carnet
// for it.
//
// Three operations, one policy name: there is no way to anything else through it. A
// role reaches IAM by its name, as a form value, never as part of an address. No
// endpoint comes from the environment or from an answer, no redirect is followed, and
// an answer is bounded.
package iamclient

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/withdrawal"
)

// Account says how IAM of one account is reached.
type Account struct {
	// Role is what Carnet takes on to write denies; its account is this one.
	Role arn.Role
	// Endpoint is the base URL of IAM; empty means AWS's own of the role's partition.
	Endpoint string
	// RootCAs are believed; nil means the system's.
	RootCAs *x509.CertPool
}

// Keys takes a role on.
type Keys interface {
	// Take gives keys of the role, for nothing but what this package does.
	Take(ctx context.Context, role arn.Role) (credential.Temporary, error)
}

// Client writes to the configured accounts. Safe for concurrent use.
type Client struct {
	keys     Keys
	now      func() time.Time
	accounts map[string]*account
}

type account struct {
	Account
	endpoint, region string
	http             *http.Client

	mu    sync.Mutex
	taken credential.Temporary
}

var _ withdrawal.Policies = (*Client)(nil)

// timeout bounds one call, mostAnswer its answer: a document may have 10,240
// characters, written with three each.
const (
	timeout    = 10 * time.Second
	mostAnswer = 256 << 10
	// early is how long before their end keys are taken anew.
	early = time.Minute
)

// New makes a client for these accounts. HTTPS_PROXY and NO_PROXY of the environment
// hold, as they do towards STS.
func New(accounts []Account, keys Keys, now func() time.Time) *Client {
	c := &Client{keys: keys, now: now, accounts: map[string]*account{}}
	for _, a := range accounts {
		at := &account{Account: a, http: &http.Client{Timeout: timeout,
			Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: a.RootCAs, MinVersion: tls.VersionTLS12},
				ForceAttemptHTTP2: true, DisableCompression: true, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: timeout},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
		at.endpoint, at.region = place(a.Role.Partition)
		if a.Endpoint != "" {
			at.endpoint = a.Endpoint
		}
		c.accounts[a.Role.Account] = at
	}
	return c
}

// place gives where IAM answers in a partition, and the region that it is signed for
// (AWS General Reference, "IAM endpoints").
func place(partition string) (endpoint, region string) {
	switch partition {
	case "aws-cn":
		return "https://iam.cn-north-1.amazonaws.com.cn", "cn-north-1"
	case "aws-us-gov":
		return "https://iam.us-gov.amazonaws.com", "us-gov-west-1"
	}
	return "https://iam.amazonaws.com", "us-east-1"
}

// Get gives the document of the policy on a role; empty where role or policy isn't
// there.
func (c *Client) Get(ctx context.Context, role arn.Role) (string, error) {
	body, err := c.call(ctx, "GetRolePolicy", role, nil)
	if fault.KindOf(err) == fault.NotFound {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return document(body)
}

// Put writes the policy. Faults: TooLarge where the role has no room for it, NotFound
// where there is no such role.
func (c *Client) Put(ctx context.Context, role arn.Role, document string) error {
	_, err := c.call(ctx, "PutRolePolicy", role, url.Values{"PolicyDocument": {document}})
	return err
}

// Delete deletes the policy; nil where there is none.
func (c *Client) Delete(ctx context.Context, role arn.Role) error {
	_, err := c.call(ctx, "DeleteRolePolicy", role, nil)
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	return err
}

// call makes one signed call (IAM API Reference, "Making query requests").
func (c *Client) call(ctx context.Context, action string, role arn.Role, more url.Values) ([]byte, error) {
	a, ok := c.accounts[role.Account]
	if !ok || a.Role.Partition != role.Partition {
		return nil, fault.Coded(fault.Misconfigured, "revocation.role", "account "+role.Account+" has no revocation_role")
	}
	keys, err := a.hold(ctx, c)
	if err != nil {
		return nil, err
	}
	form := url.Values{"Action": {action}, "Version": {"2010-05-08"}, "RoleName": {role.Name}, "PolicyName": {withdrawal.PolicyName}}
	for k, v := range more {
		form[k] = v
	}
	text := form.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.endpoint+"/", strings.NewReader(text))
	if err != nil {
		return nil, fault.Wrap(err, fault.Misconfigured, "the endpoint of IAM is no URL")
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	digest := sha256.Sum256([]byte(text))
	err = v4.NewSigner().SignHTTP(ctx, aws.Credentials{AccessKeyID: keys.AccessKeyID, SecretAccessKey: keys.SecretAccessKey.Reveal(), SessionToken: keys.SessionToken.Reveal()},
		request, hex.EncodeToString(digest[:]), "iam", a.region, c.now())
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "a call of IAM can't be signed")
	}
	answer, err := a.http.Do(request)
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "IAM of account "+role.Account+" did not answer")
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, mostAnswer))
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "IAM of account "+role.Account+" broke off its answer")
	}
	if answer.StatusCode != http.StatusOK {
		err := refusal(answer.StatusCode, body)
		if k := fault.KindOf(err); k == fault.Expired || k == fault.Unauthenticated {
			a.drop(keys)
		}
		return nil, err
	}
	return body, nil
}

// hold gives the keys of the account's role, taken anew where they end soon. One call
// takes them, the others wait for it.
func (a *account) hold(ctx context.Context, c *Client) (credential.Temporary, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.taken.Live(c.now().Add(early)) {
		return a.taken, nil
	}
	keys, err := c.keys.Take(ctx, a.Role)
	if err != nil {
		f := fault.Of(err)
		if f.Kind == fault.Unavailable || f.Kind == fault.Limited || f.Kind == fault.Internal {
			return keys, err
		}
		return keys, f.WithMend("let " + a.Role.String() + " trust Carnet for it: carnet setup aws --revocation")
	}
	a.taken = keys
	return keys, nil
}

// drop forgets keys that were refused.
func (a *account) drop(keys credential.Temporary) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.taken.AccessKeyID == keys.AccessKeyID {
		a.taken = credential.Temporary{}
	}
}

// document reads an answer of GetRolePolicy, whose document is percent-encoded.
func document(body []byte) (string, error) {
	var answer struct {
		XMLName xml.Name `xml:"GetRolePolicyResponse"`
		Result  struct {
			PolicyName     string
			PolicyDocument string
		} `xml:"GetRolePolicyResult"`
	}
	err := xml.Unmarshal(body, &answer)
	if err == nil && answer.Result.PolicyName == withdrawal.PolicyName {
		var text string
		if text, err = url.PathUnescape(answer.Result.PolicyDocument); err == nil && text != "" {
			return text, nil
		}
	}
	return "", fault.Wrap(err, fault.Unavailable, "IAM's answer can't be read")
}

// refusal makes a fault of an error answer: AWS's code and words, bounded.
func refusal(status int, body []byte) error {
	var answer struct {
		XMLName xml.Name `xml:"ErrorResponse"`
		Error   struct{ Code, Message string }
	}
	if err := xml.Unmarshal(body, &answer); err != nil || answer.Error.Code == "" {
		return fault.New(fault.Unavailable, "IAM answered with status "+http.StatusText(status)+" and no error of its own")
	}
	message := strings.ToValidUTF8(answer.Error.Message, "?")
	if len(message) > mostMessage {
		message = strings.ToValidUTF8(message[:mostMessage], "") + "…"
	}
	return fault.Coded(kind(answer.Error.Code, status), answer.Error.Code, message)
}

const mostMessage = 400

func kind(code string, status int) fault.Kind {
	switch code {
	case "AccessDenied", "AccessDeniedException", "UnmodifiableEntity":
		return fault.Denied
	case "NoSuchEntity":
		return fault.NotFound
	case "LimitExceeded":
		return fault.TooLarge
	case "Throttling", "ThrottlingException", "RequestLimitExceeded":
		return fault.Limited
	case "ConcurrentModification":
		return fault.Conflict
	case "ExpiredToken", "ExpiredTokenException":
		return fault.Expired
	case "InvalidClientTokenId", "SignatureDoesNotMatch", "IncompleteSignature":
		return fault.Unauthenticated
	}
	if status >= http.StatusInternalServerError {
		return fault.Unavailable
	}
	return fault.Invalid
}
