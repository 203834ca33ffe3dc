package gateway_test

//lint:file-ignore SA1019 feature/s3/manager is what most programs still use

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

func pathUnescape(s string) (string, error) { return url.PathUnescape(s) }

// both runs a test over http, where the SDK signs payload hashes, and over
// https, where it streams with trailers.
func both(t *testing.T, run func(t *testing.T, w *world, server *httptest.Server, c *awss3.Client)) {
	t.Helper()
	t.Parallel()
	w := newWorld(t)
	for name, server := range map[string]*httptest.Server{"http": w.http, "https": w.tls} {
		t.Run(name, func(t *testing.T) { run(t, w, server, client(server, alice)) })
	}
}

// oddKeys are ordinary keys that tidy software breaks.
var oddKeys = []string{
	"plain.csv", "with space", "plus+plus", "percent%41%", "q?m#h", "a&b=c;d", "ünïcödé/日本語", "quote'\"<>",
	"deep/er/and/deeper", "~tilde-_.", "(paren)*!", "back\\slash", "comma,colon:@$", "trailing/",
}

func TestObjectsAndOddKeys(t *testing.T) {
	both(t, func(t *testing.T, w *world, _ *httptest.Server, c *awss3.Client) {
		ctx := context.Background()
		for _, key := range oddKeys {
			content := "content of " + key
			if strings.HasSuffix(key, "/") {
				content = ""
			}
			put, err := c.PutObject(ctx, &awss3.PutObjectInput{
				Bucket: aws.String("sales"), Key: &key, Body: strings.NewReader(content),
				Metadata: map[string]string{"who": "alice"}, ContentType: aws.String("text/csv"),
			})
			if err != nil {
				t.Fatalf("put %q: %v", key, err)
			}
			get, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String("sales"), Key: &key})
			if err != nil {
				t.Fatalf("get %q: %v", key, err)
			}
			got, err := io.ReadAll(get.Body)
			if err != nil || string(got) != content {
				t.Errorf("get %q: %q, %v", key, got, err)
			}
			if aws.ToString(get.ETag) != aws.ToString(put.ETag) || get.ContentEncoding != nil || get.Metadata["who"] != "alice" || content != "" && aws.ToString(get.ContentType) != "text/csv" {
				t.Errorf("get %q: etag %v, metadata %v, type %v", key, aws.ToString(get.ETag), get.Metadata, aws.ToString(get.ContentType))
			}
			if strings.HasSuffix(key, "/") {
				continue // the embedded store can't copy folders' own objects
			}
			copied := key + ".copy"
			if _, err := c.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: aws.String("sales"), Key: &copied, CopySource: aws.String("sales/" + url.PathEscape(key))}); err != nil {
				t.Errorf("copy %q: %v", key, err)
			}
			if _, err := c.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: aws.String("sales"), Key: &copied}); err != nil {
				t.Errorf("head of the copy of %q: %v", key, err)
			}
		}
		listed := list(t, c, "sales", "")
		for _, key := range oddKeys {
			if !slices.Contains(listed, key) {
				t.Errorf("%q is not listed in %q", key, listed)
			}
		}
		deleteAll(t, c, "sales", listed)
		if left := list(t, c, "sales", ""); len(left) != 0 {
			t.Errorf("left after the batch: %q", left)
		}
	})
}

func list(t *testing.T, c *awss3.Client, bucket, prefix string) []string {
	t.Helper()
	var keys []string
	pages := awss3.NewListObjectsV2Paginator(c, &awss3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix, MaxKeys: aws.Int32(7)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	return keys
}

func deleteAll(t *testing.T, c *awss3.Client, bucket string, keys []string) {
	t.Helper()
	var ids []types.ObjectIdentifier
	for _, k := range keys {
		ids = append(ids, types.ObjectIdentifier{Key: aws.String(k)})
	}
	out, err := c.DeleteObjects(context.Background(), &awss3.DeleteObjectsInput{Bucket: &bucket, Delete: &types.Delete{Objects: ids}})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Errors) != 0 || len(out.Deleted) != len(keys) {
		t.Errorf("batch delete: %v, %d deleted", out.Errors, len(out.Deleted))
	}
}

