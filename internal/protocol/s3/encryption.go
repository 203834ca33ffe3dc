package s3

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/base64"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

// Encryption is a set of kinds of encryption at rest.
type Encryption uint8

// The kinds that a request may choose: a closed set.
const (
	EncryptAES256      Encryption = 1 << iota // with keys of the store
	EncryptKMS                                // with keys of a key service; its two-layer form too
	EncryptCustomerKey                        // with a key that each request brings

	EncryptAny = EncryptAES256 | EncryptKMS | EncryptCustomerKey
)

var encryptionNames = []struct {
	kind Encryption
	name string
}{{EncryptAES256, "AES256"}, {EncryptKMS, "aws:kms"}, {EncryptCustomerKey, "customer-key"}}

// ParseEncryption reads the names of kinds as the configuration writes them:
// AES256, aws:kms, customer-key. A name that is none of them is returned.
func ParseEncryption(names []string) (e Encryption, unknown string) {
	for _, name := range names {
		i := slices.IndexFunc(encryptionNames, func(n struct {
			kind Encryption
			name string
		}) bool {
			return n.name == name
		})
		if i < 0 {
			return 0, name
		}
		e |= encryptionNames[i].kind
	}
	return e, ""
}

// Names gives the names of the kinds.
func (e Encryption) Names() []string {
	var names []string
	for _, n := range encryptionNames {
		if e&n.kind != 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// String names the kinds.
func (e Encryption) String() string { return strings.Join(e.Names(), ", ") }

// StorageClasses are those that S3 knows for objects (API Reference,
// "PutObject", x-amz-storage-class).
func StorageClasses() []string {
	return []string{
		"STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "DEEP_ARCHIVE", "OUTPOSTS",
		"GLACIER_IR", "SNOW", "EXPRESS_ONEZONE", "FSX_OPENZFS", "FSX_ONTAP",
	}
}

// CheckOffered refuses what the store of the bucket does not do: kinds of
// encryption and storage classes beside STANDARD that are not listed for it.
func (o *Operation) CheckOffered(e Encryption, classes []string) error {
	if missing := o.Encryption &^ e; missing != 0 {
		return notImplemented("encryption chosen by the request (" + missing.String() + "), which is not configured for the store of this bucket")
	}
	if c := o.StorageClass; c != "" && c != "STANDARD" && !slices.Contains(classes, c) {
		return fault.Coded(fault.Invalid, "InvalidStorageClass", "The storage class you specified is not valid: the store of this bucket does not offer "+clip(c))
	}
	return nil
}

const (
	ssePrefix       = "X-Amz-Server-Side-Encryption"
	sseSourcePrefix = "X-Amz-Copy-Source-Server-Side-Encryption"
)

// chosenEncryption reads the encryption headers that have a meaning here.
func (o *Operation) chosenEncryption(h headers, use headerUse) error {
	asked := false
	for name := range h {
		if !strings.HasPrefix(name, ssePrefix) && !strings.HasPrefix(name, sseSourcePrefix) {
			continue
		}
		if asked = true; headerUses[name]&use == 0 {
			return invalid(strings.ToLower(name) + " header is not supported for this operation.")
		}
	}
	if !asked {
		return nil
	}
	method, chosen := h[ssePrefix]
	switch {
	case !chosen:
	case method == "AES256":
		o.Encryption |= EncryptAES256
	case method == "aws:kms", method == "aws:kms:dsse":
		o.Encryption |= EncryptKMS
	default:
		return invalid("The encryption method specified is not supported")
	}
	for _, name := range []string{"-Aws-Kms-Key-Id", "-Context", "-Bucket-Key-Enabled"} {
		if _, ok := h[ssePrefix+name]; ok && o.Encryption&EncryptKMS == 0 {
			return invalid(strings.ToLower(ssePrefix+name) + " is only for the encryption methods aws:kms and aws:kms:dsse")
		}
	}
	own, err := o.customerKey(h, ssePrefix)
	if err != nil {
		return err
	}
	if own && chosen {
		return invalid("Server Side Encryption with Customer provided key is incompatible with the encryption method specified")
	}
	_, err = o.customerKey(h, sseSourcePrefix)
	return err
}

// customerKey takes one set of the three headers of a customer's key. The key
// is held to its digest, leaves Header and goes on as a secret.
func (o *Operation) customerKey(h headers, prefix string) (bool, error) {
	algorithm, a := h[prefix+"-Customer-Algorithm"]
	key, k := h[prefix+"-Customer-Key"]
	digest, d := h[prefix+"-Customer-Key-Md5"]
	if !a && !k && !d {
		return false, nil
	}
	if !a || !k || !d {
		return false, invalid("Requests specifying Server Side Encryption with Customer provided keys must provide algorithm, key and the MD5 of the key.")
	}
	if algorithm != "AES256" {
		return false, fault.Coded(fault.Invalid, "InvalidEncryptionAlgorithmError", "The encryption request you specified is not valid. The valid value is AES256.")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(key)
	if err != nil || len(raw) != 32 {
		return false, invalid("The secret key was invalid for the specified algorithm.")
	}
	sum := md5.Sum(raw) // demanded by the API, against mistakes only
	if subtle.ConstantTimeCompare([]byte(base64.StdEncoding.EncodeToString(sum[:])), []byte(digest)) != 1 {
		return false, invalid("The calculated MD5 hash of the key did not match the hash that was provided.")
	}
	delete(o.Header, prefix+"-Customer-Key")
	delete(h, prefix+"-Customer-Key")
	if o.customerKeys == nil {
		o.customerKeys = map[string]secret.Text{}
	}
	o.customerKeys[prefix+"-Customer-Key"] = secret.New(key)
	o.Encryption |= EncryptCustomerKey
	return true, nil
}

// SentHeader gives the headers that go upstream, the customer's keys with them;
// to AWS also those that mean nothing to a store where one owner has all.
func (o *Operation) SentHeader(aws bool) map[string][]string {
	if len(o.customerKeys) == 0 && !aws {
		return o.Header
	}
	out := make(map[string][]string, len(o.Header)+len(o.customerKeys)+2)
	for name, values := range o.Header {
		out[name] = values
	}
	if aws && o.ACL != "" {
		out["X-Amz-Acl"] = []string{o.ACL}
	}
	if aws && o.ObjectOwnership != "" {
		out["X-Amz-Object-Ownership"] = []string{o.ObjectOwnership}
	}
	for name, key := range o.customerKeys {
		out[name] = []string{key.Reveal()}
	}
	return out
}
