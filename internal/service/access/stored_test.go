package access_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/iam"
)

// shelf has tags, and remembers what was asked.
type shelf struct {
	objects, buckets map[string]map[string]string
	asked            []string
	err              error
}

func (s *shelf) ObjectTags(bucket, key, version string) (map[string]string, error) {
	s.asked = append(s.asked, bucket+"/"+key+"@"+version)
	return s.objects[key+"@"+version], s.err
}

func (s *shelf) BucketTags(bucket string) (map[string]string, error) {
	s.asked = append(s.asked, bucket)
	return s.buckets[bucket], s.err
}

func TestStoredTags(t *testing.T) {
	t.Parallel()
	const allow = `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`
	statement := func(effect, condition string) string {
		return `{"Version":"2012-10-17","Statement":[` + allow + `,{"Effect":"` + effect + `","Action":"s3:*","Resource":"*","Condition":{` + condition + `}}]}`
	}
	only := func(condition string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{` + condition + `}}]}`
	}
	secret := statement("Deny", `"StringEquals":{"s3:ExistingObjectTag/class":"secret"}`)
	version := func(v string) []s3.Value { return []s3.Value{{Key: "s3:versionid", Values: []string{v}}} }
	for name, c := range map[string]struct {
		policy, resource string // of the role, of the bucket
		check            s3.Check
		err              error
		want             bool
		asked            string // "" for nothing
	}{
		"nobody asks":                     {policy: `{"Statement":[` + allow + `]}`, check: get("sales", "open"), want: true},
		"an open object":                  {policy: secret, check: get("sales", "open"), want: true, asked: "sales/open@"},
		"a secret object":                 {policy: secret, check: get("sales", "closed"), want: false, asked: "sales/closed@"},
		"an object without tags":          {policy: secret, check: get("sales", "plain"), want: true, asked: "sales/plain@"},
		"no object":                       {policy: secret, check: get("sales", "none"), want: true, asked: "sales/none@"},
		"tags that can't be read":         {policy: secret, check: get("sales", "open"), err: errors.New("away"), want: false, asked: "sales/open@"},
		"an old version":                  {policy: secret, check: s3.Check{Action: "s3:GetObjectVersion", Bucket: "sales", Key: "open", Context: version("v1")}, want: false, asked: "sales/open@v1"},
		"its tags":                        {policy: secret, check: s3.Check{Action: "s3:GetObjectTagging", Bucket: "sales", Key: "closed"}, want: false, asked: "sales/closed@"},
		"a write, as on AWS":              {policy: secret, check: s3.Check{Action: "s3:PutObject", Bucket: "sales", Key: "closed"}, want: true},
		"a deletion, as on AWS":           {policy: secret, check: s3.Check{Action: "s3:DeleteObject", Bucket: "sales", Key: "closed"}, want: true},
		"a listing":                       {policy: secret, check: s3.Check{Action: "s3:ListBucket", Bucket: "sales"}, want: true},
		"only tagged ones":                {policy: only(`"StringEquals":{"s3:ExistingObjectTag/Class":"public"}`), check: get("sales", "open"), want: true, asked: "sales/open@"},
		"only tagged ones, and it is not": {policy: only(`"StringEquals":{"s3:ExistingObjectTag/class":"public"}`), check: get("sales", "plain"), want: false, asked: "sales/plain@"},
		"two keys of one name":            {policy: secret, check: get("sales", "twice"), want: false, asked: "sales/twice@"},
		"the principal's own":             {policy: only(`"StringEquals":{"s3:ExistingObjectTag/team":"${aws:PrincipalTag/team}"}`), check: get("sales", "open"), want: true, asked: "sales/open@"},
		"a variable":                      {policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::sales/${s3:ExistingObjectTag/class}*"}]}`, check: get("sales", "public-x"), want: true, asked: "sales/public-x@"},
		"the bucket's policy asks":        {policy: `{"Statement":[` + allow + `]}`, resource: `{"Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::sales/*","Condition":{"StringEquals":{"s3:ExistingObjectTag/class":"secret"}}}]}`, check: get("sales", "closed"), want: false, asked: "sales/closed@"},
		"a bucket's tag":                  {policy: only(`"StringEquals":{"s3:BucketTag/team":"blue"}`), check: get("sales", "open"), want: true, asked: "sales"},
		"the same by its global name":     {policy: only(`"StringEquals":{"aws:ResourceTag/team":"blue"}`), check: s3.Check{Action: "s3:DeleteObject", Bucket: "sales", Key: "x"}, want: true, asked: "sales"},
		"another value":                   {policy: only(`"StringEquals":{"aws:ResourceTag/team":"red"}`), check: get("sales", "open"), want: false, asked: "sales"},
		"a bucket that is made":           {policy: only(`"StringEquals":{"aws:ResourceTag/team":"blue"}`), check: s3.Check{Action: "s3:CreateBucket", Bucket: "sales"}, want: false},
		"all buckets":                     {policy: statement("Deny", `"StringEquals":{"aws:ResourceTag/team":"blue"}`), check: s3.Check{Action: "s3:ListAllMyBuckets"}, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.authority.snapshot = snapshot(t, func(s *iam.State) {
				s.Roles[0].Policies[0].Document = c.policy
				if c.resource != "" {
					s.Buckets = []iam.BucketRecord{{Account: "111122223333", Name: "sales", Policy: iam.Policy{Name: "bucket-policy", Document: c.resource}}}
				}
			})
			stored := &shelf{err: c.err, buckets: map[string]map[string]string{"sales": {"team": "blue"}}, objects: map[string]map[string]string{
				"open@": {"class": "public", "team": "blue"}, "closed@": {"Class": "secret"}, "open@v1": {"class": "secret"}, "twice@": {"class": "public", "CLASS": "secret"},
				"public-x@": {"class": "public"},
			}}
			caller, _, err := w.Lookup(context.Background(), keyID, w.token(t, nil))
			if err != nil {
				t.Fatal(err)
			}
			d := w.Decide(context.Background(), caller, []s3.Check{c.check}, access.Environment{Now: now, Stored: stored})
			if d.Allow != c.want || strings.Join(stored.asked, " ") != c.asked {
				t.Errorf("%+v, asked %q", d, stored.asked)
			}
			if !d.Allow && d.Explain != nil {
				d.Explain()
				if strings.Join(stored.asked, " ") != c.asked {
					t.Error("an explanation asks the store again")
				}
			}
			if c.asked != "" {
				if d := w.Decide(context.Background(), caller, []s3.Check{c.check}, access.Environment{Now: now}); d.Allow {
					t.Errorf("without a way to the tags: %+v", d)
				}
			}
		})
	}
}
