//go:build interop

package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"carnet.dev/carnet/test/running"
)

const (
	account = "111122223333"
	region  = "us-east-1"
	bucket  = "clients"
	// source is an object that is there for copies and links.
	source = "source/a b+c%/ü&=~.csv"
	// many is a prefix below which 10,000 objects are.
	many      = "many/"
	manyCount = 10_000
)

// world is one running server with both kinds of keys for one bucket, and the
// files that clients upload.
type world struct {
	*running.World
	files string
	keys  map[string]aws.Credentials // by "session" and "static"
	s3    *s3.Client
}

func start(t *testing.T) *world {
	w := &world{World: running.Dev(t, "--static-keys"), files: t.TempDir(), keys: map[string]aws.Credentials{}}
	w.makeFiles(t)
	w.makeKeys(t)
	w.s3 = s3.New(s3.Options{Region: region, BaseEndpoint: &w.AWS, UsePathStyle: true, Credentials: fixed(w.keys["static"])})
	w.makeObjects(t)
	return w
}

func fixed(c aws.Credentials) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return c, nil })
}

// makeKeys makes an IAM user with a key that lasts, and a role that the user
// assumes at STS.
func (w *world) makeKeys(t *testing.T) {
	t.Helper()
	ctx, name := t.Context(), aws.String("clients")
	var printed struct{ AccessKeyID, SecretAccessKey, SessionToken string }
	if err := json.Unmarshal([]byte(w.Login(t, "carol").Carnet(t, "credentials", "--administrator", "analytics")), &printed); err != nil {
		t.Fatal(err)
	}
	admin := iam.New(iam.Options{Region: region, BaseEndpoint: &w.AWS, Credentials: fixed(aws.Credentials{AccessKeyID: printed.AccessKeyID, SecretAccessKey: printed.SecretAccessKey, SessionToken: printed.SessionToken})})
	role := "arn:aws:iam::" + account + ":role/clients"
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::%[1]s","arn:aws:s3:::%[1]s/*"]},{"Effect":"Allow","Action":"sts:AssumeRole","Resource":%[2]q}]}`, bucket, role)
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + account + `:user/clients"},"Action":"sts:AssumeRole"}]}`
	if _, err := admin.CreateUser(ctx, &iam.CreateUserInput{UserName: name}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: name, PolicyName: name, PolicyDocument: &policy}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateRole(ctx, &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: &trust}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: name, PolicyName: name, PolicyDocument: &policy}); err != nil {
		t.Fatal(err)
	}
	made, err := admin.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: name})
	if err != nil {
		t.Fatal(err)
	}
	w.keys["static"] = aws.Credentials{AccessKeyID: *made.AccessKey.AccessKeyId, SecretAccessKey: *made.AccessKey.SecretAccessKey}
	assumed, err := sts.New(sts.Options{Region: region, BaseEndpoint: &w.AWS, Credentials: fixed(w.keys["static"])}).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: name})
	if err != nil {
		t.Fatal(err)
	}
	c := assumed.Credentials
	w.keys["session"] = aws.Credentials{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken}
}

// table is a CSV file of one column and n rows: engines that know no bytes
// write the same.
func table(n int) []byte {
	var b bytes.Buffer
	b.WriteString("i\n")
	for i := range n {
		fmt.Fprintf(&b, "%d\n", i)
	}
	return b.Bytes()
}

func (w *world) makeFiles(t *testing.T) {
	t.Helper()
	w.file(t, "small.csv", table(20_000))  // 107 KiB
	w.file(t, "big.csv", table(2_000_000)) // 14 MiB
	for i, name := range oddNames {
		w.file(t, "odd/"+name, table(i+1))
	}
	names, err := json.Marshal(oddNames)
	if err != nil {
		t.Fatal(err)
	}
	w.file(t, "odd.json", names)
	w.file(t, "odd.txt", []byte(strings.Join(oddNames, "\n")))
}

func (w *world) file(t *testing.T, name string, content []byte) {
	t.Helper()
	path := filepath.Join(w.files, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (w *world) content(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(w.files, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// makeObjects makes the bucket and what is in it from the start.
func (w *world) makeObjects(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	if _, err := w.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		t.Fatal(err)
	}
	put := func(key string, content []byte) error {
		_, err := w.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: bytes.NewReader(content)})
		return err
	}
	if err := put(source, w.content(t, "small.csv")); err != nil {
		t.Fatal(err)
	}
	if err := put(manyKey(0), table(1)); err != nil {
		t.Fatal(err)
	}
	// The others are the same file under further names, made in the store's
	// folder: by 10,000 requests it would take half a minute.
	for i := 1; i < manyCount; i++ {
		if err := os.Link(w.place(manyKey(0)), w.place(manyKey(i))); err != nil {
			t.Fatal(err)
		}
	}
	head, err := w.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String(manyKey(manyCount - 1))})
	if err != nil || aws.ToString(head.ETag) == "" {
		t.Fatalf("the store does not know what was linked into its folder: %+v %v", head, err)
	}
}

func manyKey(i int) string { return fmt.Sprintf("%s%05d.csv", many, i) }

// stored reads an object where the embedded store keeps it: neither client nor
// gateway has a say in that.
func (w *world) stored(key string) ([]byte, error) {
	return os.ReadFile(w.place(key))
}

func (w *world) place(key string) string {
	return filepath.Join(w.Data, "store", "objects", bucket, filepath.FromSlash(key))
}
