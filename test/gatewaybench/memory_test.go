//go:build interop

package gatewaybench

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
)

var (
	uploads = flag.Int("uploads", 500, "slow uploads at once")
	feed    = flag.Duration("feed", time.Minute, "how long they are fed")
)

const (
	mostMiB    = 300      // of the process under slow uploads
	mostGrowth = 32       // MiB: by large uploads, and by idle connections
	declared   = 1 << 30  // bytes that each slow upload says it has
	perSecond  = 64 << 10 // bytes of each that come in a second
	gulp       = 16 << 10
)

// TestMemoryGateway holds what a process of the gateway may take. The store is
// the embedded one, a process of its own, so that what is visible after an
// upload was cut is what a real store shows.
func TestMemoryGateway(t *testing.T) {
	issuer := issuertest.New(t)
	g := startGateway(t, "", "", "", issuer)
	keys := g.roleKeys(t, issuer)
	api := s3.New(s3.Options{Region: region, BaseEndpoint: aws.String(g.url()), UsePathStyle: true, Credentials: credentials.StaticCredentialsProvider{Value: keys}})
	if _, err := api.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		t.Fatal(err)
	}
	for range 3 { // what every server keeps: connections, pools
		large(t, g, keys, 4, 8<<20)
	}
	time.Sleep(time.Second)
	idle, _ := resident(t, g.pid)
	fmt.Printf("%d MiB after the start\n", int(idle))

	t.Run("four uploads of 64 MiB", func(t *testing.T) {
		for _, size := range []int64{64 << 20, 256 << 20} {
			resetPeak(t, g.pid)
			large(t, g, keys, 4, size)
			_, peak := resident(t, g.pid)
			fmt.Printf("4 uploads of %d MiB: at most %d MiB, %+d\n", size>>20, int(peak), int(peak-idle))
			if peak-idle > mostGrowth {
				t.Errorf("4 uploads of %d MiB take %.0f MiB more", size>>20, peak-idle)
			}
		}
	})
	t.Run("256 idle connections", func(t *testing.T) {
		resetPeak(t, g.pid)
		at := &target{process: g.process, request: get(t, g.address, keys, 8<<20)}
		at.head = bytes.Replace(at.head, []byte("GET"), []byte("HEAD"), 1)
		for range 256 {
			c, err := at.connect()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			// It is refused, the signature being that of a GET, and stays open.
			if err := c.send(at.request); err != nil {
				t.Fatal(err)
			}
			if _, err := c.r.Peek(12); err != nil {
				t.Fatal(err)
			}
		}
		_, peak := resident(t, g.pid)
		fmt.Printf("256 idle connections: at most %d MiB, %+d\n", int(peak), int(peak-idle))
		if peak-idle > mostGrowth {
			t.Errorf("256 idle connections take %.0f MiB more", peak-idle)
		}
	})
	t.Run("slow uploads that are cut", func(t *testing.T) { slowUploads(t, g, keys, api) })
}

// large puts objects of their own at once.
func large(t *testing.T, g *gateway, keys aws.Credentials, c int, size int64) {
	t.Helper()
	var wait sync.WaitGroup
	for _, m := range []mode{unsigned, hashed, chunked, unsignedTrailer}[:c] {
		wait.Go(func() {
			at := &target{process: g.process, request: put(t, g.address, keys, size, m)}
			one, err := at.connect()
			if err != nil {
				t.Error(err)
				return
			}
			defer one.Close()
			if err := one.once(at.request); err != nil {
				t.Errorf("%v: %v", m, err)
			}
		})
	}
	wait.Wait()
}

