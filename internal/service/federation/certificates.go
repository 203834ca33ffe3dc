package federation

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strings"
)

// Fingerprint gives the SHA-256 digest of a certificate in hex, as pins, pages
// and openssl (without its colons) write it.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// fingerprints gives those of the signing certificates; none where the metadata
// can't be read.
func fingerprints(p IdP) []string {
	m, err := parse(p.Metadata, p.EntityID)
	if err != nil {
		return nil
	}
	out := make([]string, len(m.Certificates))
	for i, c := range m.Certificates {
		out[i] = Fingerprint(c)
	}
	return out
}

func join(list []string) string { return strings.Join(list, ", ") }
