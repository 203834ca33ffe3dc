package cli

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/oauthclient"
	"carnet.dev/carnet/internal/protocol/oidc"
)

// workload says how a program without a person proves itself. Its secrets come
// from files or from the environment, never from the command line, which
// everybody on the machine can read.
type workload struct {
	clientID   string
	secretFile string
	keyFile    string
	foreign    string // file of another issuer's token
	delegation string
	issuer     string
}

func (r *run) workloadFlags(c *cobra.Command, w *workload) {
	f := c.Flags()
	f.StringVar(&w.clientID, "client-id", "", "a workload: id of its service principal, spn_… (or CARNET_CLIENT_ID)")
	f.StringVar(&w.secretFile, "client-secret-file", "", "file of its secret (or CARNET_CLIENT_SECRET_FILE; CARNET_CLIENT_SECRET holds the secret itself)")
	f.StringVar(&w.keyFile, "client-key-file", "", "file of its private key, PEM or JWK, for private_key_jwt (or CARNET_CLIENT_KEY_FILE)")
	f.StringVar(&w.foreign, "federated-token-file", "", "file of another issuer's token that a federation policy admits (or CARNET_FEDERATED_TOKEN_FILE; CARNET_FEDERATED_TOKEN holds the token itself)")
	f.StringVar(&w.delegation, "delegation", "", "a job: id of the delegation that it runs under, dlg_…")
	f.StringVar(&w.issuer, "issuer", "", "Carnet's issuer, whose discovery names the token endpoint (or CARNET_ISSUER; default: that of --server)")
}

// proves says whether flags or environment name a workload, and fills in what
// the environment says.
func (r *run) proves(w *workload) bool {
	for _, x := range []struct {
		value    *string
		variable string
	}{
		{&w.clientID, "CARNET_CLIENT_ID"}, {&w.secretFile, "CARNET_CLIENT_SECRET_FILE"}, {&w.keyFile, "CARNET_CLIENT_KEY_FILE"},
		{&w.foreign, "CARNET_FEDERATED_TOKEN_FILE"}, {&w.issuer, "CARNET_ISSUER"},
	} {
		if *x.value == "" {
			*x.value = r.Getenv(x.variable)
		}
	}
	return w.clientID != "" || w.secretFile != "" || w.keyFile != "" || w.foreign != "" || w.delegation != "" || r.Getenv("CARNET_FEDERATED_TOKEN") != ""
}

// proof reads the proof anew: files of federated tokens change, and secrets are
// rotated.
func (r *run) proof(w workload) (p oauthclient.Proof, err error) {
	p.ClientID, p.Now = w.clientID, r.Now()
	given := 0
	text := func(file, variable string) (secret.Text, error) {
		if file == "" {
			return secret.New(r.Getenv(variable)), nil
		}
		b, err := readSmall(file)
		return secret.New(string(b)), err
	}
	if p.Secret, err = text(w.secretFile, "CARNET_CLIENT_SECRET"); err != nil {
		return p, err
	}
	if p.Foreign, err = text(w.foreign, "CARNET_FEDERATED_TOKEN"); err != nil {
		return p, err
	}
	if w.keyFile != "" {
		src, err := readSmall(w.keyFile)
		if err != nil {
			return p, err
		}
		key, err := oidc.ReadSigningKey(src)
		if err != nil {
			return p, fault.Wrap(err, fault.Misconfigured, w.keyFile+" can't be used as a private key").WithCode("cli.client-key")
		}
		p.Key = &key
	}
	for _, has := range []bool{!p.Secret.IsZero(), p.Key != nil, !p.Foreign.IsZero()} {
		if has {
			given++
		}
	}
	switch {
	case given == 0:
		return p, usage("how does the workload prove itself? Give --client-secret-file, --client-key-file or --federated-token-file")
	case given > 1:
		return p, usage("give one proof: a client secret, a client key or a federated token")
	case p.Foreign.IsZero() && p.ClientID == "":
		return p, usage("a client secret or key needs --client-id")
	}
	return p, nil
}

// maxProof bounds a file with a secret, a key or a token.
const maxProof = 64 << 10

// readSmall reads a file of one secret; the line end that editors leave is none
// of it.
func readSmall(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fault.Wrap(err, fault.Misconfigured, "a file of the workload can't be read").WithCode("cli.file")
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxProof+1))
	if err == nil && len(b) > maxProof {
		err = errors.New(file + " is longer than 64 KiB")
	}
	if err == nil && len(trimmed(b)) == 0 {
		err = errors.New(file + " is empty")
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Misconfigured, "a file of the workload can't be used").WithCode("cli.file")
	}
	return trimmed(b), nil
}

func trimmed(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b
}

// endpoint finds the token endpoint: at the issuer that is named, else at the
// server.
func (r *run) endpoint(ctx context.Context, w workload) (*oauthclient.Endpoint, error) {
	hc, err := httpClient(r.ca)
	if err != nil {
		return nil, err
	}
	if w.issuer != "" {
		return oauthclient.Discover(ctx, w.issuer, hc)
	}
	server, err := r.serverAddress()
	if err != nil {
		return nil, err
	}
	if server == "" {
		return nil, usage("which Carnet shall be asked? Give --server or --issuer")
	}
	return oauthclient.DiscoverAt(ctx, server, hc)
}

// workloadToken gives one ID token of a workload.
func (r *run) workloadToken(ctx context.Context, w workload, audience, role string) (idToken, error) {
	proof, err := r.proof(w)
	if err != nil {
		return idToken{}, err
	}
	e, err := r.endpoint(ctx, w)
	if err != nil {
		return idToken{}, err
	}
	text, err := e.IDToken(ctx, proof, oauthclient.Ask{Audience: audience, Role: role, Delegation: w.delegation})
	if err != nil {
		return idToken{}, err
	}
	t, err := readIDToken(text)
	t.server, t.ca = e.Base(), r.ca
	return t, err
}
