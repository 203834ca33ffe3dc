package server_test

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
	"carnet.dev/carnet/internal/service/audit"
)

// taken are keys that somebody copied out of a node, used from elsewhere.
type taken struct {
	id   string
	ends time.Time
	s3   *awss3.Client
	sts  *awssts.Client
}

func (w *machineWorld) take(id, secretKey, token string, ends time.Time) taken {
	keys := credentials.NewStaticCredentialsProvider(id, secretKey, token)
	return taken{id: id, ends: ends,
		s3:  awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://" + w.aws), UsePathStyle: true, RetryMaxAttempts: 1, Credentials: keys}),
		sts: awssts.New(awssts.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://" + w.aws), RetryMaxAttempts: 1, Credentials: keys})}
}

// use gives what S3 and STS say to keys.
func (k taken) use(t *testing.T) (atS3, atSTS error) {
	t.Helper()
	_, atS3 = k.s3.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: aws.String("sales")})
	_, atSTS = k.sts.GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
	return atS3, atSTS
}

// fetch has the keys of an attachment, and of them a chained role session.
func (w *machineWorld) fetch(t *testing.T, m *machine, attachment string) map[string]taken {
	t.Helper()
	var k nodedoc.Keys
	m.works(t, "credentials", nodedoc.Fetch{Attachment: attachment}, &k)
	own := w.take(k.AccessKeyID, k.SecretAccessKey, k.SessionToken, k.Expiration)
	c, err := own.sts.AssumeRole(t.Context(), &awssts.AssumeRoleInput{RoleArn: aws.String(analyst), RoleSessionName: aws.String("chained")})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]taken{"fetched": own, "chained": w.take(*c.Credentials.AccessKeyId, *c.Credentials.SecretAccessKey, *c.Credentials.SessionToken, *c.Credentials.Expiration)}
}

// trade buys keys for an ID token, as SDKs do with a token file.
func (w *machineWorld) trade(t *testing.T, token string) (taken, error) {
	t.Helper()
	sts := awssts.New(awssts.Options{Region: "us-east-1", BaseEndpoint: aws.String("http://" + w.aws), RetryMaxAttempts: 1, Credentials: aws.AnonymousCredentials{}})
	got, err := sts.AssumeRoleWithWebIdentity(t.Context(), &awssts.AssumeRoleWithWebIdentityInput{RoleArn: aws.String(analyst), RoleSessionName: aws.String("job"), WebIdentityToken: aws.String(token)})
	if err != nil {
		return taken{}, err
	}
	return w.take(*got.Credentials.AccessKeyId, *got.Credentials.SecretAccessKey, *got.Credentials.SessionToken, *got.Credentials.Expiration), nil
}

// own are the keys of ann's own sign-in.
func (w *machineWorld) own(t *testing.T) taken {
	t.Helper()
	var k fetched
	if status := ask(t, w.ann, http.MethodPost, w.base+"/api/v1/roles/credentials", `{"role": "analyst"}`, &k); status != 200 {
		t.Fatalf("%d %+v", status, k)
	}
	return w.take(k.AccessKeyID, k.SecretAccessKey, k.SessionToken, k.Expiration)
}

// awsCode gives the code of a refusal in AWS's protocols.
func awsCode(err error) string {
	var refusal smithy.APIError
	if errors.As(err, &refusal) {
		return refusal.ErrorCode()
	}
	return ""
}

// work wants keys to work.
func work(t *testing.T, all map[string]taken) {
	t.Helper()
	for name, k := range all {
		if atS3, atSTS := k.use(t); atS3 != nil || atSTS != nil {
			t.Fatalf("%s keys: %v, %v", name, atS3, atSTS)
		}
	}
}

// over wants keys to be refused, at S3 and at STS, as ended ones are.
func over(t *testing.T, why string, all map[string]taken) {
	t.Helper()
	for name, k := range all {
		soon(t, why+": "+name, func() bool {
			atS3, atSTS := k.use(t)
			return awsCode(atS3) == "ExpiredToken" && strings.HasPrefix(awsCode(atSTS), "ExpiredToken")
		})
	}
}

// TestAttackKeysAfterDetach: keys of a local account that somebody copied out of a node
// end with the attachment, whichever way that ends, and so do those that they bought.
// The keys of the person's own sign-in, from which they were made, live on.
func TestAttackKeysAfterDetach(t *testing.T) {
	t.Parallel()
	w := newLab(t)
	m := w.join(t, "lab", "n1")
	w.person(t, "root@example.com")
	w.must(t, "cluster", "add", "desk", "--kind", "standard")
	w.must(t, "cluster", "assign", "desk", "ann@example.com")
	desk := w.join(t, "desk", "d1")
	own := map[string]taken{"the person's own": w.own(t)}
	if _, err := own["the person's own"].s3.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("sales")}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		at   *machine
		end  func(t *testing.T, id string)
	}{
		{"detached on the node", m, func(t *testing.T, id string) { m.works(t, "end", nodedoc.End{Attachment: id, Why: "detached"}, nil) }},
		{"its login is over", m, func(t *testing.T, id string) { m.works(t, "end", nodedoc.End{Attachment: id, Why: "scope-ended"}, nil) }},
		{"ended by the person", m, func(t *testing.T, id string) { remove(t, w, "/api/v1/attachments/"+id) }},
		{"ended by the host", m, func(t *testing.T, id string) { w.must(t, "attachment", "end", id) }},
		{"a later one takes its place", m, func(t *testing.T, _ string) { w.attached(t, m, place(1001)) }},
		{"revoked", m, func(t *testing.T, id string) { w.must(t, "revoke", "attachment", id) }},
		{"the cluster is revoked", m, func(t *testing.T, _ string) { w.must(t, "revoke", "cluster", "lab") }},
		{"the node is revoked", m, func(t *testing.T, _ string) { w.must(t, "revoke", "node", "lab", "n1") }},
		{"the cluster is another person's", desk, func(t *testing.T, _ string) { w.must(t, "cluster", "assign", "desk", "root@example.com") }},
		{"the cluster admits others", m, func(t *testing.T, _ string) { w.must(t, "cluster", "set", "lab", "--people", "root@example.com") }},
		{"the node is removed", m, func(t *testing.T, _ string) { w.must(t, "node", "remove", "lab", "n2") }},
		{"the cluster is removed", desk, func(t *testing.T, _ string) { w.must(t, "cluster", "remove", "desk") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			switch c.name { // what a case took away is given back
			case "the node is revoked", "the cluster is another person's":
				soon(t, "the node proves itself anew", func() bool { c.at.prove(t); return c.at.post(t, "watch", nodedoc.Watch{}, nil).Status == 200 })
			case "the cluster admits others":
				m = w.join(t, "lab", "n2")
				c.at = m
			case "the node is removed":
				c.at = m
				w.must(t, "cluster", "set", "lab", "--people", "ann@example.com,root@example.com")
			case "the cluster is removed":
				w.must(t, "cluster", "assign", "desk", "ann@example.com")
			}
			a := w.attached(t, c.at, place(1001))
			all := w.fetch(t, c.at, a.ID)
			work(t, all)
			c.end(t, a.ID)
			over(t, c.name, all)
			work(t, own)
		})
	}
}

