package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/iam"
)

// ReplaceIdP enters p, or gives the one of its name p's metadata: for
// development, where its address changes with the ports. People and settings
// stay.
func (srv *Server) ReplaceIdP(ctx context.Context, p federation.IdP) error {
	for _, old := range srv.federation.List() {
		if old.Name != p.Name {
			continue
		}
		if bytes.Equal(old.Metadata, p.Metadata) {
			return nil
		}
		old.Metadata = p.Metadata
		_, err := srv.federation.Update(ctx, old)
		return err
	}
	_, err := srv.federation.Add(ctx, p)
	return err
}

// planAuthority compares an authority file with what is stored.
func (s *state) planAuthority(ctx context.Context, path string) (*iam.Plan, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "cannot read the authority file "+path)
	}
	folder := filepath.Dir(path)
	a, err := iam.ParseAuthority(text, func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(folder, name)
		}
		return os.ReadFile(name)
	})
	if err != nil {
		return nil, err
	}
	return s.iam.Plan(ctx, a)
}

func (s *state) applyAuthorityFile(ctx context.Context, path string) (*iam.Plan, error) {
	p, err := s.planAuthority(ctx, path)
	if err != nil {
		return nil, err
	}
	return p, s.iam.Apply(ctx, p)
}

// ApplyAuthorityFile makes the local accounts what a file says.
func (srv *Server) ApplyAuthorityFile(ctx context.Context, path string) error {
	_, err := srv.applyAuthorityFile(ctx, path)
	return err
}

// ApplyAuthority brings into the local accounts what text says, and deletes
// nothing else; read gives the files that it names.
func (srv *Server) ApplyAuthority(ctx context.Context, text []byte, read func(string) ([]byte, error)) error {
	a, err := iam.ParseAuthority(text, read)
	if err != nil {
		return err
	}
	p, err := srv.iam.PlanOver(ctx, a)
	if err != nil {
		return err
	}
	return srv.iam.Apply(ctx, p)
}

// PutIfMissing puts an object into the store behind its bucket, and the bucket
// too: the demo's data comes in this way, not through the gateway.
func (srv *Server) PutIfMissing(ctx context.Context, bucket, key, contentType string, body []byte) error {
	rule, ok := srv.config.BucketRule(bucket)
	if !ok {
		return fault.New(fault.Misconfigured, "no rule covers the bucket "+bucket)
	}
	up := srv.stores.byName[rule.Upstream].Upstream
	head, err := up.Do(ctx, &s3.Outgoing{Method: http.MethodHead, Bucket: bucket, Key: key})
	if err != nil {
		return err
	}
	_ = head.Body.Close()
	if head.StatusCode == http.StatusOK && head.ContentLength == int64(len(body)) {
		return nil
	}
	if err := call(ctx, up, http.MethodPut, bucket); err != nil {
		return err
	}
	put, err := up.Do(ctx, &s3.Outgoing{
		Method: http.MethodPut, Bucket: bucket, Key: key, Header: map[string][]string{"Content-Type": {contentType}},
		Body: bytes.NewReader(body), Length: int64(len(body)),
	})
	if err != nil {
		return err
	}
	defer put.Body.Close()
	if put.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(put.Body, 4<<10))
		return fmt.Errorf("put s3://%s/%s: the store answers %d: %s", bucket, key, put.StatusCode, said)
	}
	return nil
}
