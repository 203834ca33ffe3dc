package sigv4

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

// ChecksumPrefix begins the header and trailer names of checksums.
const ChecksumPrefix = "x-amz-checksum-"

// nvme is the polynomial of CRC-64/NVME, bit-reversed as hash/crc64 wants it.
const nvme = 0x9a6c9329ac4bc9b5

// Checksum is a digest that the content must have.
type Checksum struct {
	// Algorithm is crc32, crc32c, crc64nvme, sha1, sha256 or md5.
	Algorithm string
	Want      []byte
}

// ParseChecksum reads the base64 value of a checksum header or trailer.
func ParseChecksum(algorithm, value string) (Checksum, error) {
	h := newHash(algorithm)
	if h == nil {
		return Checksum{}, fault.Coded(fault.Unsupported, "InvalidRequest", "The checksum algorithm "+clip(algorithm)+" is not supported; use crc32, crc32c, crc64nvme, sha1 or sha256")
	}
	want, err := base64.StdEncoding.Strict().DecodeString(value)
	if err != nil || len(want) != h.Size() {
		if algorithm == "md5" {
			return Checksum{}, fault.Coded(fault.Invalid, "InvalidDigest", "The Content-MD5 you specified is not valid.")
		}
		return Checksum{}, fault.Coded(fault.Invalid, "InvalidRequest", "Value for "+ChecksumPrefix+algorithm+" header is invalid.")
	}
	return Checksum{Algorithm: algorithm, Want: want}, nil
}

// TrailerAlgorithm gives the algorithm named by an x-amz-trailer value.
func TrailerAlgorithm(trailer string) (string, error) {
	algorithm, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(trailer)), ChecksumPrefix)
	if !ok || algorithm == "md5" || newHash(algorithm) == nil {
		return "", fault.Coded(fault.Invalid, "InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
	}
	return algorithm, nil
}

// ChecksumLength gives the length of an algorithm's base64 value, 0 when unknown.
func ChecksumLength(algorithm string) int {
	h := newHash(algorithm)
	if h == nil {
		return 0
	}
	return base64.StdEncoding.EncodedLen(h.Size())
}

// newHash gives nil for unknown algorithms. MD5 and SHA-1 serve integrity
// against accidents here, as S3 defines them; they prove nothing.
func newHash(algorithm string) hash.Hash {
	switch algorithm {
	case "crc32":
		return crc32.NewIEEE()
	case "crc32c":
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case "crc64nvme":
		return crc64.New(crc64.MakeTable(nvme))
	case "sha1":
		return sha1.New()
	case "sha256":
		return sha256.New()
	case "md5":
		return md5.New()
	}
	return nil
}
