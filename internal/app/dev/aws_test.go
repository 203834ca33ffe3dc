package dev_test

//lint:file-ignore SA1019 feature/s3/manager is what most programs still use

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// refused wants an AWS error of a code and status, and gives its message.
func refused(t *testing.T, err error, status int, code string) string {
	t.Helper()
	var api smithy.APIError
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &api) || !errors.As(err, &answer) {
		t.Errorf("got %v, want %d %s", err, status, code)
		return ""
	}
	if api.ErrorCode() != code || answer.HTTPStatusCode() != status {
		t.Errorf("got %d %s (%s), want %d %s", answer.HTTPStatusCode(), api.ErrorCode(), api.ErrorMessage(), status, code)
	}
	return api.ErrorMessage()
}

// analystReads: alice lists and reads what her one role may, and no more.
func analystReads(t *testing.T, s side, keys aws.Credentials) {
	ctx, c := t.Context(), s.s3(keys)
	who, err := s.sts(keys).GetCallerIdentity(ctx, &awssts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	if *who.Account != "111122223333" || *who.Arn != "arn:aws:sts::111122223333:assumed-role/analyst/alice" || !strings.HasSuffix(*who.UserId, ":alice") {
		t.Errorf("caller identity %s %s %s", *who.Account, *who.Arn, *who.UserId)
	}
	if months := keysOf(t, c, "sales", "orders/"); len(months) != 12 || months[11] != "orders/2025-12.csv" {
		t.Errorf("orders: %q", months)
	}
	got, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String("sales"), Key: aws.String("products/products.csv"), Range: aws.String("bytes=0-9")})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := io.ReadAll(got.Body); err != nil || string(first) != "product_id" {
		t.Errorf("the first ten bytes are %q, %v", first, err)
	}
	const sentence = `User: arn:aws:sts::111122223333:assumed-role/analyst/alice is not authorized to perform: s3:GetObject on resource: ` +
		`"arn:aws:s3:::hr/salaries/2025.csv" because no identity-based policy allows the s3:GetObject action`
	_, err = c.GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String("hr"), Key: aws.String("salaries/2025.csv")})
	if said := refused(t, err, 403, "AccessDenied"); said != sentence {
		t.Errorf("denied with %q", said)
	}
	_, err = c.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: aws.String("hr")})
	refused(t, err, 403, "AccessDenied")
	_, err = c.PutObject(ctx, &awss3.PutObjectInput{Bucket: aws.String("sales"), Key: aws.String("orders/forged.csv"), Body: strings.NewReader("x")})
	refused(t, err, 403, "AccessDenied")
	_, err = c.ListBuckets(ctx, &awss3.ListBucketsInput{})
	refused(t, err, 403, "AccessDenied")
}

// oddKeys are ordinary keys that tidy software breaks.
var oddKeys = []string{"with space.csv", "plus+plus", "percent%41%2F", "q?m#h&a=b", "ünïcödé/日本語"}

// engineerWrites: bob does to a bucket all that a program does.
func engineerWrites(t *testing.T, s side, keys aws.Credentials, bucket string) {
	ctx, c := t.Context(), s.s3(keys)
	folder := "test/" + s.name + "/"
	var made []string
	for _, name := range append([]string{"plain"}, oddKeys...) {
		key, content := folder+name, "content of "+name
		if _, err := c.PutObject(ctx, &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(content), ContentType: aws.String("text/csv")}); err != nil {
			t.Errorf("put %q: %v", key, err)
			continue
		}
		head, err := c.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &bucket, Key: &key})
		if err != nil || *head.ContentLength != int64(len(content)) || *head.ContentType != "text/csv" {
			t.Errorf("head %q: %+v, %v", key, head, err)
		}
		copied := key + ".copy"
		if _, err := c.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: &bucket, Key: &copied, CopySource: aws.String(bucket + "/" + url.PathEscape(key))}); err != nil {
			t.Errorf("copy %q: %v", key, err)
		}
		if got := read(t, c, bucket, copied); string(got) != content {
			t.Errorf("the copy of %q holds %q", key, got)
		}
		if got := presigned(t, s, c, bucket, key); got != content {
			t.Errorf("the presigned address of %q gives %q", key, got)
		}
		made = append(made, key, copied)
	}
	slices.Sort(made)
	if listed := keysOf(t, c, bucket, folder); !slices.Equal(listed, made) {
		t.Errorf("listed %q, want %q", listed, made)
	}
	if _, err := c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &bucket, Key: &made[0]}); err != nil {
		t.Error(err)
	}
	var rest []types.ObjectIdentifier
	for _, key := range made[1:] {
		rest = append(rest, types.ObjectIdentifier{Key: &key})
	}
	out, err := c.DeleteObjects(ctx, &awss3.DeleteObjectsInput{Bucket: &bucket, Delete: &types.Delete{Objects: rest}})
	if err != nil || len(out.Errors) != 0 || len(out.Deleted) != len(rest) {
		t.Errorf("batch delete: %+v, %v", out, err)
	}
	if left := keysOf(t, c, bucket, folder); len(left) != 0 {
		t.Errorf("left after the batch: %q", left)
	}
	_, err = c.GetObject(ctx, &awss3.GetObjectInput{Bucket: &bucket, Key: &made[0]})
	refused(t, err, 404, "NoSuchKey")
}

