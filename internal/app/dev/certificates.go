package dev

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"carnet.dev/carnet/internal/edge/devidp"
)

// keyPair is a private key with its certificate, as they lie in the data folder.
type keyPair struct {
	key         any // *ecdsa.PrivateKey
	certificate *x509.Certificate
}

// ownCA gives the certificate authority of this data folder and the path of
// its certificate; it is made at the first start, so that it has to be trusted
// once only. It is limited to loopback names: nobody can be harmed by it.
func ownCA(folder string, now time.Time) (keyPair, string, error) {
	path := filepath.Join(folder, "ca.pem")
	pair, err := loadOrMake(path, filepath.Join(folder, "ca-key.pem"), now, func() (keyPair, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return keyPair{}, err
		}
		template := &x509.Certificate{
			Subject:                     pkix.Name{CommonName: "Carnet development CA", Organization: []string{"carnet dev"}},
			NotBefore:                   now.Add(-time.Hour),
			NotAfter:                    now.AddDate(2, 0, 0),
			IsCA:                        true,
			BasicConstraintsValid:       true,
			MaxPathLenZero:              true,
			KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
			PermittedDNSDomainsCritical: true,
			PermittedDNSDomains:         []string{"localhost"},
			PermittedIPRanges:           []*net.IPNet{loopback4(), loopback6()},
		}
		return sign(template, key, key.Public(), nil)
	})
	return pair, path, err
}

// serverCertificate gives a certificate of the CA for the loopback names.
func serverCertificate(ca keyPair, now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "carnet dev"},
		NotBefore:   now.Add(-time.Hour),
		NotAfter:    now.AddDate(0, 3, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}, key, key.Public(), &ca)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{leaf.certificate.Raw, ca.certificate.Raw}, PrivateKey: key, Leaf: leaf.certificate}, nil
}

// signingPair gives the identity provider's signing key, RSA as most have it.
func signingPair(folder string, now time.Time) (crypto.Signer, *x509.Certificate, error) {
	keyPath, certPath := filepath.Join(folder, "idp-key.pem"), filepath.Join(folder, "idp.pem")
	keyPEM, keyErr := os.ReadFile(keyPath)
	certPEM, certErr := os.ReadFile(certPath)
	if errors.Is(keyErr, fs.ErrNotExist) || errors.Is(certErr, fs.ErrNotExist) {
		var err error
		if keyPEM, certPEM, err = devidp.NewKey(now); err != nil {
			return nil, nil, err
		}
		keyErr = os.WriteFile(keyPath, keyPEM, 0o600)
		certErr = os.WriteFile(certPath, certPEM, 0o600)
	}
	if err := errors.Join(keyErr, certErr); err != nil {
		return nil, nil, err
	}
	return devidp.ParseKey(keyPEM, certPEM)
}

func loopback4() *net.IPNet {
	return &net.IPNet{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)}
}
func loopback6() *net.IPNet { return &net.IPNet{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)} }

// sign makes a certificate; without an issuer it is self-signed.
func sign(template *x509.Certificate, key, public any, issuer *keyPair) (keyPair, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return keyPair{}, err
	}
	template.SerialNumber = serial
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.certificate, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return keyPair{}, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return keyPair{}, err
	}
	return keyPair{key: key, certificate: certificate}, nil
}

// loadOrMake reads a pair, or makes and stores it. A pair past its date or
// half there is made anew.
func loadOrMake(certPath, keyPath string, now time.Time, create func() (keyPair, error)) (keyPair, error) {
	pair, err := load(certPath, keyPath)
	if err == nil && now.Before(pair.certificate.NotAfter.AddDate(0, -1, 0)) {
		return pair, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return keyPair{}, fmt.Errorf("read %s: %w", certPath, err)
	}
	if pair, err = create(); err != nil {
		return keyPair{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(pair.key)
	if err != nil {
		return keyPair{}, err
	}
	if err := os.WriteFile(keyPath, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return keyPair{}, err
	}
	return pair, os.WriteFile(certPath, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.certificate.Raw}), 0o644)
}

func load(certPath, keyPath string) (keyPair, error) {
	certPEM, err := os.ReadFile(certPath)
	if err != nil {
		return keyPair{}, err
	}
	keyPEM, err := os.ReadFile(keyPath)
	if err != nil {
		return keyPair{}, err
	}
	both, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return keyPair{}, err
	}
	return keyPair{key: both.PrivateKey, certificate: both.Leaf}, nil
}
