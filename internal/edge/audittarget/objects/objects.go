// Package objects writes the audit trail to an S3 bucket: gzipped JSON lines, an object
// for each part of a chain.
//
// The name says the time of its first record, the chain, and the numbers of its first
// and last record, so that names sort by time and no two parts share one:
//
//	prefix/2026/03/04/20260304T050607Z-aud_…-000000000001-000000000500.jsonl.gz
//
// An object is only ever made (If-None-Match: *), never replaced. One that is there
// already is taken for ours only if it holds the same records; else the part gets
// another name. It must never overwrite or delete.
package objects

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/service/audit"
)

// Store takes requests of S3 (s3client.Client).
type Store interface {
	Do(ctx context.Context, out *s3.Outgoing) (*http.Response, error)
}

// Config says where objects go.
type Config struct {
	Name   string // of the target
	Store  Store
	Bucket string
	Prefix string // without slashes at its ends; may be empty
	// As gives the keys to sign with; nil: the store has its own.
	As func(ctx context.Context) (credential.Temporary, error)
}

// Bucket is a target. Safe for concurrent use.
type Bucket struct{ Config }

var _ audit.Target = (*Bucket)(nil)

// New makes a target of a bucket, which has to be there.
func New(c Config) *Bucket { return &Bucket{c} }

// Name is the target's name.
func (b *Bucket) Name() string { return b.Config.Name }

const (
	// mostNames is how many names a part is tried under, where others hold something else.
	mostNames = 5
	// mostObject bounds what is read of an object that is there already, in bytes.
	mostObject = 256 << 20
)

// Put writes one object. Faults: Misconfigured where the store refuses us,
// Unavailable otherwise.
func (b *Bucket) Put(ctx context.Context, documents []audit.Document) error {
	if len(documents) == 0 {
		return nil
	}
	content, err := pack(documents)
	if err != nil {
		return err
	}
	for i := range mostNames {
		key := b.key(documents, i)
		made, err := b.put(ctx, key, content)
		if err != nil || made {
			return err
		}
		if same, err := b.holds(ctx, key, documents); err != nil || same {
			return err
		}
	}
	return fault.New(fault.Conflict, "bucket "+b.Config.Bucket+" holds other objects by the names of these records: "+b.key(documents, 0)).
		WithMend("find out who else writes there; nobody but Carnet should")
}

func (b *Bucket) key(documents []audit.Document, other int) string {
	first, last := documents[0], documents[len(documents)-1]
	at := first.EventTime.UTC()
	key := fmt.Sprintf("%s/%s-%s-%012d-%012d", at.Format("2006/01/02"), at.Format("20060102T150405Z"), word(first.Chain.Writer), first.Chain.Seq, last.Chain.Seq)
	if other > 0 {
		key += fmt.Sprintf("-%d", other)
	}
	if b.Prefix != "" {
		key = b.Prefix + "/" + key
	}
	return key + ".jsonl.gz"
}

// word keeps a chain's name one part of a key.
func word(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '-'
	}, text)
}

// pack gives the same bytes for the same documents.
func pack(documents []audit.Document) ([]byte, error) {
	lines, err := audit.Lines(documents)
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err = z.Write(lines)
	err = errors.Join(err, z.Close())
	return packed.Bytes(), err
}

// put makes an object; not made where one is there by that name.
func (b *Bucket) put(ctx context.Context, key string, content []byte) (made bool, err error) {
	sum := sha256.Sum256(content)
	status, code, _, err := b.do(ctx, &s3.Outgoing{Method: http.MethodPut, Bucket: b.Config.Bucket, Key: key, Document: content, Header: map[string][]string{
		"If-None-Match": {"*"}, "Content-Type": {"application/gzip"}, "X-Amz-Checksum-Sha256": {base64.StdEncoding.EncodeToString(sum[:])},
	}}, nil)
	switch {
	case err != nil:
		return false, err
	case status/100 == 2:
		return true, nil
	case status == http.StatusPreconditionFailed:
		return false, nil
	}
	said := fmt.Sprintf("the store answers %d %s to PUT of an object in bucket %s", status, code, b.Config.Bucket)
	switch status {
	case http.StatusForbidden, http.StatusUnauthorized:
		return false, fault.New(fault.Misconfigured, said).WithMend("its keys need s3:PutObject there")
	case http.StatusNotFound:
		return false, fault.New(fault.Misconfigured, said).WithMend("make the bucket")
	case http.StatusNotImplemented, http.StatusBadRequest:
		return false, fault.New(fault.Misconfigured, said).WithMend("the store has to know If-None-Match")
	}
	return false, fault.New(fault.Unavailable, said)
}

// holds reports whether an object that is there holds the same records. One that we
// may not read is taken for another: its records then stand twice.
func (b *Bucket) holds(ctx context.Context, key string, documents []audit.Document) (same bool, err error) {
	status, code, same, err := b.do(ctx, &s3.Outgoing{Method: http.MethodGet, Bucket: b.Config.Bucket, Key: key}, func(body io.Reader) bool { return equal(body, documents) })
	switch {
	case err != nil:
		return false, err
	case status == http.StatusOK:
		return same, nil
	case status == http.StatusForbidden:
		return false, nil
	}
	return false, fault.New(fault.Unavailable, fmt.Sprintf("the store answers %d %s to GET of %s in bucket %s", status, code, key, b.Config.Bucket))
}

// equal compares the places in the chain, not the text: a later release may write
// more of a record.
func equal(body io.Reader, documents []audit.Document) bool {
	z, err := gzip.NewReader(body)
	if err != nil {
		return false
	}
	lines := bufio.NewScanner(io.LimitReader(z, mostObject))
	lines.Buffer(nil, 1<<20)
	for _, want := range documents {
		var have struct {
			Chain audit.Link `json:"chain"`
		}
		if !lines.Scan() || json.Unmarshal(lines.Bytes(), &have) != nil || have.Chain != want.Chain {
			return false
		}
	}
	return !lines.Scan() && lines.Err() == nil
}

// mostSaid bounds what is read of a store's refusal.
const mostSaid = 64 << 10

func (b *Bucket) do(ctx context.Context, out *s3.Outgoing, read func(io.Reader) bool) (status int, code string, good bool, err error) {
	if b.As != nil {
		keys, err := b.As(ctx)
		if err != nil {
			return 0, "", false, fault.Wrap(err, fault.Misconfigured, "Carnet has no AWS identity of its own to write with").WithMend("set secrets.aws, or give the server's machine a role")
		}
		out.As = &keys
	}
	resp, err := b.Store.Do(ctx, out)
	if err != nil {
		return 0, "", false, fault.Wrap(err, fault.Unavailable, "the store of bucket "+b.Config.Bucket+" can't be reached").WithMend("look at the upstream of this audit target")
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK && read != nil {
		good = read(resp.Body)
	} else if said, err := io.ReadAll(io.LimitReader(resp.Body, mostSaid)); err == nil && resp.StatusCode/100 != 2 {
		refusal, _ := s3.ReadError(said)
		code = fault.Clip(word(refusal.Code))
	}
	return resp.StatusCode, code, good, nil
}
