package iam_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/iam"
)

// roles makes n roles, each with a trust policy, an inline policy and a
// managed policy that all share.
func (w *world) roles(tb testing.TB, n int) {
	tb.Helper()
	err := w.Edit(tb.Context(), event.Event{Action: "test"}, func(d *iam.Draft) error {
		d.Put(&iam.ManagedPolicyRecord{ID: identity.NewIAMID("ANPA"), Account: account, Path: "/", Name: "shared", Default: "v1", Next: 2,
			Versions: []iam.PolicyVersion{{ID: "v1", Document: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"*"}}`}}})
		for i := range n {
			d.Put(&iam.RoleRecord{
				ID: identity.NewRoleID(), Account: account, Path: "/data/", Name: fmt.Sprintf("role-%04d", i), Created: d.Now(), MaxSession: time.Hour,
				Trust:    iam.Policy{Name: "trust", Document: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:saml-provider/dev-idp"},"Action":["sts:AssumeRoleWithSAML","sts:TagSession"],"Condition":{"StringEquals":{"SAML:aud":"https://carnet.example/saml/consume"}}}]}`},
				Policies: []iam.Policy{{Name: "data", Document: fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":"List","Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::sales","Condition":{"StringLike":{"s3:prefix":"team-%d/*"}}},{"Sid":"Read","Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::sales/team-%d/*"}]}`, i, i)}},
				Attached: []string{"arn:aws:iam::111122223333:policy/shared"}, Tags: map[string]string{"team": fmt.Sprint(i)},
			})
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkEdit measures one change among 2,000 roles, durable and in force on
// this server: of one role, and of the managed policy that all of them have.
// "follow" is what another server does about a change of one role, "start" what
// a server does that starts.
func BenchmarkEdit(b *testing.B) {
	for _, e := range benchEngines(b) {
		b.Run(e.name, func(b *testing.B) {
			w := open(b, e.config)
			w.roles(b, 2000)
			other := open(b, e.config)
			n := 0
			edit := func(b *testing.B, fn func(*iam.Draft) error) {
				n++
				if err := w.Edit(b.Context(), event.Event{Action: "test"}, fn); err != nil {
					b.Fatal(err)
				}
			}
			tag := func(d *iam.Draft) error {
				return d.TagRole(account, "role-1000", map[string]string{"n": fmt.Sprint(n)})
			}
			b.Run("role", func(b *testing.B) {
				for b.Loop() {
					edit(b, tag)
				}
			})
			b.Run("shared-policy", func(b *testing.B) {
				for b.Loop() {
					edit(b, func(d *iam.Draft) error {
						p, _ := d.ManagedPolicy(account, "shared")
						p.AddVersion(fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Sid":"n%d","Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"*"}}`, n), d.Now())
						d.Put(&p)
						return nil
					})
				}
			})
			b.Run("follow", func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					edit(b, tag)
					b.StartTimer()
					if err := other.Reload(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("start", func(b *testing.B) {
				for b.Loop() {
					if _, err := iam.Open(b.Context(), w.Config); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

type benchEngine struct {
	name   string
	config sql.Config
}

func benchSQLite(b *testing.B) benchEngine {
	return benchEngine{"sqlite", sql.Config{SQLite: filepath.Join(b.TempDir(), "carnet.db")}}
}
