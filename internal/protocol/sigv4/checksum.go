package sigv4

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/zeebo/xxh3"

	"carnet.dev/carnet/internal/core/fault"
)

// ChecksumPrefix begins the header and trailer names of checksums.
const ChecksumPrefix = "x-amz-checksum-"

// nvme is the polynomial of CRC-64/NVME, bit-reversed as hash/crc64 wants it.
const nvme = 0x9a6c9329ac4bc9b5

// ContentMD5 names the MD5 of the Content-MD5 header; "md5" is that of
// x-amz-checksum-md5.
const ContentMD5 = "content-md5"

// Checksum is a digest that the content must have.
type Checksum struct {
	// Algorithm is crc32, crc32c, crc64nvme, md5, sha1, sha256, sha512, xxhash3,
	// xxhash64, xxhash128 or ContentMD5.
	Algorithm string
	Want      []byte
}

// ParseChecksum reads the base64 value of a checksum header or trailer.
func ParseChecksum(algorithm, value string) (Checksum, error) {
	h := newHash(algorithm)
	if h == nil {
		return Checksum{}, fault.Coded(fault.Unsupported, "InvalidRequest", "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, MD5, SHA1, SHA256, SHA512, XXHASH128, XXHASH3, XXHASH64]")
	}
	want, err := base64.StdEncoding.Strict().DecodeString(value)
	if err != nil || len(want) != h.Size() {
		if algorithm == ContentMD5 {
			return Checksum{}, fault.Coded(fault.Invalid, "InvalidDigest", "The Content-Md5 you specified is not valid.").With("Content-MD5", value)
		}
		return Checksum{}, fault.Coded(fault.Invalid, "InvalidRequest", "Value for "+ChecksumPrefix+algorithm+" header is invalid.")
	}
	return Checksum{Algorithm: algorithm, Want: want}, nil
}

// TrailerAlgorithm gives the algorithm named by an x-amz-trailer value.
func TrailerAlgorithm(trailer string) (string, error) {
	algorithm, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(trailer)), ChecksumPrefix)
	if !ok || algorithm == ContentMD5 || newHash(algorithm) == nil {
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

// hashes are those of S3. MD5, SHA-1 and the ones that are no cryptography serve
// integrity against accidents here, as S3 defines them; they prove nothing.
var hashes = map[string]func() hash.Hash{
	"crc32":     func() hash.Hash { return crc32.NewIEEE() },
	"crc32c":    func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
	"crc64nvme": func() hash.Hash { return crc64.New(crc64.MakeTable(nvme)) },
	"md5":       md5.New, ContentMD5: md5.New,
	"sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New,
	"xxhash3":   func() hash.Hash { return xxh3.New() },
	"xxhash64":  func() hash.Hash { return xxhash.New() },
	"xxhash128": func() hash.Hash { return xxh3.New128() },
}

// newHash gives nil for unknown algorithms.
func newHash(algorithm string) hash.Hash {
	if made := hashes[algorithm]; made != nil {
		return made()
	}
	return nil
}