func TestMultipart(t *testing.T) {
	both(t, func(t *testing.T, w *world, server *httptest.Server, c *awss3.Client) {
		ctx, bucket, key := context.Background(), aws.String("sales"), aws.String("big file")
		data := make([]byte, 12<<20+17)
		fill := rand.NewChaCha8([32]byte{1})
		_, _ = fill.Read(data)
		up := manager.NewUploader(c, func(u *manager.Uploader) { u.PartSize = 5 << 20; u.Concurrency = 2 })
		if _, err := up.Upload(ctx, &awss3.PutObjectInput{Bucket: bucket, Key: key, Body: bytes.NewReader(data)}); err != nil {
			t.Fatal(err)
		}
		buf := manager.NewWriteAtBuffer(nil)
		if _, err := manager.NewDownloader(c).Download(ctx, buf, &awss3.GetObjectInput{Bucket: bucket, Key: key}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(buf.Bytes(), data) {
			t.Error("the download is not the upload")
		}
		created, err := c.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String("joined")})
		if err != nil {
			t.Fatal(err)
		}
		part, err := c.UploadPartCopy(ctx, &awss3.UploadPartCopyInput{
			Bucket: bucket, Key: aws.String("joined"), UploadId: created.UploadId, PartNumber: aws.Int32(1),
			CopySource: aws.String("sales/big%20file"), CopySourceRange: aws.String("bytes=0-99"),
		})
		if err != nil {
			t.Fatal(err)
		}
		parts, err := c.ListParts(ctx, &awss3.ListPartsInput{Bucket: bucket, Key: aws.String("joined"), UploadId: created.UploadId})
		if err != nil || len(parts.Parts) != 1 {
			t.Fatalf("parts %v, %v", parts, err)
		}
		uploads, err := c.ListMultipartUploads(ctx, &awss3.ListMultipartUploadsInput{Bucket: bucket})
		if err != nil || len(uploads.Uploads) != 1 {
			t.Fatalf("uploads %v, %v", uploads, err)
		}
		done, err := c.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{
			Bucket: bucket, Key: aws.String("joined"), UploadId: created.UploadId,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: part.CopyPartResult.ETag}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := server.URL + "/sales/joined"; aws.ToString(done.Location) != want {
			t.Errorf("location %v, want %s", aws.ToString(done.Location), want)
		}
		aborted, err := c.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String("given up")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: bucket, Key: aws.String("given up"), UploadId: aborted.UploadId}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestReadsOfManyKinds(t *testing.T) {
	both(t, func(t *testing.T, w *world, _ *httptest.Server, c *awss3.Client) {
		ctx, bucket, key := context.Background(), aws.String("sales"), aws.String("r")
		put, err := c.PutObject(ctx, &awss3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("0123456789"), Tagging: aws.String("team=a%20b"), ContentEncoding: aws.String("identity")})
		if err != nil {
			t.Fatal(err)
		}
		part, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: key, Range: aws.String("bytes=2-4")})
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(part.Body); string(b) != "234" || aws.ToString(part.ContentRange) != "bytes 2-4/10" || aws.ToString(part.ContentEncoding) != "identity" {
			t.Errorf("range: %q %v %v", b, aws.ToString(part.ContentRange), aws.ToString(part.ContentEncoding))
		}
		_, err = c.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: key, Range: aws.String("bytes=50-")})
		wantCode(t, err, "InvalidRange", 416)
		_, err = c.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: key, IfNoneMatch: put.ETag})
		wantCode(t, err, "NotModified", 304)
		_, err = c.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: key, IfMatch: aws.String(`"nope"`)})
		wantCode(t, err, "PreconditionFailed", 412)
		_, err = c.PutObject(ctx, &awss3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("x"), IfNoneMatch: aws.String("*")})
		wantCode(t, err, "PreconditionFailed", 412)
		tags, err := c.GetObjectTagging(ctx, &awss3.GetObjectTaggingInput{Bucket: bucket, Key: key})
		if err != nil || len(tags.TagSet) != 1 || *tags.TagSet[0].Value != "a b" {
			t.Errorf("tags %v, %v", tags, err)
		}
		if _, err := c.PutObjectTagging(ctx, &awss3.PutObjectTaggingInput{Bucket: bucket, Key: key, Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("k+ key"), Value: aws.String("")}}}}); err != nil {
			t.Error(err)
		}
		if _, err := c.DeleteObjectTagging(ctx, &awss3.DeleteObjectTaggingInput{Bucket: bucket, Key: key}); err != nil {
			t.Error(err)
		}
		v1, err := c.ListObjects(ctx, &awss3.ListObjectsInput{Bucket: bucket, Prefix: aws.String("r"), Delimiter: aws.String("/")})
		if err != nil || len(v1.Contents) != 1 {
			t.Errorf("list v1: %v, %v", v1, err)
		}
		for _, algorithm := range []types.ChecksumAlgorithm{types.ChecksumAlgorithmCrc32, types.ChecksumAlgorithmCrc32c, types.ChecksumAlgorithmCrc64nvme, types.ChecksumAlgorithmSha1, types.ChecksumAlgorithmSha256} {
			if _, err := c.PutObject(ctx, &awss3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("sum"), ChecksumAlgorithm: algorithm}); err != nil {
				t.Errorf("%s: %v", algorithm, err)
			}
			head, err := c.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: bucket, Key: key, ChecksumMode: types.ChecksumModeEnabled})
			if err != nil {
				t.Fatal(err)
			}
			if head.ChecksumCRC32 == nil && head.ChecksumCRC32C == nil && head.ChecksumCRC64NVME == nil && head.ChecksumSHA1 == nil && head.ChecksumSHA256 == nil {
				t.Errorf("%s was not kept", algorithm)
			}
		}
		if _, err := c.PutObject(ctx, &awss3.PutObjectInput{Bucket: bucket, Key: aws.String("empty")}); err != nil {
			t.Error(err)
		}
	})
}