// slowUploads feeds many uploads for a while and cuts them.
func slowUploads(t *testing.T, g *gateway, keys aws.Credentials, api *s3.Client) {
	multipart, err := api.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: aws.String("parts")})
	if err != nil {
		t.Fatal(err)
	}
	before := files(t, g.dir)
	resetPeak(t, g.pid)
	var fed atomic.Int64
	var wait sync.WaitGroup
	stop := make(chan struct{})
	for i := range *uploads {
		wait.Go(func() {
			c, err := slow(t, g, keys, i, *multipart.UploadId)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			next := time.NewTicker(time.Second * gulp / perSecond)
			defer next.Stop()
			for began, sent := time.Now(), 0.0; ; {
				select {
				case <-stop:
					return
				case <-next.C:
				}
				for ; sent+gulp <= time.Since(began).Seconds()*perSecond; sent += gulp {
					if _, err := c.Write(pattern[:gulp]); err != nil {
						said, _ := io.ReadAll(io.LimitReader(bufio.NewReader(c), 2000))
						t.Errorf("upload %d was cut off: %v %s", i, err, said)
						return
					}
					fed.Add(gulp)
				}
			}
		})
	}
	for end := time.Now().Add(*feed); time.Now().Before(end) && !t.Failed(); time.Sleep(5 * time.Second) {
		now, peak := resident(t, g.pid)
		fmt.Printf("%d slow uploads: %d MiB fed, the gateway has %d MiB, at most %d\n", *uploads, fed.Load()>>20, int(now), int(peak))
	}
	_, peak := resident(t, g.pid)
	close(stop)
	wait.Wait()
	if peak > mostMiB {
		t.Errorf("the gateway took %.0f MiB, over %d", peak, mostMiB)
	}
	if want := int64(*uploads) * int64(feed.Seconds()) * perSecond; fed.Load() < want*8/10 {
		t.Errorf("only %d of %d MiB were fed: this machine is too busy for the figure to count", fed.Load()>>20, want>>20)
	}
	nothing(t, g, api, *multipart.UploadId, before)
}

// slow begins an upload: every other one a part, in the four modes by turns. The
// signatures of its chunks are not yet due when it is cut.
func slow(t *testing.T, g *gateway, keys aws.Credentials, i int, upload string) (net.Conn, error) {
	r := newRequest(t, http.MethodPut, g.address, declared)
	r.URL.Path, r.URL.RawPath = fmt.Sprintf("/%s/slow/%d", bucket, i), ""
	if i%2 == 1 {
		r.URL.Path = "/" + bucket + "/parts"
		r.URL.RawQuery = fmt.Sprintf("partNumber=%d&uploadId=%s", i%100+1, upload)
	}
	hash, length, first := "UNSIGNED-PAYLOAD", int64(declared), ""
	switch i / 2 % 4 {
	case 1:
		hash = strings.Repeat("0123456789abcdef", 4)
	case 2:
		hash, first = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", fmt.Sprintf("%x;chunk-signature=%s\r\n", declared, strings.Repeat("0", 64))
		length += 2 * 200 // more than the frame has; it never comes
	case 3:
		hash, first = "STREAMING-UNSIGNED-PAYLOAD-TRAILER", fmt.Sprintf("%x\r\n", declared)
		r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
		length += 2 * 200
	}
	if first != "" {
		r.Header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(declared))
	}
	r.Header.Set("X-Amz-Content-Sha256", hash)
	r.Header.Set("Content-Length", fmt.Sprint(length))
	r.sign(t, keys, hash)
	target := r.URL.EscapedPath()
	if r.URL.RawQuery != "" {
		target += "?" + r.URL.RawQuery
	}
	done := r.finish(unsigned, nil)
	c, err := net.Dial("tcp", g.address)
	if err != nil {
		return nil, err
	}
	_, rest, _ := bytes.Cut(done.head, []byte("\r\n"))
	_, err = fmt.Fprintf(c, "PUT %s HTTP/1.1\r\n%s%s", target, rest, first)
	return c, err
}

// nothing demands that no object and no part is there, and that the store's disk
// has no file more than before.
func nothing(t *testing.T, g *gateway, api *s3.Client, upload string, before map[string]bool) {
	t.Helper()
	list, err := api.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: aws.String("slow/")})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Contents) > 0 {
		t.Errorf("%d objects are visible, %s among them", len(list.Contents), *list.Contents[0].Key)
	}
	parts, err := api.ListParts(t.Context(), &s3.ListPartsInput{Bucket: aws.String(bucket), Key: aws.String("parts"), UploadId: &upload})
	if err != nil {
		t.Fatal(err)
	}
	if len(parts.Parts) > 0 {
		t.Errorf("%d parts are visible", len(parts.Parts))
	}
	var more []string
	for began := time.Now(); time.Since(began) < 20*time.Second; time.Sleep(200 * time.Millisecond) {
		more = nil
		for name := range files(t, g.dir) {
			if !before[name] {
				more = append(more, name)
			}
		}
		if len(more) == 0 {
			fmt.Println("nothing of them is visible, nor left on the store's disk")
			return
		}
	}
	t.Errorf("%d files are left on the store's disk: %s", len(more), more[0])
}

// files lists what lies in the embedded store's folder.
func files(t *testing.T, dir string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	err := filepath.WalkDir(filepath.Join(dir, "store"), func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err == nil && !d.IsDir() {
			all[path] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
