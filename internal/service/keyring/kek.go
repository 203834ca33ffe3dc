package keyring

import (
	"bufio"
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

// KEK is one key-encryption key. It wraps data keys and nothing else.
type KEK struct {
	id  string
	key [32]byte
}

// ID names the key without telling it.
func (k KEK) ID() string { return k.id }

// String keeps the key out of logs.
func (k KEK) String() string { return "key-encryption key " + k.id }

// GoString keeps the key out of %#v.
func (k KEK) GoString() string { return k.String() }

// KEKs are the key-encryption keys of one installation: the first wraps, all
// unwrap. Two are present only while one replaces the other.
type KEKs []KEK

const kekPrefix = "carnet-kek-v1"

// NewKEKFile makes a new key and gives the text of its file.
func NewKEKFile() []byte {
	b := make([]byte, 32)
	rand.Read(b)
	return fmt.Appendf(nil, "# Key-encryption key of Carnet. Whoever has it and the database has every secret.\n%s %s\n",
		kekPrefix, base64.StdEncoding.EncodeToString(b))
}

// ParseKEKs reads a key file: lines "carnet-kek-v1 <32 bytes in base64>", the
// one in use first; "#" begins a comment. Errors name the line, never its text.
func ParseKEKs(text []byte) (KEKs, error) {
	var keys KEKs
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		kind, value, _ := strings.Cut(line, " ")
		raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(value))
		if kind != kekPrefix || err != nil || len(raw) != 32 {
			return nil, badKEK(fmt.Sprintf("line %d of the key-encryption key file is not %q and 32 bytes in base64", n, kekPrefix))
		}
		k := KEK{key: [32]byte(raw)}
		sum := sha256.Sum256(append([]byte("carnet kek id\x00"), raw...))
		k.id = hex.EncodeToString(sum[:6])
		for _, other := range keys {
			if other.id == k.id {
				return nil, badKEK(fmt.Sprintf("line %d of the key-encryption key file repeats a key", n))
			}
		}
		keys = append(keys, k)
	}
	if lines.Err() != nil || len(keys) == 0 {
		return nil, badKEK("the key-encryption key file holds no key")
	}
	return keys, nil
}

// codeKEK is the code of every fault about the key-encryption key.
const codeKEK = "keyring.kek"

func badKEK(public string) *fault.Fault {
	return fault.Coded(fault.Misconfigured, codeKEK, public).
		WithMend("restore the file from where you keep it, or make a new one for a new installation")
}

func (ks KEKs) byID(id string) (KEK, bool) {
	for _, k := range ks {
		if k.id == id {
			return k, true
		}
	}
	return KEK{}, false
}

// BackupKey derives the key of one backup, named by its salt, from the
// key-encryption key of that id. Who has the backup and not the file has nothing.
func (ks KEKs) BackupKey(kek string, salt []byte) (key [32]byte, err error) {
	k, ok := ks.byID(kek)
	if !ok {
		return key, wrongKEK("the backup was sealed under "+kek, ks)
	}
	b, err := hkdf.Key(sha256.New, k.key[:], salt, "carnet backup v1", 32)
	copy(key[:], b)
	return key, err
}

// wrongKEK says which key is wanted and which are there.
func wrongKEK(what string, ks KEKs) *fault.Fault {
	var have []string
	for _, k := range ks {
		have = append(have, k.id)
	}
	return fault.Coded(fault.Misconfigured, codeKEK,
		fmt.Sprintf("the key-encryption key is the wrong one: %s, the file has %s", what, strings.Join(have, ", "))).
		WithMend("give the key file that belongs to it; nothing was changed")
}