func wantCode(t *testing.T, err error, code string, status int) {
	t.Helper()
	var api smithy.APIError
	var res interface{ HTTPStatusCode() int }
	if !errors.As(err, &api) || !errors.As(err, &res) {
		t.Errorf("want %s, have %v", code, err)
		return
	}
	if api.ErrorCode() != code || res.HTTPStatusCode() != status {
		t.Errorf("want %d %s, have %d %v", status, code, res.HTTPStatusCode(), err)
	}
}

func TestPresigned(t *testing.T) {
	both(t, func(t *testing.T, w *world, server *httptest.Server, c *awss3.Client) {
		ctx := context.Background()
		presign := awss3.NewPresignClient(c)
		put, err := presign.PresignPutObject(ctx, &awss3.PutObjectInput{Bucket: aws.String("sales"), Key: aws.String("shared by link"), Tagging: aws.String("a=b")})
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest(put.Method, put.URL, strings.NewReader("by link"))
		if err != nil {
			t.Fatal(err)
		}
		for name, v := range put.SignedHeader {
			if name != "Host" {
				req.Header[name] = v
			}
		}
		if res := fetch(t, server, req); res != "200 " {
			t.Errorf("presigned PUT: %s", res)
		}
		get, err := presign.PresignGetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String("sales"), Key: aws.String("shared by link"), ResponseContentType: aws.String("text/html")})
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range []struct {
			edit func(string) string
			want string
		}{
			{func(u string) string { return u }, "200 by link"},
			{func(u string) string { return u + "&X-Amz-Expires=5" }, "400 InvalidArgument"},
			{func(u string) string { return u + "&x-amz-signature=00" }, "400 AuthorizationQueryParametersError"},
			{func(u string) string { return u + "&versionId=1" }, "403 SignatureDoesNotMatch"},
			{func(u string) string { return strings.Replace(u, "by%20link", "by%20luck", 1) }, "403 SignatureDoesNotMatch"},
			{func(u string) string {
				return strings.Replace(u, "X-Amz-Security-Token=alice", "X-Amz-Security-Token=other", 1)
			}, "400 InvalidToken"},
			{func(u string) string { return strings.Replace(u, "X-Amz-Expires=900", "X-Amz-Expires=604801", 1) }, "400 AuthorizationQueryParametersError"},
		} {
			req, err := http.NewRequest("GET", change.edit(get.URL), nil)
			if err != nil {
				t.Fatal(err)
			}
			if res := fetch(t, server, req); res != change.want {
				t.Errorf("presigned GET %s: %s, want %s", change.edit(get.URL), res, change.want)
			}
		}
		if strings.Contains(w.log.String(), "alice-token") || strings.Contains(w.log.String(), "X-Amz-Signature") {
			t.Error("the log holds a session token or signature")
		}
	})
}

