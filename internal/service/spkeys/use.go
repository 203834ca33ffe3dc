package spkeys

import (
	"crypto/rsa"
	"crypto/x509"

	"carnet.dev/carnet/internal/protocol/saml"
)

// Signer gives the current signing key.
func (s *Service) Signer() *saml.Signer {
	k := s.of(Signing, Current)
	if k == nil {
		return nil // Open has seen to it that there is one
	}
	return &saml.Signer{Key: k.private, Certificate: k.Certificate}
}

// Decrypter gives every key that an assertion may be encrypted for: the current
// one, the next one, which is published already, then retired ones.
func (s *Service) Decrypter(allowCBC bool) *saml.Decrypter {
	var keys []*rsa.PrivateKey
	for _, k := range s.all() {
		if k.Purpose == Encryption {
			keys = append(keys, k.private)
		}
	}
	return &saml.Decrypter{Keys: keys, AllowCBC: allowCBC}
}

// SP describes us at that SAML URL: current and next keys. Which of it an
// identity provider is shown is federation.Describe's to say.
func (s *Service) SP(url string) saml.SP {
	return saml.SP{URL: url, Signing: s.published(Signing), Encryption: s.published(Encryption)}
}

func (s *Service) published(p Purpose) []*x509.Certificate {
	var out []*x509.Certificate
	for _, k := range s.all() {
		if k.Purpose == p && k.State != Retired {
			out = append(out, k.Certificate)
		}
	}
	return out
}
