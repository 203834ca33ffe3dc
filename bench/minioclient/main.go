// Command minioclient drives minio-go for the matrix of clients in test/clients.
// It stands here because the product does not depend on minio-go. It prints one
// line of JSON for each operation.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const module = "github.com/minio/minio-go/v7"

var (
	ctx    = context.Background()
	client *minio.Client
	bucket = os.Getenv("CLIENT_BUCKET")
	prefix = os.Getenv("CLIENT_PREFIX")
	source = os.Getenv("CLIENT_SOURCE")
)

func main() {
	if err := connect(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	operations := map[string]func(line map[string]any) error{
		"put": put, "stream": stream, "multipart": multipart, "copy": copied, "presign": presign, "list": list, "odd": odd,
	}
	lines := json.NewEncoder(os.Stdout)
	_ = lines.Encode(map[string]any{"op": "version", "version": version()})
	for _, op := range os.Args[1:] {
		line := map[string]any{"op": op}
		if err := operations[op](line); err != nil {
			line["error"] = err.Error()
		}
		_ = lines.Encode(line)
	}
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, m := range info.Deps {
			if m.Path == module {
				return strings.TrimPrefix(m.Version, "v")
			}
		}
	}
	return ""
}

func connect() error {
	endpoint, err := url.Parse(os.Getenv("CLIENT_ENDPOINT"))
	if err != nil {
		return err
	}
	transport, err := minio.DefaultTransport(endpoint.Scheme == "https")
	if err != nil {
		return err
	}
	if file := os.Getenv("CLIENT_CA"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	}
	client, err = minio.New(endpoint.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN")),
		Secure: endpoint.Scheme == "https", Region: os.Getenv("AWS_REGION"), BucketLookup: minio.BucketLookupPath, Transport: http.RoundTripper(transport),
	})
	return err
}

func put(map[string]any) error {
	body := content("small.csv")
	if _, err := client.PutObject(ctx, bucket, prefix+"put.csv", bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{}); err != nil {
		return err
	}
	return fetch(prefix+"put.csv", "put.csv")
}

func stream(map[string]any) error {
	body := struct{ io.Reader }{bytes.NewReader(content("small.csv"))}
	if _, err := client.PutObject(ctx, bucket, prefix+"stream.csv", body, -1, minio.PutObjectOptions{PartSize: 5 << 20}); err != nil {
		return err
	}
	return fetch(prefix+"stream.csv", "stream.csv")
}

func multipart(map[string]any) error {
	body := content("big.csv")
	if _, err := client.PutObject(ctx, bucket, prefix+"multipart.csv", bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{PartSize: 5 << 20}); err != nil {
		return err
	}
	return fetch(prefix+"multipart.csv", "multipart.csv")
}

func copied(map[string]any) error {
	_, err := client.CopyObject(ctx, minio.CopyDestOptions{Bucket: bucket, Object: prefix + "copy.csv"}, minio.CopySrcOptions{Bucket: bucket, Object: source})
	if err != nil {
		return err
	}
	return fetch(prefix+"copy.csv", "copy.csv")
}

func presign(line map[string]any) error {
	signed, err := client.PresignedGetObject(ctx, bucket, source, 5*time.Minute, nil)
	if err == nil {
		line["url"] = signed.String()
	}
	return err
}

func list(map[string]any) error { return keepList(os.Getenv("CLIENT_MANY"), "list") }

func odd(line map[string]any) error {
	var names []string
	if err := json.Unmarshal(content("odd.json"), &names); err != nil {
		return err
	}
	errors := map[string]string{}
	for _, name := range names {
		body := content("odd/" + name)
		_, err := client.PutObject(ctx, bucket, prefix+"odd/"+name, bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{})
		if err == nil {
			err = fetch(prefix+"odd/"+name, "odd/"+name)
		}
		if err != nil {
			errors[name] = err.Error()
		}
	}
	line["errors"] = errors
	return keepList(prefix+"odd/", "odd.list")
}

func content(name string) []byte {
	b, err := os.ReadFile(filepath.Join(os.Getenv("CLIENT_FILES"), name))
	if err != nil {
		panic(err)
	}
	return b
}

func fetch(key, name string) error {
	got, err := client.GetObject(ctx, bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return err
	}
	defer got.Close()
	body, err := io.ReadAll(got)
	if err != nil {
		return err
	}
	return keep(name, body)
}

// keep leaves what was read back where it is compared.
func keep(name string, body []byte) error {
	path := filepath.Join(os.Getenv("CLIENT_OUT"), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, body, 0o600)
}

func keepList(under, name string) error {
	var keys strings.Builder
	for o := range client.ListObjects(ctx, bucket, minio.ListObjectsOptions{Prefix: under, Recursive: true}) {
		if o.Err != nil {
			return o.Err
		}
		keys.WriteString(o.Key + "\n")
	}
	return keep(name, []byte(keys.String()))
}
