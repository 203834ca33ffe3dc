//go:build interop

package browser

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
)

// denied has bob's keys ask for what they may not have, and gives the request id
// of the error.
func (s *shell) denied(key string) string {
	s.t.Helper()
	out, err := s.command(s.t.Context(), "credentials", "--role", "engineer").Output()
	if err != nil {
		s.t.Fatalf("carnet credentials: %v %s", err, out)
	}
	var keys struct{ AccessKeyId, SecretAccessKey, SessionToken string }
	if err := json.Unmarshal(out, &keys); err != nil {
		s.t.Fatal(err)
	}
	c := awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: aws.String(s.AWS), UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(keys.AccessKeyId, keys.SecretAccessKey, keys.SessionToken)})
	_, err = c.DeleteObjectTagging(s.t.Context(), &awss3.DeleteObjectTaggingInput{Bucket: aws.String("sales"), Key: &key})
	var refused *awshttp.ResponseError
	if !errors.As(err, &refused) || refused.HTTPStatusCode() != 403 {
		s.t.Fatalf("not denied: %v", err)
	}
	return refused.ServiceRequestID()
}

// TestBrowserExplainsADenial: an administrator types the request id that a person
// was told, and reads what was checked and that nothing allows it.
func TestBrowserExplainsADenial(t *testing.T) {
	w := start(t)
	b := w.browser(t, true)
	s := &shell{world: w, t: t, home: t.TempDir()}
	address, wait := s.login()
	b.open(address)
	b.answer("bob")
	b.click("#deliver button")
	b.await(`button[value="approve"]`)
	b.click(`button[value="approve"]`)
	b.await("h1 + p:last-child")
	if said, err := wait(); err != nil {
		t.Fatalf("carnet login: %v\n%s", err, said)
	}
	var ids []string
	for _, key := range []string{"orders/2026.csv", "a key with <b>markup</b> and a very long name that has nowhere to break at all " + long, "orders/2026.csv"} {
		ids = append(ids, s.denied(key))
	}
	b.open(b.Web)
	b.signOut()

	b.enter("carol")
	b.click(`nav a[href="/admin/denials"]`)
	b.await("#request")
	b.look("denials")
	b.write("#request", ids[0])
	b.click(`form[action="/admin/denials"] button`)
	b.await("#found")
	b.reads("#main", "DeleteObjectTagging on s3://sales/orders/2026.csv", "No statement allows it", "bob", "assumed-role/engineer/bob", "write-sales#Write", "Action does not cover s3:DeleteObjectTagging")
	b.look("denials-found")
	b.click(`a[href="/admin/denials?request=` + ids[1] + `"]`)
	b.await("#found")
	b.reads("#found", "<b>markup</b>")
	b.look("denials-long")
	b.open(b.Web + "/admin/denials")
	b.write("#request", "AAAAAAAAAAAAAAAA")
	b.click(`form[action="/admin/denials"] button`)
	b.await(".cause")
	b.reads(".cause", "No denial with the request id AAAAAAAAAAAAAAAA is kept")
	b.forgive("status of 404")
	b.look("denials-unknown")
}

const long = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
