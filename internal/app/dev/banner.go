package dev

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"carnet.dev/carnet/internal/core/secret"
)

// world is where everything of one carnet dev is.
type world struct {
	web, webTLS string
	aws, awsTLS string
	idp         string
	data        string
	binary      string // the program at a path that stays
	ca          string // path of the CA's certificate
	password    secret.Text
	lifetime    keyLifetime
	issuer      string   // that local accounts trust
	workload    workload // zero with an authority file of the user's own
}

// banner says how to sign in and use the keys. The block to copy works as it
// is printed: tests run it.
func (w world) banner(out io.Writer) {
	fmt.Fprintf(out, `
  Open      %s
            Accounts: alice (analyst, one role), bob (engineer, three roles in two accounts),
            carol (administrator; carnet env --administrator analytics gives her IAM), dave (no role).
            Password for all: %s

  From afar ssh -L %[3]s -L %[4]s -L %[5]s HOST   then open the same address

  aws       Copy this; sign in as alice (bob adds --role NAME to the second line):

%[6]s
%[13]s  https     %[7]s and %[8]s; trust its CA with
            export AWS_CA_BUNDLE=%[9]s
  Data      %[10]s (--data); --reset starts anew
  Host      %[11]s people list --config %[12]s

`, w.web, w.password.Reveal(), tunnel(w.web), tunnel(w.aws), tunnel(w.idp), indent(w.block()), w.webTLS, w.awsTLS, quote(w.ca), w.data,
		quote(w.binary), quote(filepath.Join(w.data, "carnet.yaml")), w.workloadBanner())
}

// workloadBanner shows how a program without a person reads.
func (w world) workloadBanner() string {
	if w.workload.id == "" {
		return ""
	}
	return "  Workload  The service principal " + demoWorkload + " has a key and no person. In a shell of its own:\n\n" + indent(w.workloadBlock()) + "\n"
}

// workloadBlock is what one copies to be the workload.
func (w world) workloadBlock() []string {
	return []string{
		`eval "$(` + quote(w.binary) + " token --server " + w.web + " --client-id " + w.workload.id + " --client-key-file " + quote(w.workload.key) +
			" --role " + w.workload.role.String() + " --file " + quote(filepath.Join(filepath.Dir(w.workload.key), "token")) + ` --once)"`,
		"aws s3 ls s3://sales/orders/ --endpoint-url " + w.aws,
	}
}

// block is what a person copies into a shell.
func (w world) block() []string {
	carnet := quote(w.binary)
	return []string{
		carnet + " login --server " + w.web,
		`eval "$(` + carnet + ` env)"`,
		"aws sts get-caller-identity --endpoint-url " + w.aws,
		"aws s3 ls s3://sales/orders/ --endpoint-url " + w.aws,
		"aws s3 cp s3://sales/products/products.csv - --endpoint-url " + w.aws,
	}
}

func indent(lines []string) string {
	return "    " + strings.Join(lines, "\n    ") + "\n"
}

// tunnel is the ssh -L argument for an address: the same port at both ends, so
// that links and redirects keep working.
func tunnel(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Port() + ":127.0.0.1:" + u.Port()
}

// quote makes a path safe to paste into a shell.
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-:@", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// writeStatus leaves the addresses and the password for programs that started
// dev, in a file that only this user can read. It appears whole or not at all.
func (w world) writeStatus(path string) error {
	body, err := json.MarshalIndent(map[string]string{
		"web": w.web, "web_tls": w.webTLS, "aws": w.aws, "aws_tls": w.awsTLS,
		"identity_provider": w.idp, "ca": w.ca, "binary": w.binary, "data": w.data,
		"password": w.password.Reveal(), "block": strings.Join(w.block(), "\n"),
		"issuer": w.issuer, "workload_client_id": w.workload.id, "workload_key": w.workload.key, "workload_block": strings.Join(w.workloadBlock(), "\n"),
	}, "", "  ")
	if err != nil {
		return err
	}
	return place(path, 0o600, bytes.NewReader(append(body, '\n')))
}

// place puts a file at path, whole or not at all, and leaves nothing else.
func place(path string, mode fs.FileMode, content io.Reader) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".carnet-*") // 0600
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	if err = errors.Join(err, f.Chmod(mode), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}
