package accesslog_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/gateway"
	"carnet.dev/carnet/internal/edge/gateway/accesslog"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/service/access"
)

var began = time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.UTC)

// get is a read that went well.
func get() *gateway.Record {
	return &gateway.Record{
		Request: "ABCDEFGHIJKLMNOP", Began: began, FirstByte: 12345 * time.Microsecond, Total: 70 * time.Millisecond, Upstream: 9 * time.Millisecond,
		Source: netip.MustParseAddr("192.0.2.7"), Method: "GET", Host: "s3.example.com", Target: "/sales/q1/a%20b.csv?versionId=v1", Protocol: "HTTP/1.1",
		UserAgent: "aws-cli/2.15", TLSVersion: tls.VersionTLS13, TLSCipher: tls.TLS_AES_128_GCM_SHA256,
		Operation: s3.GetObject, Bucket: "sales", Key: "q1/a b.csv", VersionID: "v1", AccessKeyID: "ASIAALICE0000000000A",
		Caller: &access.Caller{
			Account: "111122223333", ARN: "arn:aws:sts::111122223333:assumed-role/analyst/alice@example.com",
			Role: arn.Role{Partition: "aws", Account: "111122223333", Path: "/", Name: "analyst"}, Person: "psn_alice", LoginSession: "lgn_1",
		},
		Authentication: "REST-HEADER", Place: access.Place{Bucket: "sales", Account: "111122223333", Upstream: "minio"},
		StoreStatus: 206, StoreRequest: "STORE1", StoreHost: "store/host+id=", Status: 206, Sent: 100, Size: 5000,
	}
}

// written gives what a log of one format writes for records.
func written(t testing.TB, format accesslog.Format, records ...*gateway.Record) string {
	t.Helper()
	var out bytes.Buffer
	l, err := accesslog.Open(accesslog.Config{Format: format, Out: &out})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		l.Observe(r)
	}
	ended, end := context.WithCancel(context.Background())
	end()
	l.Run(ended)
	return out.String()
}

func TestServerAccessLogFormat(t *testing.T) {
	refused := get()
	refused.Caller, refused.Authentication, refused.Place = nil, "", access.Place{}
	refused.Status, refused.Code, refused.Kind, refused.Sent, refused.Size = 403, "InvalidAccessKeyId", fault.Unauthenticated, 300, -1
	refused.Operation, refused.Bucket, refused.Key, refused.VersionID, refused.StoreHost, refused.TLSVersion, refused.TLSCipher = "", "", "", "", "", 0, 0
	copied := get()
	copied.Operation, copied.Method, copied.Target, copied.Key, copied.VersionID = s3.CopyObject, "PUT", "/sales/to", "to", ""
	copied.Copied, copied.Status, copied.Size, copied.Sent = &s3.Source{Bucket: "hr", Key: "from", VersionID: "v7"}, 200, -1, 200
	batch := get()
	batch.Operation, batch.Method, batch.Target, batch.Key, batch.VersionID, batch.Size, batch.Status = s3.DeleteObjects, "POST", "/sales?delete", "", "", -1, 200
	batch.Batch = []gateway.Batched{{Key: "a", Status: 204}, {Key: "b", VersionID: "v2", Status: 403, Code: "AccessDenied"}}
	batch.TLSVersion, batch.TLSCipher = tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
	got := written(t, accesslog.S3, get(), refused, copied, batch)
	const who = `192.0.2.7 arn:aws:sts::111122223333:assumed-role/analyst/alice@example.com ABCDEFGHIJKLMNOP`
	const tail = ` store/host+id= SigV4 TLS_AES_128_GCM_SHA256 AuthHeader s3.example.com TLSv1.3 - - -`
	const old = ` store/host+id= SigV4 ECDHE-RSA-AES128-GCM-SHA256 AuthHeader s3.example.com TLSv1.2 - - -`
	want := []string{
		`111122223333 sales [04/Mar/2026:05:06:07 +0000] ` + who + ` REST.GET.OBJECT q1/a%20b.csv "GET /sales/q1/a%20b.csv?versionId=v1 HTTP/1.1" 206 - 100 5000 70 12 "-" "aws-cli/2.15" v1` + tail,
		`- - [04/Mar/2026:05:06:07 +0000] 192.0.2.7 - ABCDEFGHIJKLMNOP - - "GET /sales/q1/a%20b.csv?versionId=v1 HTTP/1.1" 403 InvalidAccessKeyId 300 - 70 12 "-" "aws-cli/2.15" - - - - - s3.example.com - - - -`,
		`111122223333 sales [04/Mar/2026:05:06:07 +0000] ` + who + ` REST.COPY.OBJECT to "PUT /sales/to HTTP/1.1" 200 - 200 - 70 12 "-" "aws-cli/2.15" -` + tail,
		`111122223333 hr [04/Mar/2026:05:06:07 +0000] ` + who + ` REST.COPY.OBJECT_GET from "PUT /sales/to HTTP/1.1" 200 - - - 70 12 "-" "aws-cli/2.15" v7` + tail,
		`111122223333 sales [04/Mar/2026:05:06:07 +0000] ` + who + ` REST.POST.MULTI_OBJECT_DELETE - "POST /sales?delete HTTP/1.1" 200 - 100 - 70 12 "-" "aws-cli/2.15" -` + old,
		`111122223333 sales [04/Mar/2026:05:06:07 +0000] ` + who + ` BATCH.DELETE.OBJECT a "POST /sales?delete HTTP/1.1" 204 - - - - - "-" "aws-cli/2.15" -` + old,
		`111122223333 sales [04/Mar/2026:05:06:07 +0000] ` + who + ` BATCH.DELETE.OBJECT b "POST /sales?delete HTTP/1.1" 403 AccessDenied - - - - "-" "aws-cli/2.15" v2` + old,
	}
	for i, line := range strings.Split(strings.TrimSuffix(got, "\n"), "\n") {
		if i >= len(want) || line != want[i] {
			t.Errorf("line %d:\n got %s\nwant %s", i+1, line, want[min(i, len(want)-1)])
		}
		if n := len(fields(t, line)); n != 27 {
			t.Errorf("line %d has %d fields: want the 27 of S3", i+1, n)
		}
	}
}

