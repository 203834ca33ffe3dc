package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// A box is version (1 byte), key id (8 bytes), salt (32 bytes), AES-256-GCM
// ciphertext with tag. Key and nonce come from HKDF over the data key, the salt
// and the purpose, so no two boxes share a key and no counter is needed.
const (
	boxVersion  = 1
	keyIDLength = 8
	saltLength  = 32
	boxHeader   = 1 + keyIDLength + saltLength
)

var errBox = errors.New("keyring: the sealed value is damaged, foreign or for another purpose")

func sealBox(id string, key [32]byte, purpose string, aad, plain []byte) ([]byte, error) {
	if len(id) != keyIDLength {
		return nil, errBox
	}
	box := make([]byte, boxHeader, boxHeader+len(plain)+16)
	box[0] = boxVersion
	copy(box[1:], id)
	rand.Read(box[1+keyIDLength:])
	aead, nonce, err := boxCipher(key, purpose, box[1+keyIDLength:])
	if err != nil {
		return nil, err
	}
	return aead.Seal(box, nonce, plain, boxAAD(box[:boxHeader], purpose, aad)), nil
}

func openBox(key [32]byte, purpose string, aad, box []byte) ([]byte, error) {
	if len(box) < boxHeader+16 || box[0] != boxVersion {
		return nil, errBox
	}
	aead, nonce, err := boxCipher(key, purpose, box[1+keyIDLength:boxHeader])
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nonce, box[boxHeader:], boxAAD(box[:boxHeader], purpose, aad))
	if err != nil {
		return nil, errBox
	}
	return plain, nil
}

// boxKeyID gives the id of the key that sealed box.
func boxKeyID(box []byte) (string, error) {
	if len(box) < boxHeader+16 || box[0] != boxVersion {
		return "", errBox
	}
	return string(box[1 : 1+keyIDLength]), nil
}

func boxCipher(key [32]byte, purpose string, salt []byte) (cipher.AEAD, []byte, error) {
	derived, err := hkdf.Key(sha256.New, key[:], salt, "carnet box v1\x00"+purpose, 44)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(derived[:32])
	if err != nil {
		return nil, nil, err
	}
	aead, err := cipher.NewGCM(block)
	return aead, derived[32:], err
}

// boxAAD binds header, purpose and aad with lengths, so that no two differ
// only in where one ends.
func boxAAD(header []byte, purpose string, aad []byte) []byte {
	b := append([]byte{}, header...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(purpose)))
	b = append(b, purpose...)
	return append(b, aad...)
}
