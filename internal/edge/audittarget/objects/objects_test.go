package objects_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/audittarget/objects"
	"carnet.dev/carnet/internal/edge/storeproc/storetest"
	"carnet.dev/carnet/internal/edge/upstream/s3client"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/service/audit"
)

func TestMain(m *testing.M) { storetest.Main(m) }

const bucket = "audit-trail"

// store is a real one, with an empty bucket.
func store(t *testing.T) *s3client.Client {
	t.Helper()
	child := storetest.Start(t)
	c, err := s3client.New(s3client.Config{Endpoint: "http://store.inner", Region: child.Region(), AccessKeyID: child.AccessKeyID(), SecretKey: child.SecretKey(), Dial: child.Dial})
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := do(t, c, &s3.Outgoing{Method: http.MethodPut, Bucket: bucket}); status != http.StatusOK {
		t.Fatalf("making the bucket: %d", status)
	}
	return c
}

func do(t *testing.T, c *s3client.Client, out *s3.Outgoing) (int, []byte) {
	t.Helper()
	resp, err := c.Do(t.Context(), out)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

func documents(from, n int64) (all []audit.Document) {
	for i := range n {
		all = append(all, audit.Document{EventVersion: audit.DocumentVersion, EventID: fmt.Sprintf("aud_1-%d", from+i), EventTime: time.Date(2026, 3, 4, 5, 6, int(from+i), 0, time.UTC),
			EventName: "sign-in", Outcome: "done", Chain: audit.Link{Writer: "aud_1", Seq: from + i, Hash: strings.Repeat("ab", 32)}})
	}
	return all
}

func put(t *testing.T, b *objects.Bucket, all []audit.Document) {
	t.Helper()
	if err := b.Put(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}

// holds reads an object.
func holds(t *testing.T, c *s3client.Client, key string, want []audit.Document) {
	t.Helper()
	status, body := do(t, c, &s3.Outgoing{Method: http.MethodGet, Bucket: bucket, Key: key})
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", key, status, body)
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	lines, lerr := audit.Lines(want)
	if err := errors.Join(err, lerr); err != nil || !bytes.Equal(text, lines) {
		t.Errorf("%s holds %s, %v", key, text, err)
	}
}

func count(t *testing.T, c *s3client.Client) int {
	t.Helper()
	_, body := do(t, c, &s3.Outgoing{Method: http.MethodGet, Bucket: bucket})
	return bytes.Count(body, []byte("<Key>"))
}

// TestObjects: a part is an object of a name of its own; the same part again makes no
// second one and changes none; what somebody else put there stays, too.
func TestObjects(t *testing.T) {
	t.Parallel()
	c := store(t)
	b := objects.New(objects.Config{Name: "bucket", Store: c, Bucket: bucket, Prefix: "carnet/prod"})
	first, second := documents(1, 3), documents(4, 2)
	put(t, b, first)
	put(t, b, second)
	const name = "carnet/prod/2026/03/04/20260304T050601Z-aud_1-000000000001-000000000003"
	holds(t, c, name+".jsonl.gz", first)
	holds(t, c, "carnet/prod/2026/03/04/20260304T050604Z-aud_1-000000000004-000000000005.jsonl.gz", second)
	put(t, b, first) // a retry
	if n := count(t, c); n != 2 {
		t.Fatalf("%d objects", n)
	}
	later := documents(1, 3) // by a release that writes more of a record
	later[0].ErrorCode = "added"
	put(t, b, later)
	if n := count(t, c); n != 2 {
		t.Fatalf("%d objects", n)
	}

	// Another part of the same beginning has another name.
	put(t, b, documents(1, 4))
	if n := count(t, c); n != 3 {
		t.Fatalf("%d objects", n)
	}
	// Objects that are not ours.
	third := documents(7, 2)
	taken := "carnet/prod/2026/03/04/20260304T050607Z-aud_1-000000000007-000000000008"
	for _, foreign := range []string{taken + ".jsonl.gz", taken + "-1.jsonl.gz"} {
		if status, _ := do(t, c, &s3.Outgoing{Method: http.MethodPut, Bucket: bucket, Key: foreign, Document: []byte("mine")}); status != http.StatusOK {
			t.Fatal(status)
		}
	}
	put(t, b, third)
	holds(t, c, taken+"-2.jsonl.gz", third)
	if _, body := do(t, c, &s3.Outgoing{Method: http.MethodGet, Bucket: bucket, Key: taken + ".jsonl.gz"}); string(body) != "mine" {
		t.Errorf("a foreign object was changed to %q", body)
	}
}

// TestAttackNamesTaken: whoever may write to the bucket can't have records pass for
// written by putting something else in their place.
func TestAttackNamesTaken(t *testing.T) {
	t.Parallel()
	c := store(t)
	b := objects.New(objects.Config{Name: "bucket", Store: c, Bucket: bucket})
	all := documents(1, 2)
	other := documents(1, 2)
	other[1].Chain.Hash = strings.Repeat("cd", 32)
	for i, content := range [][]audit.Document{other, all[:1], append(documents(1, 2), documents(3, 1)...), nil, other} {
		lines, err := audit.Lines(content)
		if err != nil {
			t.Fatal(err)
		}
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write(lines); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		suffix := ""
		if i > 0 {
			suffix = fmt.Sprintf("-%d", i)
		}
		do(t, c, &s3.Outgoing{Method: http.MethodPut, Bucket: bucket, Key: "2026/03/04/20260304T050601Z-aud_1-000000000001-000000000002" + suffix + ".jsonl.gz", Document: packed.Bytes()})
	}
	if err := b.Put(t.Context(), all); fault.KindOf(err) != fault.Conflict {
		t.Errorf("got %v", err)
	}
}

// TestRefusals: what each answer means, and that the keys of our own identity are used.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		put, get int
		kind     fault.Kind
		says     string
	}{
		"no bucket":              {404, 0, fault.Misconfigured, "answers 404 NoSuchThing to PUT"},
		"no permission":          {403, 0, fault.Misconfigured, "answers 403"},
		"no conditions":          {501, 0, fault.Misconfigured, "answers 501"},
		"two at once":            {409, 0, fault.Unavailable, "answers 409"},
		"slow down":              {503, 0, fault.Unavailable, "answers 503"},
		"broken":                 {500, 0, fault.Unavailable, "answers 500"},
		"there, and may not ask": {412, 403, fault.Conflict, "holds other objects"},
		"there, and gone":        {412, 404, fault.Unavailable, "answers 404 NoSuchThing to GET"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := answering{http.MethodPut: x.put, http.MethodGet: x.get}
			b := objects.New(objects.Config{Name: "bucket", Store: s, Bucket: bucket, As: func(context.Context) (credential.Temporary, error) {
				return credential.Temporary{AccessKeyID: "AKIA"}, nil
			}})
			if err := b.Put(t.Context(), documents(1, 1)); fault.KindOf(err) != x.kind || !strings.Contains(fault.Of(err).Public, x.says) {
				t.Errorf("got %v", err)
			}
		})
	}
	none := objects.New(objects.Config{Store: answering{}, As: func(context.Context) (credential.Temporary, error) {
		return credential.Temporary{}, errors.New("no role")
	}})
	if err := none.Put(t.Context(), documents(1, 1)); fault.KindOf(err) != fault.Misconfigured {
		t.Errorf("without keys: %v", err)
	}
}

// answering is a store that gives a status to each method. Only signed requests that
// can't overwrite come.
type answering map[string]int

func (a answering) Do(_ context.Context, out *s3.Outgoing) (*http.Response, error) {
	if out.As == nil || out.As.AccessKeyID != "AKIA" || out.Method == http.MethodPut && out.Header["If-None-Match"][0] != "*" {
		return nil, fmt.Errorf("%+v", out)
	}
	return &http.Response{StatusCode: a[out.Method], Body: io.NopCloser(strings.NewReader("<Error><Code>NoSuchThing</Code></Error>"))}, nil
}
