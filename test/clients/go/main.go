// The AWS SDK for Go v2, with its manager for uploads in parts and its presign
// client. Prints one line of JSON for each operation.
package main

//lint:file-ignore SA1019 feature/s3/manager is what most programs still use

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

var (
	ctx    = context.Background()
	client *s3.Client
	bucket = aws.String(os.Getenv("CLIENT_BUCKET"))
	prefix = os.Getenv("CLIENT_PREFIX")
	source = os.Getenv("CLIENT_SOURCE")
)

func main() {
	settings, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	client = s3.NewFromConfig(settings, func(o *s3.Options) {
		o.BaseEndpoint, o.UsePathStyle = aws.String(os.Getenv("CLIENT_ENDPOINT")), true
	})
	operations := map[string]func(line map[string]any) error{
		"put": put, "stream": stream, "multipart": multipart, "copy": copied, "presign": presign, "list": list, "odd": odd,
	}
	lines := json.NewEncoder(os.Stdout)
	_ = lines.Encode(map[string]any{"op": "version", "version": aws.SDKVersion})
	for _, op := range os.Args[1:] {
		line := map[string]any{"op": op}
		if err := operations[op](line); err != nil {
			line["error"] = err.Error()
		}
		_ = lines.Encode(line)
	}
}

func put(map[string]any) error {
	return both("put.csv", bytes.NewReader(content("small.csv")))
}

// stream sends what can be read once: no length, no way back.
func stream(map[string]any) error {
	return both("stream.csv", struct{ io.Reader }{bytes.NewReader(content("small.csv"))})
}

func both(name string, body io.Reader) error {
	in := &s3.PutObjectInput{Bucket: bucket, Key: aws.String(prefix + name), Body: body}
	if _, seeks := body.(io.Seeker); !seeks {
		in.ContentLength = aws.Int64(int64(len(content("small.csv"))))
	}
	if _, err := client.PutObject(ctx, in); err != nil {
		return err
	}
	return fetch(prefix+name, name)
}

func multipart(map[string]any) error {
	up := manager.NewUploader(client, func(u *manager.Uploader) { u.PartSize = 5 << 20 })
	key := aws.String(prefix + "multipart.csv")
	body := struct{ io.Reader }{bytes.NewReader(content("big.csv"))}
	if _, err := up.Upload(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: body}); err != nil {
		return err
	}
	back := manager.NewWriteAtBuffer(nil)
	if _, err := manager.NewDownloader(client).Download(ctx, back, &s3.GetObjectInput{Bucket: bucket, Key: key}); err != nil {
		return err
	}
	return keep("multipart.csv", back.Bytes())
}

func copied(map[string]any) error {
	from := *bucket + "/" + strings.ReplaceAll(url.PathEscape(source), "%2F", "/")
	if _, err := client.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: aws.String(prefix + "copy.csv"), CopySource: &from}); err != nil {
		return err
	}
	return fetch(prefix+"copy.csv", "copy.csv")
}

func presign(line map[string]any) error {
	signed, err := s3.NewPresignClient(client).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: &source}, s3.WithPresignExpires(5*time.Minute))
	if err == nil {
		line["url"] = signed.URL
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
		_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String(prefix + "odd/" + name), Body: bytes.NewReader(content("odd/" + name))})
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
	got, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: &key})
	if err != nil {
		return err
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
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
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: bucket, Prefix: &under})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, o := range page.Contents {
			keys.WriteString(*o.Key + "\n")
		}
	}
	return keep(name, []byte(keys.String()))
}
