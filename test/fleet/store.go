//go:build interop

package fleet

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/storeproc"
)

// Store is a real S3 store, a process of its own, which all servers reach by TCP.
type Store struct {
	URL string
	id  string
	key secret.Text
	s3  *awss3.Client // one, so that connections are used again
}

func startStore(t testing.TB, binary string) *Store {
	t.Helper()
	own, err := storeproc.Start(context.Background(), storeproc.Config{Binary: binary, Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go accept(l, func() (net.Conn, error) { return own.Dial(context.Background(), "", "") })
	s := &Store{URL: "http://" + l.Addr().String(), id: own.AccessKeyID(), key: own.SecretKey()}
	s.s3 = awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: &s.URL, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.id, s.key.Reveal(), "")})
	if _, err := s.s3.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String(Bucket)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.s3.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: aws.String(Bucket), Key: aws.String(Object), Body: strings.NewReader(Content)}); err != nil {
		t.Fatal(err)
	}
	return s
}

// Get reads an object of Bucket at the store itself, past all gateways.
func (s *Store) Get(ctx context.Context, key string) (string, error) {
	out, err := s.s3.GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String(Bucket), Key: &key})
	if err != nil {
		return "", err
	}
	defer out.Body.Close()
	content, err := io.ReadAll(out.Body)
	return string(content), err
}

// accept passes connections on, byte by byte, until the listener closes. One that nobody
// takes is closed.
func accept(l net.Listener, dial func() (net.Conn, error)) {
	for {
		near, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			far, err := dial()
			if err != nil {
				_ = near.Close()
				return
			}
			go func() {
				_, _ = io.Copy(far, near)
				closeWrite(far)
			}()
			_, _ = io.Copy(near, far)
			_ = near.Close()
			_ = far.Close()
		}()
	}
}

func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}