func TestJSONFormat(t *testing.T) {
	failed := get()
	failed.Operation, failed.Method, failed.Key, failed.VersionID, failed.StoreStatus = s3.DeleteObjects, "POST", "", "", 0
	failed.Batch = []gateway.Batched{{Key: "b", VersionID: "v2", Status: 403, Code: "AccessDenied"}}
	failed.Status, failed.Code, failed.Kind, failed.Cause = 500, "InternalError", fault.Internal, errors.New("broken")
	failed.Caller.Delegation, failed.GatewayKey, failed.Cluster = "dlg_1", "gwk_1", "etl"
	failed.Node, failed.Attachment, failed.ProcessOwner = "nod_1", "att_1", "1000(alice)"
	got := strings.Split(written(t, accesslog.JSON, get(), failed), "\n")
	who := `"source":"192.0.2.7","access_key_id":"ASIAALICE0000000000A","principal":"arn:aws:sts::111122223333:assumed-role/analyst/alice@example.com","account":"111122223333","role":"arn:aws:iam::111122223333:role/analyst","person":"psn_alice","login_session":"lgn_1"`
	head := `{"time":"2026-03-04T05:06:07.089Z","level":"INFO","msg":"s3","request_id":"ABCDEFGHIJKLMNOP",` + who
	tail := `"uri":"/sales/q1/a%20b.csv?versionId=v1","protocol":"HTTP/1.1","host":"s3.example.com","tls":"1.3","cipher":"TLS_AES_128_GCM_SHA256","user_agent":"aws-cli/2.15"}`
	more := `,"delegation":"dlg_1","gateway_key":"gwk_1","cluster":"etl","node":"nod_1","attachment":"att_1","process_owner":"1000(alice)"`
	for i, want := range []string{
		head + `,"operation":"GetObject","bucket":"sales","key":"q1/a b.csv","version_id":"v1","status":206,"sent":100,"received":0,"size":5000,"total_ms":70,"first_byte_ms":12.345,"bucket_account":"111122223333","upstream":"minio","store_status":206,"store_ms":9,"store_request_id":"STORE1","authentication":"REST-HEADER","method":"GET",` + tail,
		head + more + `,"operation":"DeleteObjects","bucket":"sales","status":500,"error":"InternalError","error_class":"internal","cause":"broken","sent":100,"received":0,"size":5000,"total_ms":70,"first_byte_ms":12.345,"bucket_account":"111122223333","upstream":"minio","store_request_id":"STORE1","authentication":"REST-HEADER","method":"POST",` + tail,
		head + more + `,"operation":"DeleteObject","batch":"DeleteObjects","bucket":"sales","key":"b","version_id":"v2","status":403,"error":"AccessDenied"}`,
		"",
	} {
		if got[i] != want {
			t.Errorf("line %d:\n got %s\nwant %s", i+1, got[i], want)
		}
		if want != "" && !json.Valid([]byte(got[i])) {
			t.Errorf("line %d is not JSON", i+1)
		}
	}
}

