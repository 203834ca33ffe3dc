package dev

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"carnet.dev/carnet/internal/app/server"
	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/protocol/oidc"
)

// demoWorkload is a program without a person: a service principal with a key.
const demoWorkload = "nightly"

// workload is where it is found.
type workload struct {
	id   string // client id, and the end of its sub
	key  string // path of its private key
	role arn.Role
}

// openWorkload makes the service principal and its key at the first start.
func openWorkload(ctx context.Context, srv *server.Server, data string) (w workload, err error) {
	w.role = arn.Role{Partition: "aws", Account: analytics, Path: "/", Name: demoWorkload}
	folder := filepath.Join(data, "workload")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return w, err
	}
	w.key = filepath.Join(folder, demoWorkload+".key")
	text, err := os.ReadFile(w.key)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = newWorkloadKey(w.key)
	}
	if err != nil {
		return w, err
	}
	key, err := oidc.ReadSigningKey(text)
	if err != nil {
		return w, err
	}
	id, err := srv.EnsureWorkload(ctx, demoWorkload, w.role, key.Private.Public())
	w.id = string(id)
	return w, err
}

func newWorkloadKey(path string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return text, place(path, 0o600, bytes.NewReader(text))
}
