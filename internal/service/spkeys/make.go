package spkeys

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base32"
	"encoding/hex"
	"strings"
	"time"
)

const (
	// bits is the length of a key's modulus: what every identity provider takes.
	bits = 2048
	// life is that of the certificate. Nobody checks it but by the pin.
	life = 10 * 365 * 24 * time.Hour
	// sealed is the purpose under which private keys are sealed.
	sealed = "saml-key"
)

// create makes a key and its self-signed certificate.
func (s *Service) create(p Purpose, st State) (Row, error) {
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return Row{}, err
	}
	now := s.Now().UTC().Truncate(time.Millisecond)
	r := Row{ID: newID(), Purpose: p, State: st, Created: now, Changed: now}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "Carnet SAML " + string(p) + " " + r.ID},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(life), // a server's clock may be behind ours
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	if p == Encryption {
		template.KeyUsage = x509.KeyUsageKeyEncipherment
	}
	if r.Certificate, err = x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private); err != nil {
		return Row{}, err
	}
	plain, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return Row{}, err
	}
	r.Sealed, err = s.Sealer.Seal(sealed, []byte(r.ID), plain)
	return r, err
}

func newID() string {
	b := make([]byte, 10)
	rand.Read(b)
	return "spk_" + strings.ToLower(base32.StdEncoding.EncodeToString(b))
}

// fingerprint gives the SHA-256 digest of a certificate in hex.
func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// Fingerprint gives the SHA-256 digest of the key's certificate in hex.
func (k Key) Fingerprint() string { return fingerprint(k.Certificate) }