// fields splits a line as a parser of S3's logs does, which knows quotes and
// brackets and no escapes.
func fields(t testing.TB, line string) (all []string) {
	t.Helper()
	for rest := line; rest != ""; {
		end := " "
		switch rest[0] {
		case '"':
			end = `" `
		case '[':
			end = `] `
		}
		f, after, _ := strings.Cut(rest[1:], end)
		all, rest = append(all, rest[:1]+f), after
	}
	return all
}

// hostile are texts that end fields, lines or objects elsewhere.
var hostile = []string{
	"a\nb", "a\r\nfake 200", `a" 200 - "`, `a\" b`, "[x]", " ", "-", "\x00\x1b[31mred", "\u202egpj.exe", "\u2028\u0085", "\xff\xfe", `","status":200,"x":"`,
	"%0a", strings.Repeat("x", 70_000), "\U000e0041 tag", `\`, `ü "q" ` + "\t", "}\n{",
}

// TestAttackLogInjection: a request forges no second line, no field and no
// object, whatever its key, addresses, headers and errors hold.
func TestAttackLogInjection(t *testing.T) {
	for _, evil := range hostile {
		checkUnbroken(t, evil)
	}
}

func FuzzLogInjection(f *testing.F) {
	for _, evil := range hostile {
		f.Add(evil)
	}
	f.Fuzz(func(t *testing.T, evil string) { checkUnbroken(t, evil) })
}

func checkUnbroken(t *testing.T, evil string) {
	t.Helper()
	r := get()
	r.Key, r.Bucket, r.VersionID, r.Referer, r.UserAgent, r.Host, r.Target = evil, evil, evil, evil, evil, evil, evil
	r.Method, r.Protocol, r.AccessKeyID, r.StoreRequest, r.StoreHost, r.Trace, r.Code = evil, evil, evil, evil, evil, evil, evil
	r.Operation, r.Cause = s3.Name(evil), errors.New(evil)
	caller := *r.Caller
	caller.ARN, caller.SourceIdentity = evil, evil
	r.Caller = &caller
	line, ok := strings.CutSuffix(written(t, accesslog.S3, r), "\n")
	if !ok || strings.ContainsAny(line, "\n\r") || len(fields(t, line)) != 27 {
		t.Errorf("%q: broken line of %d fields\n%s", evil, len(fields(t, line)), line)
	}
	if request := fields(t, line)[8]; strings.Count(request, " ") != 2 {
		t.Errorf("%q: the request is %s", evil, request)
	}
	for i := range len(line) {
		if line[i] < ' ' || line[i] > '~' {
			t.Fatalf("%q: byte %#x in the line", evil, line[i])
		}
	}
	text, ok := strings.CutSuffix(written(t, accesslog.JSON, r), "\n")
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); !ok || err != nil || strings.ContainsAny(text, "\n\r\u202e\u2028\u0085\x1b\x7f") {
		t.Fatalf("%q: broken object %v\n%s", evil, err, text)
	}
	if object["status"] != 206.0 || utf8.ValidString(evil) && evil != "" && object["key"] != evil {
		t.Errorf("%q became %q, status %v", evil, object["key"], object["status"])
	}
	if len(text) > 6*len(evil)*3+60_000 {
		t.Errorf("a line of %d bytes", len(text))
	}
}

// faulty fails until it is mended, and takes at most some bytes a call.
type faulty struct {
	mu   sync.Mutex
	full bool
	some int
	got  bytes.Buffer
}

func (f *faulty) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full {
		n := min(len(b), f.some)
		f.got.Write(b[:n])
		return n, errors.New("no space left on device")
	}
	return f.got.Write(b)
}

func (f *faulty) set(full bool) {
	f.mu.Lock()
	f.full = full
	f.mu.Unlock()
}

// While the disk is full, lines wait; what does not fit is counted and told;
// afterwards each kept line stands there once, none of them in parts.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, told := &faulty{full: true, some: 100}, &faulty{}
		l, err := accesslog.Open(accesslog.Config{Out: out, Most: 4096, Logger: slog.New(slog.NewTextHandler(told, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { l.Run(ctx); close(done) }()
		for range 3 {
			l.Observe(get())
		}
		time.Sleep(time.Second)
		for range 20 {
			l.Observe(get())
		}
		lost := l.Lost()
		if lost == 0 || lost >= 20 {
			t.Errorf("%d lines were counted as lost", lost)
		}
		out.set(false)
		time.Sleep(2 * time.Minute)
		end()
		<-done
		lines := strings.Split(strings.TrimSuffix(out.got.String(), "\n"), "\n")
		if len(lines) != 23-int(lost) {
			t.Errorf("%d lines of 23, %d lost", len(lines), lost)
		}
		for _, line := range lines {
			if !json.Valid([]byte(line)) {
				t.Errorf("half a line: %s", line)
			}
		}
		if !strings.Contains(told.got.String(), "lines of the access log were lost") || !strings.Contains(told.got.String(), "no space left") {
			t.Errorf("the operator was told: %s", told.got.String())
		}
	})
}

// A disk that stays full doesn't keep the process from ending; what was kept is
// counted as lost.
func TestEndsWithAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := accesslog.Open(accesslog.Config{Out: &faulty{full: true}})
		if err != nil {
			t.Fatal(err)
		}
		l.Observe(get())
		ctx, end := context.WithTimeout(t.Context(), time.Minute)
		defer end()
		l.Run(ctx)
		if l.Lost() != 1 {
			t.Errorf("%d lines were counted as lost", l.Lost())
		}
	})
}

// The file is followed by its name: moved, removed, cut, and on request.
func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l, err := accesslog.Open(accesslog.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { l.Run(ctx); close(done) }()
	holds := func(path string, want int) {
		t.Helper()
		for range 500 {
			if b, _ := os.ReadFile(path); bytes.Count(b, []byte("\n")) == want {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		b, err := os.ReadFile(path)
		t.Fatalf("%s: %d lines, %v; want %d", path, bytes.Count(b, []byte("\n")), err, want)
	}
	l.Observe(get())
	holds(path, 1)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	l.Reopen()
	holds(path, 0) // made anew before a line comes
	l.Observe(get())
	holds(path, 1)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l.Observe(get())
	l.Observe(get())
	holds(path, 2)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	l.Observe(get())
	holds(path, 1)
	holds(path+".1", 1)
	end()
	<-done
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("%v, %v: others may read the log", info.Mode(), err)
	}
}

func TestOpenNamesTheSetting(t *testing.T) {
	for _, c := range []accesslog.Config{{}, {Path: filepath.Join(t.TempDir(), "missing", "access.log")}} {
		if _, err := accesslog.Open(c); fault.KindOf(err) != fault.Misconfigured {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// BenchmarkObserve is what a line costs its request.
func BenchmarkObserve(b *testing.B) {
	for name, format := range map[string]accesslog.Format{"json": accesslog.JSON, "s3": accesslog.S3} {
		b.Run(name, func(b *testing.B) {
			l, err := accesslog.Open(accesslog.Config{Format: format, Out: io.Discard})
			if err != nil {
				b.Fatal(err)
			}
			ctx, end := context.WithCancel(context.Background())
			defer end()
			go l.Run(ctx)
			r := get()
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					l.Observe(r)
				}
			})
			if l.Lost() > 0 {
				b.ReportMetric(float64(l.Lost())/float64(b.N), "lost/op")
			}
		})
	}
}

// Every field of a line stands in the documentation.
func TestDocumentedFields(t *testing.T) {
	b, err := os.ReadFile("../../../../docs/operations/observe.md")
	if err != nil {
		t.Fatal(err)
	}
	r := get()
	evil := "x"
	r.Copied, r.Batch = &s3.Source{Bucket: "b", Key: "k"}, []gateway.Batched{{Key: "k", VersionID: "v", Code: "AccessDenied"}}
	r.Referer, r.Trace, r.Code, r.Cause, r.GatewayKey, r.Cluster = evil, evil, evil, errors.New(evil), evil, evil
	r.Caller.Delegation, r.Caller.ServicePrincipal, r.Caller.SourceIdentity = "dlg_1", "svp_1", evil
	fields := 0
	for line := range strings.SplitSeq(strings.TrimSpace(written(t, accesslog.JSON, r)), "\n") {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatal(err)
		}
		for name := range object {
			if fields++; !strings.Contains(string(b), "`"+name+"`") {
				t.Errorf("docs/operations/observe.md lacks the field %s", name)
			}
		}
	}
	if fields < 50 {
		t.Errorf("only %d fields were compared", fields)
	}
}
