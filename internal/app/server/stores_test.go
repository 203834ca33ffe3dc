package server_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"carnet.dev/carnet/internal/app/visitor"
)

// foldingStore is a foreign store on a disk that doesn't tell letter case
// apart, with one bucket. It believes every signature.
func foldingStore(t *testing.T) *httptest.Server {
	t.Helper()
	var mu sync.Mutex
	kept := map[string]bool{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = io.Copy(io.Discard, r.Body)
		key := strings.ToLower(r.URL.Path)
		switch {
		case r.Method == http.MethodGet && r.URL.Path == "/":
			_, _ = io.WriteString(w, "<ListAllMyBucketsResult><Buckets><Bucket><Name>sales</Name></Bucket></Buckets></ListAllMyBucketsResult>")
		case r.Method == http.MethodPut:
			kept[key] = true
		case r.Method == http.MethodDelete:
			delete(kept, key)
			w.WriteHeader(http.StatusNoContent)
		case !kept[key]:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// A policy decides on the text of a key. A foreign store that folds keys is
// refused, also where it is said to keep them as a disk does.
func TestForeignStoreThatFoldsKeys(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{"filesystem", "literal"} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			store := foldingStore(t)
			in := install(t, replace("{name: disk, kind: embedded}", "{name: disk, kind: s3, endpoint: \""+store.URL+"\", region: us-east-1, access_key_file: id, secret_key_file: key, keys: "+rule+"}"))
			in.write(t, "id", "AKSTORE")
			in.write(t, "key", "secret")
			in.must(t, "state", "new-key", filepath.Join(in.folder, "kek"))
			o := in.carnet(t, "server")
			if o.code != 1 || !strings.Contains(o.err, "takes different keys for one: letter case") {
				t.Errorf("the server started, or did not say why not: %s", o)
			}
		})
	}
}

// TestServerStartsWhileAStoreIsAway: one store of several is away. The server
// starts and is ready, answers for that store at once, says so, and opens it when
// it is back and keeps to what is said of it.
func TestServerStartsWhileAStoreIsAway(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	in := install(t, replace("  - {name: disk, kind: embedded}", "  - {name: disk, kind: embedded}\n  - {name: far, kind: s3, endpoint: \"http://"+address+"\", access_key_file: id, secret_key_file: key, keys: filesystem}"),
		replace("buckets:\n", "buckets:\n  - {match: far-*, account: \"111122223333\", upstream: far}\n"))
	in.write(t, "id", "AKSTORE")
	in.write(t, "key", "secret")
	in.must(t, "state", "new-key", filepath.Join(in.folder, "kek"))
	in.serve(t)
	ready := func() string { page := open(t, visitor.New(nil), in.base+"/readyz"); return page.Body }
	if got := ready(); !strings.HasPrefix(got, "ready\n") || !strings.Contains(got, "upstream disk: up\n") || !strings.Contains(got, "upstream far: waiting\n") {
		t.Errorf("/readyz says %q", got)
	}
	l, err := net.Listen("tcp", address)
	must(t, err)
	store := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, "<ListAllMyBucketsResult><Buckets></Buckets></ListAllMyBucketsResult>")
		}
	})}
	served := make(chan error, 1)
	go func() { served <- store.Serve(l) }()
	t.Cleanup(func() { must(t, store.Close()); <-served })
	soon(t, "the store to be open", func() bool { return strings.Contains(ready(), "upstream far: up\n") })
}
