package s3client

import (
	"bytes"
	"encoding/xml"
	"io"
	"net/http"
	"sync"
	"time"
)

// regions remembers in which region buckets lie: for an hour, since a bucket can
// be made again elsewhere, and for so many that names which don't exist can't
// fill the memory.
type regions struct {
	mu         sync.Mutex
	young, old map[string]known
}

type known struct {
	region string
	until  time.Time
}

const (
	mostBuckets = 4096 // at most twice that
	knownFor    = time.Hour
)

func newRegions() *regions { return &regions{young: make(map[string]known)} }

func (m *regions) get(bucket string, now time.Time) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.young[bucket]
	if !ok {
		k, ok = m.old[bucket]
	}
	if !ok || !now.Before(k.until) {
		return "", false
	}
	return k.region, true
}

func (m *regions) put(bucket, region string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.young) >= mostBuckets {
		m.old, m.young = m.young, make(map[string]known)
	}
	m.young[bucket] = known{region, now.Add(knownFor)}
}

// mostError bounds an error document that is looked into, in bytes.
const mostError = 64 << 10

// said is what an error document says that concerns its sender.
type said struct {
	XMLName xml.Name `xml:"Error"`
	Code    string   `xml:"Code"`
	Region  string   `xml:"Region"`
}

func regionOf(res *http.Response) string { return peek(res).Region }

func codeOf(res *http.Response) string { return peek(res).Code }

// peek reads an error document and puts it back.
func peek(res *http.Response) (e said) {
	head, err := io.ReadAll(io.LimitReader(res.Body, mostError))
	res.Body = &rest{io.MultiReader(bytes.NewReader(head), failing(res.Body, err)), res.Body}
	if err != nil || xml.Unmarshal(head, &e) != nil {
		return said{}
	}
	return e
}

// rest is a body of which the beginning was read.
type rest struct {
	io.Reader
	io.Closer
}

// failing gives err where there is one, else what r still holds.
func failing(r io.Reader, err error) io.Reader {
	if err == nil {
		return r
	}
	return brokenReader{err}
}

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

// discard ends with an answer that nobody reads, keeping its connection where
// little of it is left.
func discard(res *http.Response) {
	_, _ = io.CopyN(io.Discard, res.Body, mostError)
	_ = res.Body.Close()
}