// attached is attach once the cluster admits ann, whatever it is called.
func (w *machineWorld) attached(t *testing.T, m *machine, p nodedoc.Place) nodedoc.Attachment {
	t.Helper()
	var state nodedoc.AttachState
	soon(t, "the cluster admits ann", func() bool {
		begun := m.code(t, p)
		if w.approve(t, w.ann, begun.UserCode).Status != 200 {
			return false
		}
		m.works(t, "attach/poll", nodedoc.AttachPoll{Request: begun.Request}, &state)
		return state.Attachment != nil
	})
	return *state.Attachment
}

// TestAttackTokensAfterDetach: an ID token that was made for an attachment buys nothing
// once that ended, and what it bought before ends with it.
func TestAttackTokensAfterDetach(t *testing.T) {
	t.Parallel()
	w := newLab(t)
	m := w.join(t, "lab", "n1")
	m.works(t, "report", nodedoc.Report{Version: "1", Faces: []string{"container"}}, nil)
	if _, err := w.own(t).s3.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("sales")}); err != nil {
		t.Fatal(err)
	}
	var d api.Delegation
	if ask(t, w.ann, http.MethodPost, w.base+"/api/v1/delegations", `{"role":"analyst","cluster":"lab","label":"long training","lifetime_seconds":7200}`, &d) != 201 {
		t.Fatalf("%+v", d)
	}
	remove(t, w, "/api/v1/session")
	access := w.access(t, "all-apis")
	for name, end := range map[string]func(id string){
		"detached": func(id string) { m.works(t, "end", nodedoc.End{Attachment: id, Why: "detached"}, nil) },
		"revoked":  func(id string) { w.must(t, "revoke", "attachment", id) },
	} {
		// It ends before the least that STS gives otherwise: so do the keys.
		a, p := w.hub(t, access, "lab", "ann@example.com", 1001, `,"lifetime_seconds":600`)
		if p.Status != 201 || a.RestsOn != "delegation" {
			t.Fatalf("%+v %+v", a, p)
		}
		var id nodedoc.IDToken
		m.works(t, "id-token", nodedoc.Fetch{Attachment: a.ID}, &id)
		bought, err := w.trade(t, id.Token)
		if err != nil {
			t.Fatal(err)
		}
		all := w.fetch(t, m, a.ID)
		all["bought"] = bought
		work(t, all)
		for what, k := range all {
			if k.ends.After(a.Expires) {
				t.Errorf("%s keys end at %s, the attachment at %s", what, k.ends, a.Expires)
			}
		}
		end(a.ID)
		over(t, name, all)
		if k, err := w.trade(t, id.Token); awsCode(err) != "AccessDenied" {
			t.Errorf("%s: the token buys %v, %v", name, k.id, err)
		}
	}
}

// TestTheTrailNamesTheNode: who did what by keys of a node, from handing them out to
// S3 and to what they bought, names attachment, node, cluster and process owner.
func TestTheTrailNamesTheNode(t *testing.T) {
	t.Parallel()
	w := newLab(t)
	m := w.join(t, "lab", "n1")
	a := w.attach(t, m, place(1001))
	keys := w.fetch(t, m, a.ID)["fetched"]
	if _, err := keys.s3.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("sales")}); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.s3.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: aws.String("hr")}); err == nil {
		t.Fatal("hr is nobody's to list")
	}
	want := []string{"attachment.add", "attachment.credentials", "s3.ListObjectsV2", "sts.AssumeRole", "sts.Bind"}
	soon(t, "the records are written", func() bool {
		var found audit.Found
		if err := json.Unmarshal([]byte(w.must(t, "audit", "search", "--cluster", "lab", "--output", "json")), &found); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, d := range found.Documents {
			if d.Attachment == "" && !slices.Contains(want, d.EventName) {
				continue // of the cluster itself
			}
			seen[d.EventName] = true
			if d.Attachment != a.ID || d.Node != m.id || d.ProcessOwner != "1001(ann)" {
				t.Fatalf("%s by %q on %q of %q", d.EventName, d.Attachment, d.Node, d.ProcessOwner)
			}
		}
		return slices.Equal(slices.Sorted(maps.Keys(seen)), want)
	})
}
