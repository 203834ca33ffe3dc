//go:build interop

package engines

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"carnet.dev/carnet/test/running"
)

const (
	account = "111122223333"
	region  = "us-east-1"
	// role is everybody's. Its policy gives each person their own bucket, by the
	// name in their keys.
	role = "analyst"
	rows = 1000
)

// bucketOf is a person's own bucket.
func bucketOf(name string) string { return "of-" + name }

// own is what is in a person's bucket: rows that nobody else has.
func own(name string) []byte {
	var b bytes.Buffer
	b.WriteString("owner,i\n")
	for i := range rows {
		fmt.Fprintf(&b, "%s,%d\n", name, i)
	}
	return b.Bytes()
}

// prepare makes each person's bucket and what they have in it.
func prepare(t *testing.T, w *running.World, people ...string) {
	t.Helper()
	ctx := t.Context()
	var printed struct{ AccessKeyID, SecretAccessKey, SessionToken string }
	if err := json.Unmarshal([]byte(w.Login(t, "carol").Carnet(t, "credentials", "--administrator", "analytics")), &printed); err != nil {
		t.Fatal(err)
	}
	admin := iam.New(iam.Options{Region: region, BaseEndpoint: &w.AWS, Credentials: fixed(aws.Credentials{
		AccessKeyID: printed.AccessKeyID, SecretAccessKey: printed.SecretAccessKey, SessionToken: printed.SessionToken})})
	allow := func(name string, statements ...string) {
		t.Helper()
		policy := `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
		if _, err := admin.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String(name), PolicyName: aws.String("people"), PolicyDocument: &policy}); err != nil {
			t.Fatal(err)
		}
	}
	// The one who fills the buckets, and may no more afterwards.
	every := func(effect string) string {
		return `{"Effect":"` + effect + `","Action":"s3:*","Resource":["arn:aws:s3:::of-*"]}`
	}
	allow("engineer", every("Allow"))
	var filler struct{ AccessKeyID, SecretAccessKey, SessionToken string }
	if err := json.Unmarshal([]byte(w.Login(t, "bob").Carnet(t, "credentials", "--role", "engineer")), &filler); err != nil {
		t.Fatal(err)
	}
	store := s3.New(s3.Options{Region: region, BaseEndpoint: &w.AWS, UsePathStyle: true, Credentials: fixed(aws.Credentials{
		AccessKeyID: filler.AccessKeyID, SecretAccessKey: filler.SecretAccessKey, SessionToken: filler.SessionToken})})
	var statements []string
	for _, name := range people {
		b := aws.String(bucketOf(name))
		if _, err := store.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: b}); err != nil {
			t.Fatal(err)
		}
		if _, err := store.PutObject(ctx, &s3.PutObjectInput{Bucket: b, Key: aws.String("own/own.csv"), Body: bytes.NewReader(own(name))}); err != nil {
			t.Fatal(err)
		}
		statements = append(statements, fmt.Sprintf(`{"Effect":"Allow","Action":"s3:*","Resource":["arn:aws:s3:::%[1]s","arn:aws:s3:::%[1]s/*"],"Condition":{"StringLike":{"aws:userid":"*:%[2]s"}}}`, *b, name))
	}
	allow("engineer", every("Deny"))
	allow(role, statements...)
}

func fixed(c aws.Credentials) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return c, nil })
}
