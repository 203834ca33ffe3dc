package iam

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/saml"
)

// SAMLProviderChange says what becomes of a SAML provider; empty fields leave
// things as they are.
type SAMLProviderChange struct {
	Metadata       string
	EncryptionMode string      // Required or Allowed
	AddKey         secret.Text // PEM of an RSA private key
	RemoveKey      string      // its id
}

// CreateSAMLProvider adds a SAML provider. Errors: EntityAlreadyExists,
// InvalidInput, LimitExceeded.
func (d *Draft) CreateSAMLProvider(r ProviderRecord, key secret.Text) (ProviderRecord, error) {
	if d.Taken(r.Ref()) {
		return r, exists("Provider with name %s already exists.", r.Name)
	}
	if err := d.quota(KindSAMLProvider, r.Account); err != nil {
		return r, err
	}
	r.Created, r.UUID = d.Now(), identity.NewIAMID("SAMLP")
	return d.changeProvider(r, SAMLProviderChange{Metadata: r.Metadata, EncryptionMode: r.EncryptionMode, AddKey: key})
}

// UpdateSAMLProvider changes a SAML provider. Errors: NoSuchEntity,
// InvalidInput, LimitExceeded.
func (d *Draft) UpdateSAMLProvider(account, name string, c SAMLProviderChange) (ProviderRecord, error) {
	r, ok := d.Provider(account, name)
	if !ok {
		return r, d.noProvider(account, name)
	}
	return d.changeProvider(r, c)
}

func (d *Draft) changeProvider(r ProviderRecord, c SAMLProviderChange) (ProviderRecord, error) {
	if c.Metadata != "" {
		if _, err := saml.ParseMetadata([]byte(c.Metadata)); err != nil {
			return r, input("Could not parse metadata: %s", fault.Of(err).Public)
		}
		r.Metadata = c.Metadata
	}
	if c.RemoveKey != "" {
		kept := r.PrivateKeys[:0]
		for _, k := range r.PrivateKeys {
			if k.ID != c.RemoveKey {
				kept = append(kept, k)
			}
		}
		if len(kept) == len(r.PrivateKeys) {
			return r, gone("The private key with id %s cannot be found.", c.RemoveKey)
		}
		r.PrivateKeys = kept
	}
	if !c.AddKey.IsZero() {
		if len(r.PrivateKeys) >= mostPrivateKeys {
			return r, limited("Cannot exceed quota for PrivateKeysPerSAMLProvider: %d", mostPrivateKeys)
		}
		key, err := d.privateKey(c.AddKey)
		if err != nil {
			return r, err
		}
		r.PrivateKeys = append(r.PrivateKeys, key)
	}
	if c.EncryptionMode != "" {
		r.EncryptionMode = c.EncryptionMode
	}
	switch {
	case len(r.PrivateKeys) == 0 && r.EncryptionMode == EncryptionRequired:
		return r, input("AssertionEncryptionMode Required needs a private key: add one, or set the mode to Allowed.")
	case len(r.PrivateKeys) > 0 && r.EncryptionMode == "":
		r.EncryptionMode = EncryptionAllowed
	}
	d.Put(&r)
	return r, nil
}

const (
	mostPrivateKeys = 2
	leastKeyBits    = 2048
	mostKeyBits     = 8192
)

func (d *Draft) privateKey(text secret.Text) (PrivateKey, error) {
	key, err := parseRSAKey([]byte(text.Reveal()))
	if err != nil {
		return PrivateKey{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return PrivateKey{}, err
	}
	k := PrivateKey{ID: identity.NewIAMID("SAMLK"), Added: d.Now()}
	k.Sealed, err = d.Seal(SealPrivateKey, k.ID, secret.New(string(der)))
	return k, err
}

// parseRSAKey reads one RSA private key in PEM, PKCS #8 or PKCS #1.
func parseRSAKey(text []byte) (*rsa.PrivateKey, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, input("The private key is not PEM.")
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, input("The private key's PEM holds more than one block.")
	}
	var parsed any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, input("The private key's PEM block is not PRIVATE KEY or RSA PRIVATE KEY: decrypt or convert it first.")
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok || key.Validate() != nil {
		return nil, input("The private key can't be read as an RSA key.")
	}
	if n := key.N.BitLen(); n < leastKeyBits || n > mostKeyBits {
		return nil, input("The private key has %d bits: want %d to %d.", n, leastKeyBits, mostKeyBits)
	}
	return key, nil
}

// TagSAMLProvider sets tags. Errors: NoSuchEntity, LimitExceeded.
func (d *Draft) TagSAMLProvider(account, name string, tags map[string]string) error {
	return d.retagProvider(account, name, func(have map[string]string) map[string]string { return MergeTags(have, tags) })
}

// UntagSAMLProvider takes tags off. Errors: NoSuchEntity.
func (d *Draft) UntagSAMLProvider(account, name string, keys []string) error {
	return d.retagProvider(account, name, func(have map[string]string) map[string]string { return WithoutTags(have, keys) })
}

func (d *Draft) retagProvider(account, name string, change func(map[string]string) map[string]string) error {
	r, ok := d.Provider(account, name)
	if !ok {
		return d.noProvider(account, name)
	}
	r.Tags = change(r.Tags)
	d.Put(&r)
	return nil
}

// DeleteSAMLProvider takes a SAML provider out. Policies that name it stay, as
// on AWS. Errors: NoSuchEntity.
func (d *Draft) DeleteSAMLProvider(account, name string) error {
	r, ok := d.Provider(account, name)
	if !ok {
		return d.noProvider(account, name)
	}
	d.Delete(r.Ref())
	return nil
}

func (d *Draft) noProvider(account, name string) error {
	return gone("Manifest not found for arn %s", ProviderRecord{Account: account, Name: name}.ARN(d.partitions[account]))
}
