package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/keyfile"
)

// maxSecret bounds a secret file in bytes.
const maxSecret = 64 << 10

// CheckFiles opens every file that must exist before the server starts and
// lists all that can't be used. The key-encryption key is left out: the
// keyring makes it at first start and judges it itself.
func (c *Config) CheckFiles() error {
	var errs []error
	plain := []string{c.Listen.Web.TLS.Certificate, c.Listen.AWS.TLS.Certificate, c.Listen.AWS.ClientCA, c.IAM.Listen.TLS.Certificate}
	private := []string{c.Listen.Web.TLS.Key, c.Listen.AWS.TLS.Key, c.IAM.Listen.TLS.Key, c.Database.PostgreSQLDSNFile, c.Secrets.AWS.AccessKeyFile, c.Secrets.AWS.SecretKeyFile}
	for _, u := range c.Upstreams {
		plain = append(plain, u.CA, u.Client.Certificate)
		private = append(private, u.AccessKeyFile, u.SecretKeyFile, u.Client.Key)
	}
	for _, a := range c.Accounts {
		plain = append(plain, a.STS.CA, a.IAM.CA)
	}
	private = append(private, c.Telemetry.Traces.HeadersFile)
	for _, t := range c.Audit.Targets {
		plain = append(plain, t.CA, t.Client.Certificate)
		private = append(private, t.HeadersFile, t.Client.Key)
	}
	for _, p := range plain {
		if p == "" {
			continue
		}
		f, err := os.Open(p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		f.Close()
	}
	for _, p := range private {
		if p == "" {
			continue
		}
		if _, err := ReadSecret(p); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// SecretRules are the rules for every secret file: systemd's credentials are
// admitted as systemd makes them.
func SecretRules() keyfile.Rules {
	return keyfile.Rules{Credentials: os.Getenv("CREDENTIALS_DIRECTORY")}
}

// ReadSecret reads the one line of a secret file. It refuses a file that
// others can reach, an empty one, and one with nothing but blanks.
func ReadSecret(path string) (secret.Text, error) {
	f, err := os.Open(path)
	if err != nil {
		return secret.Text{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return secret.Text{}, err
	}
	if !info.Mode().IsRegular() {
		return secret.Text{}, fmt.Errorf("%s is not a regular file", path)
	}
	if what, mend := SecretRules().Exposed(path, info); what != "" {
		return secret.Text{}, fmt.Errorf("%s %s: %s", path, what, mend)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return secret.Text{}, err
	}
	s := strings.TrimSpace(string(b))
	if s == "" || len(b) > maxSecret {
		return secret.Text{}, fmt.Errorf("%s holds no secret: want 1 to %d bytes", path, maxSecret)
	}
	return secret.New(s), nil
}

// Header is a header of HTTP whose value is a secret.
type Header struct {
	Name  string
	Value secret.Text
}

// ReadHeaders reads a secret file of "Name: value" lines. Empty lines and those
// that begin with # are left out. path may be empty: then there are none.
func ReadHeaders(path string) (all []Header, err error) {
	if path == "" {
		return nil, nil
	}
	text, err := ReadSecret(path)
	if err != nil {
		return nil, err
	}
	for i, line := range strings.Split(text.Reveal(), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case !ok, value == "", !headerName.MatchString(name), strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			return nil, fmt.Errorf("%s, line %d: want \"Name: value\"", path, i+1)
		case slices.Contains(ownHeaders, strings.ToLower(name)):
			return nil, fmt.Errorf("%s, line %d: %s is not for you to say", path, i+1, name)
		case slices.ContainsFunc(all, func(h Header) bool { return strings.EqualFold(h.Name, name) }):
			return nil, fmt.Errorf("%s, line %d: %s stands twice", path, i+1, name)
		}
		all = append(all, Header{name, secret.New(value)})
	}
	return all, nil
}

// headerName is a token of RFC 9110, section 5.6.2; ownHeaders belong to the
// message, and who sends it knows them.
var (
	headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
	ownHeaders = []string{"content-type", "content-length", "content-encoding", "transfer-encoding", "host", "connection", "te", "trailer", "upgrade", "expect"}
)