// inParts sends a large object in parts and reads it back in parts.
func inParts(t *testing.T, s side, keys aws.Credentials, bucket string) {
	ctx, c := t.Context(), s.s3(keys)
	content := make([]byte, 12<<20+17)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(content)
	key := "test/large " + s.name
	up := manager.NewUploader(c, func(u *manager.Uploader) { u.PartSize, u.Concurrency = 5<<20, 2 })
	sent, err := up.Upload(ctx, &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(content)})
	if err != nil {
		t.Fatal(err)
	}
	if sent.UploadID == "" || len(sent.CompletedParts) != 3 {
		t.Errorf("sent as upload %q in %d parts, want 3", sent.UploadID, len(sent.CompletedParts))
	}
	back := manager.NewWriteAtBuffer(nil)
	if _, err := manager.NewDownloader(c).Download(ctx, back, &awss3.GetObjectInput{Bucket: &bucket, Key: &key}); err != nil {
		t.Fatal(err)
	}
	if sha256.Sum256(back.Bytes()) != sha256.Sum256(content) {
		t.Errorf("%d bytes went in, %d other bytes came back", len(content), len(back.Bytes()))
	}
	if _, err := c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &bucket, Key: &key}); err != nil {
		t.Error(err)
	}
}

// wrongKeys: keys that are not whole, not ours, or not of this account.
func wrongKeys(t *testing.T, s side, one, other aws.Credentials) {
	for name, tt := range map[string]struct {
		change func(*aws.Credentials)
		status int
		code   string
	}{
		"another secret":          {func(k *aws.Credentials) { k.SecretAccessKey = other.SecretAccessKey }, 403, "SignatureDoesNotMatch"},
		"token of another key":    {func(k *aws.Credentials) { k.SessionToken = other.SessionToken }, 400, "InvalidToken"},
		"no token":                {func(k *aws.Credentials) { k.SessionToken = "" }, 400, "InvalidToken"},
		"a changed token":         {func(k *aws.Credentials) { k.SessionToken = flipLast(k.SessionToken) }, 400, "InvalidToken"},
		"a key of AWS":            {func(k *aws.Credentials) { k.AccessKeyID, k.SessionToken = "AKIAIOSFODNN7EXAMPLE", "" }, 403, "InvalidAccessKeyId"},
		"a role of other account": {func(k *aws.Credentials) { *k = other }, 403, "AccessDenied"},
	} {
		keys := one
		tt.change(&keys)
		_, err := s.s3(keys).GetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("sales"), Key: aws.String("products/products.csv")})
		if said := refused(t, err, tt.status, tt.code); said == "" {
			t.Errorf("%s: refused without a word", name)
		}
	}
	wrong := one
	wrong.SecretAccessKey = other.SecretAccessKey
	_, err := s.sts(wrong).GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
	refused(t, err, 403, "SignatureDoesNotMatch")
	if status, _, body := get(t, s.http, s.endpoint+"/sales/products/products.csv"); status != 403 || !strings.Contains(body, "<Code>AccessDenied</Code>") {
		t.Errorf("without keys: %d %s", status, body)
	}
}

func flipLast(s string) string {
	last := byte('A')
	if s[len(s)-1] == last {
		last = 'B'
	}
	// The last character may hold padding bits only, so the one before goes too.
	return s[:len(s)-2] + string([]byte{last, last})
}

func keysOf(t *testing.T, c *awss3.Client, bucket, prefix string) []string {
	t.Helper()
	var keys []string
	pages := awss3.NewListObjectsV2Paginator(c, &awss3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix, MaxKeys: aws.Int32(5)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	return keys
}

func read(t *testing.T, c *awss3.Client, bucket, key string) []byte {
	t.Helper()
	got, err := c.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Errorf("get %q: %v", key, err)
		return nil
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	if err != nil {
		t.Error(err)
	}
	return body
}

// presigned reads an object by an address that carries the signature.
func presigned(t *testing.T, s side, c *awss3.Client, bucket, key string) string {
	t.Helper()
	signed, err := awss3.NewPresignClient(c).PresignGetObject(t.Context(), &awss3.GetObjectInput{Bucket: &bucket, Key: &key}, awss3.WithPresignExpires(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	status, _, body := get(t, s.http, signed.URL)
	if status != http.StatusOK {
		t.Errorf("presigned %q: %d %s", key, status, body)
	}
	if status, _, _ := get(t, s.http, strings.Replace(signed.URL, "X-Amz-Expires=60", "X-Amz-Expires=600", 1)); status != http.StatusForbidden {
		t.Errorf("a presigned address with a later end answers %d", status)
	}
	return body
}
