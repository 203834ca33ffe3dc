//go:build interop

package engines

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"carnet.dev/carnet/internal/edge/node/localdoc"
	"carnet.dev/carnet/test/nodes"
)

// life is how long keys live in the rows that outlive them.
var life = flag.Duration("life", 2*time.Minute, "how long keys live in the rows that outlive them")

// sparkLong and sparkStream run past the end of keys: the one for 1.4 lives, the other
// for 2.2.
func sparkLong(t *testing.T, p *place) string   { return p.outlive(t, "spark/long.py", *life*14/10) }
func sparkStream(t *testing.T, p *place) string { return p.outlive(t, "spark/stream.py", *life*22/10) }

func (p *place) outlive(t *testing.T, source string, lasts time.Duration) string {
	t.Helper()
	s := p.spark(t)
	job := p.source(t, source)
	first := map[string]localdoc.Keys{}
	for name, l := range p.logins {
		var k localdoc.Keys
		l.MustLocal(t, http.MethodGet, "/v1/keys", nil, &k)
		if ends := time.Until(k.Expiration); ends > *life+time.Minute || ends <= 0 {
			t.Fatalf("%s's keys live for %v, want %v", name, ends, *life)
		}
		first[name] = k
	}
	said := p.both(t, lasts+10*time.Minute, func(name string, l *nodes.Login) *exec.Cmd {
		return s.submit(l, "local[1]", s.settings(t, l), job, name, otherThan(name), fmt.Sprint(lasts.Seconds()))
	})
	for name, k := range first {
		p.ended(t, name, k)
	}
	return said["alice"].Version
}

// ended holds the keys with which a job began to be over.
func (p *place) ended(t *testing.T, name string, k localdoc.Keys) {
	t.Helper()
	store := s3.New(s3.Options{Region: region, BaseEndpoint: &p.AWS, UsePathStyle: true, Credentials: fixed(aws.Credentials{
		AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey, SessionToken: k.SessionToken})})
	_, err := store.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucketOf(name)), Key: aws.String("own/own.csv")})
	if err == nil || !strings.Contains(err.Error(), "ExpiredToken") {
		text, _ := json.Marshal(k.Expiration)
		t.Errorf("the keys with which %s's job began, until %s, are answered with %v", name, text, err)
	}
}
