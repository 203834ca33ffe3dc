package dev

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/upstream/signing"
	"carnet.dev/carnet/internal/edge/upstream/stsclient"
	"carnet.dev/carnet/internal/service/broker"
)

// walk goes the whole path over the real wire, as alice and her tools would,
// and prints each hop with its time. An error names the hop that failed.
type walk struct {
	world   *world
	out     io.Writer
	person  *visitor.Visitor
	page    *visitor.Page // where the person stands
	keys    credential.Temporary
	role    arn.Role
	token   secret.Text // of the workload
	started time.Time
}

type hop struct {
	name string
	do   func(context.Context) (string, error)
}

func (w *walk) run(ctx context.Context) error {
	w.started = time.Now()
	for _, h := range []hop{
		{"sign-in at the identity provider", w.signIn},
		{"verification and trade at Carnet", w.verify},
		{"exchange at STS, from outside", w.exchange},
		{"GET s3://sales/orders/2025-12.csv", w.read},
		{"GET s3://hr/salaries/2025.csv", w.denied},
		{"token for a workload, by its key", w.prove},
		{"exchange of the token at STS", w.assume},
		{"GET s3://sales/products/products.csv", w.readProducts},
	} {
		t := time.Now()
		said, err := h.do(ctx)
		took := time.Since(t)
		if err != nil {
			fmt.Fprintf(w.out, "  ✗ %-36s %7s  %v\n", h.name, millis(took), err)
			return fmt.Errorf("%s: %w", h.name, err)
		}
		fmt.Fprintf(w.out, "  ✓ %-36s %7s  %s\n", h.name, millis(took), said)
	}
	return nil
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

// signIn goes to the identity provider and gives alice's password there.
func (w *walk) signIn(ctx context.Context) (string, error) {
	w.person = visitor.New(nil)
	page, err := w.person.Open(ctx, w.world.web+"/sign-in")
	if err != nil {
		return "", err
	}
	form, err := page.FormWith("password")
	if err != nil {
		return "", err
	}
	w.page, err = w.person.Submit(ctx, page, form, map[string]string{"user": "alice", "password": w.world.password.Reveal()})
	if err != nil {
		return "", err
	}
	if _, err := w.page.FormWith("SAMLResponse"); err != nil {
		return "", err
	}
	return "alice at " + w.world.idp, nil
}

// verify posts the response to Carnet, across sites, and lands on My access.
func (w *walk) verify(ctx context.Context) (string, error) {
	form, err := w.page.FormWith("SAMLResponse")
	if err != nil {
		return "", err
	}
	page, err := w.person.Submit(ctx, w.page, form, nil)
	if err != nil {
		return "", err
	}
	if page.Status != http.StatusOK || len(page.Via) == 0 {
		return "", fmt.Errorf("%s answered %d", page.URL, page.Status)
	}
	if failed := page.Via[0].Get("X-Databricks-PassThrough-Error"); failed != "" {
		return "", fmt.Errorf("signed in, but a role can't be had: %s", failed)
	}
	if !strings.Contains(page.Body, "analyst") {
		return "", fmt.Errorf("%s does not show the role analyst", page.URL)
	}
	return "signature, audience, times, one use; every role traded", nil
}

// exchange trades the same response once more on the public AWS port, as a
// command-line tool would: the wire is AWS's own.
func (w *walk) exchange(ctx context.Context) (string, error) {
	form, err := w.page.FormWith("SAMLResponse")
	if err != nil {
		return "", err
	}
	response := form.Fields.Get("SAMLResponse")
	role, provider, err := firstPair(response)
	if err != nil {
		return "", err
	}
	sts := stsclient.New([]stsclient.Account{{ID: role.Account, Region: region, Endpoint: w.world.aws, HTTP: &http.Client{Timeout: 10 * time.Second}}})
	got, err := sts.AssumeRoleWithSAML(ctx, broker.Call{
		Role: role, Provider: provider, Assertion: secret.New(response), Duration: w.world.walkLifetime(),
	})
	if err != nil {
		return "", err
	}
	w.role, w.keys = role, got.Credentials
	return got.AssumedRoleARN + " until " + got.Credentials.Expiration.Local().Format("15:04"), nil
}

func (w *walk) read(ctx context.Context) (string, error) {
	resp, err := w.get(ctx, "/sales/orders/2025-12.csv")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", s3Refusal(resp)
	}
	lines, bytes := 0, 0
	scan := bufio.NewScanner(resp.Body)
	for scan.Scan() {
		lines++
		bytes += len(scan.Bytes()) + 1
	}
	if err := scan.Err(); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d orders, %.1f MiB", lines-1, float64(bytes)/(1<<20)), nil
}

func (w *walk) denied(ctx context.Context) (string, error) {
	resp, err := w.get(ctx, "/hr/salaries/2025.csv")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		return "", fmt.Errorf("answered %d: an analyst must be denied", resp.StatusCode)
	}
	return "denied: " + s3Refusal(resp).Error(), nil
}

func (w *walk) get(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.world.aws+path, nil)
	if err != nil {
		return nil, err
	}
	if err := signing.S3(ctx, req, w.keys, region, time.Now()); err != nil {
		return nil, err
	}
	return (&http.Client{Timeout: 30 * time.Second}).Do(req)
}

// s3Refusal reads the code and message of an S3 error.
func s3Refusal(resp *http.Response) error {
	var e struct {
		Code    string
		Message string
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return err
	}
	if err := xml.Unmarshal(body, &e); err != nil {
		return fmt.Errorf("answered %d with something else than an S3 error: %w", resp.StatusCode, err)
	}
	return fmt.Errorf("%s", e.Message)
}

// firstPair reads the first role pair out of a response. The walk is a client:
// it only has to name the pair, STS verifies it.
func firstPair(response string) (arn.Role, arn.SAMLProvider, error) {
	raw, err := base64.StdEncoding.DecodeString(response)
	if err != nil {
		return arn.Role{}, arn.SAMLProvider{}, err
	}
	_, after, ok := strings.Cut(string(raw), ">arn:aws:iam::")
	if !ok {
		return arn.Role{}, arn.SAMLProvider{}, fmt.Errorf("the response carries no role")
	}
	pair, _, _ := strings.Cut("arn:aws:iam::"+after, "<")
	first, second, _ := strings.Cut(pair, ",")
	role, err := arn.ParseRole(first)
	if err != nil {
		return arn.Role{}, arn.SAMLProvider{}, err
	}
	provider, err := arn.ParseSAMLProvider(second)
	return role, provider, err
}