// fetch gives "status body", or "status code" for an error document.
func fetch(t *testing.T, server *httptest.Server, req *http.Request) string {
	t.Helper()
	res, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if _, rest, ok := strings.Cut(string(b), "<Code>"); ok {
		code, _, _ := strings.Cut(rest, "</Code>")
		return res.Status[:4] + code
	}
	return res.Status[:4] + string(b)
}

func TestPresignedTimes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	get, err := awss3.NewPresignClient(client(w.http, alice)).PresignGetObject(context.Background(), &awss3.GetObjectInput{Bucket: aws.String("sales"), Key: aws.String("k")})
	if err != nil {
		t.Fatal(err)
	}
	for shift, want := range map[time.Duration]string{
		16 * time.Minute:  "403 AccessDenied", // expired
		-16 * time.Minute: "403 AccessDenied", // not valid yet
		14 * time.Minute:  "404 NoSuchKey",
	} {
		w.now = func() time.Time { return time.Now().Add(shift) }
		req, err := http.NewRequest("GET", get.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res := fetch(t, w.http, req); res != want {
			t.Errorf("presigned GET %v later: %s, want %s", shift, res, want)
		}
	}
}

func TestBuckets(t *testing.T) {
	both(t, func(t *testing.T, w *world, server *httptest.Server, c *awss3.Client) {
		ctx := context.Background()
		w.forbid()
		names := func(c *awss3.Client) (out []string) {
			l, err := c.ListBuckets(ctx, &awss3.ListBucketsInput{})
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range l.Buckets {
				if b.CreationDate.IsZero() {
					t.Errorf("bucket %s has no date", *b.Name)
				}
				out = append(out, *b.Name)
			}
			return out
		}
		if got := names(c); !slices.Equal(got, []string{"hr", "sales"}) {
			t.Errorf("alice sees %q", got)
		}
		if got := names(client(server, "ASIAOTHER0000000000B")); !slices.Equal(got, []string{"lab"}) {
			t.Errorf("the other account sees %q", got)
		}
		if _, err := c.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("newbucket")}); err != nil {
			t.Error(err)
		}
		_, err := c.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("unplaced-bucket")})
		wantCode(t, err, "AccessDenied", 403)
		_, err = c.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("another"), CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}})
		wantCode(t, err, "IllegalLocationConstraintException", 400)
		if _, err := c.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: aws.String("newbucket")}); err != nil {
			t.Error(err)
		}
		location, err := c.GetBucketLocation(ctx, &awss3.GetBucketLocationInput{Bucket: aws.String("newbucket")})
		if err != nil || location.LocationConstraint != "" {
			t.Errorf("location %v, %v", location, err)
		}
		if _, err := c.DeleteBucket(ctx, &awss3.DeleteBucketInput{Bucket: aws.String("newbucket")}); err != nil {
			t.Error(err)
		}
		_, err = c.GetBucketLocation(ctx, &awss3.GetBucketLocationInput{Bucket: aws.String("newbucket")})
		wantCode(t, err, "NoSuchBucket", 404)
		_, err = c.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: aws.String("unplaced")})
		wantCode(t, err, "NoSuchBucket", 404)
		_, err = c.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: aws.String("sales"), ExpectedBucketOwner: aws.String(other)})
		wantCode(t, err, "AccessDenied", 403)
		w.forbid("s3:ListAllMyBuckets *")
		_, err = c.ListBuckets(ctx, &awss3.ListBucketsInput{})
		wantCode(t, err, "AccessDenied", 403)
	})
}

func TestVirtualHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(t, "sales", "hr/x", "in sales")
	w.put(t, "hr", "x", "in hr")
	req := w.request(t, "GET", "/hr/x", "", func(r *http.Request) { r.Host = "sales.s3.test" })
	if res, body := send(t, req); res.StatusCode != 200 || body != "in sales" {
		t.Errorf("virtual host: %d %s", res.StatusCode, body)
	}
	if asked := w.asked(); len(asked) != 1 || asked[0].ARN() != "arn:aws:s3:::sales/hr/x" {
		t.Errorf("decided %v", asked)
	}
}
