package cli

import (
	"context"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api/client"
	"carnet.dev/carnet/internal/edge/upstream/stsclient"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/generate"
)

// workloadKeys trades a workload's token for keys, as an SDK would with a token
// file: AssumeRoleWithWebIdentity at the STS of the role's account.
func (r *run) workloadKeys(ctx context.Context, w workload, role string) (keys, error) {
	if role == "" && w.delegation == "" {
		return keys{}, usage("which role shall the keys be for? Give --role")
	}
	t, err := r.workloadToken(ctx, w, generate.AudienceAWS, role)
	if err != nil {
		return keys{}, err
	}
	named, err := arn.ParseRole(t.role)
	if err != nil {
		return keys{}, err
	}
	api, err := r.client(t.server, secret.Text{}, r.ca)
	if err != nil {
		return keys{}, err
	}
	at, err := api.AccountPlace(ctx, named.Account)
	if err != nil {
		return keys{}, err
	}
	if at.Region == "" {
		at.Region = r.region()
	}
	account := stsclient.Account{ID: named.Account, Region: at.Region, Endpoint: at.Endpoints.STS}
	if at.Local {
		if account.HTTP, err = httpClient(r.ca); err != nil {
			return keys{}, err
		}
	}
	got, err := stsclient.New([]stsclient.Account{account}).AssumeRoleWithWebIdentity(ctx, broker.WebCall{
		Role: named, SessionName: t.sessionName(), Token: t.text, Duration: time.Hour,
	})
	if err != nil {
		return keys{}, err
	}
	if role == "" {
		role = t.role
	}
	c := client.Credentials{
		Role: t.role, AccessKeyID: got.Credentials.AccessKeyID, SecretAccessKey: got.Credentials.SecretAccessKey,
		SessionToken: got.Credentials.SessionToken, Expiration: got.Credentials.Expiration, Region: at.Region, Endpoints: at.Endpoints,
	}
	return keys{Credentials: c, account: named.Account, ca: r.ca}, check(c, role)
}

// region is the caller's choice for accounts at AWS.
func (r *run) region() string {
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if v := r.Getenv(name); v != "" {
			return v
		}
	}
	return "us-east-1"
}

// sessionName is what the session is called in the audit trail: the source
// identity that the issuer gives, else the id in the subject.
func (t idToken) sessionName() string {
	_, id, _ := strings.Cut(t.subject, ":")
	for _, name := range []string{t.sourceIdentity, id} {
		if identity.ValidSessionName(name) {
			return name
		}
	}
	return "carnet"
}
