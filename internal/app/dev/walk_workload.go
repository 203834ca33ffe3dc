package dev

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/oauthclient"
	"carnet.dev/carnet/internal/edge/upstream/stsclient"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/issuer"
)

// prove asks the issuer for a token, as the workload: it has nothing but its
// client id and its key.
func (w *walk) prove(ctx context.Context) (string, error) {
	text, err := os.ReadFile(w.world.workload.key)
	if err != nil {
		return "", err
	}
	key, err := oidc.ReadSigningKey(text)
	if err != nil {
		return "", err
	}
	e, err := oauthclient.DiscoverAt(ctx, w.world.web, nil)
	if err != nil {
		return "", err
	}
	w.token, err = e.IDToken(ctx, oauthclient.Proof{ClientID: w.world.workload.id, Key: &key, Now: time.Now()},
		oauthclient.Ask{Audience: issuer.AudienceAWS, Role: w.world.workload.role.String()})
	return "sp:" + w.world.workload.id + " by " + w.world.issuer, err
}

// assume trades the token on the public AWS port.
func (w *walk) assume(ctx context.Context) (string, error) {
	role := w.world.workload.role
	sts := stsclient.New([]stsclient.Account{{ID: role.Account, Region: region, Endpoint: w.world.aws, HTTP: &http.Client{Timeout: 10 * time.Second}}})
	got, err := sts.AssumeRoleWithWebIdentity(ctx, broker.WebCall{Role: role, SessionName: demoWorkload, Token: w.token, Duration: w.world.walkLifetime()})
	w.token = secret.Text{}
	if err != nil {
		return "", err
	}
	w.keys = got.Credentials
	return got.AssumedRoleARN + " until " + got.Credentials.Expiration.Local().Format("15:04"), nil
}

func (w *walk) readProducts(ctx context.Context) (string, error) {
	resp, err := w.get(ctx, "/sales/products/products.csv")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", s3Refusal(resp)
	}
	return fmt.Sprintf("%d bytes", resp.ContentLength), nil
}
