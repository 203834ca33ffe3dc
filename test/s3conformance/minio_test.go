//go:build interop

package s3conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/test/running"
)

// mint runs minio-go's functional tests, each in a process of its own: a test
// that fails ends its program.
func mint(t *testing.T, address string, k keys) map[string]outcome {
	t.Helper()
	program := filepath.Join(running.Need(t, "CARNET_S3_CLIENTS"), "mint")
	list, err := exec.Command(program).Output()
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(list))
	if len(names) == 0 {
		t.Fatal("minio-go has no functional test")
	}
	results := map[string]outcome{}
	var mu sync.Mutex
	var all sync.WaitGroup
	free := make(chan struct{}, 4)
	for _, name := range names {
		free <- struct{}{}
		all.Go(func() {
			o := mintOne(t, program, name, address, k)
			mu.Lock()
			results[name] = o
			mu.Unlock()
			<-free
		})
	}
	all.Wait()
	return results
}

func mintOne(t *testing.T, program, name, address string, k keys) outcome {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, name)
	dir := t.TempDir()
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=/usr/bin:/bin", "HOME=" + dir, "TMPDIR=" + dir, "SERVER_ENDPOINT=" + strings.TrimPrefix(address, "http://"), "ACCESS_KEY=" + k.id, "SECRET_KEY=" + k.secret,
		"ENABLE_HTTPS=0", "ENABLE_KMS=0", "MINT_MODE=full", "SERVER_REGION=" + region,
	}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	began := time.Now()
	err := cmd.Run()
	o := outcome{Milliseconds: time.Since(began).Milliseconds()}
	passed, ignored := 0, 0
	for line := range strings.Lines(out.String()) {
		var v struct{ Status, Alert, Message, Error string }
		if json.Unmarshal([]byte(line), &v) != nil {
			continue
		}
		switch v.Status {
		case "PASS":
			passed++
		case "NA":
			ignored++
			o.Message = v.Alert
		case "FAIL":
			o.Message = strings.Join([]string{v.Alert, v.Message, v.Error}, " ")
			o.Status = "fail"
		}
	}
	switch {
	case o.Status == "fail":
	case ctx.Err() != nil:
		o.Status, o.Message = "timeout", "did not end within 5m"
	case err != nil:
		o.Status, o.Message = "panic", tail(said.String(), 2000)
	case ignored > 0:
		o.Status = "skip" // the server does not do it
	case passed > 0:
		o.Status = "pass"
	default:
		o.Status = "skip" // needs what nobody set up, such as a queue
	}
	return o
}

// TestMinioGo runs minio-go's functional tests straight and through the gateway.
func TestMinioGo(t *testing.T) {
	if *quick {
		t.Log("not part of the short run")
		return
	}
	list, err := parseAllowed(allowedText)
	if err != nil {
		t.Fatal(err)
	}
	l := newLanes(t)
	t.Run("run", func(t *testing.T) {
		l.start(t, "minio, straight", func(t *testing.T) map[string]outcome {
			return mint(t, startUpstream(t, true).url, keys{id: rootID, secret: rootKey})
		})
		l.start(t, "minio", func(t *testing.T) map[string]outcome {
			up := startUpstream(t, true)
			g := startGateway(t, &up)
			return mint(t, g.url, g.static)
		})
		l.start(t, "minio-session", func(t *testing.T) map[string]outcome {
			up := startUpstream(t, true)
			g := startGateway(t, &up)
			return mint(t, resigning(t, g), keys{id: "AKIDWITHOUTTOKEN", secret: "any secret"})
		})
	})
	l.report(t, "minio", "minio, straight", list)
	l.report(t, "minio-session", "minio, straight", list)
	if !t.Failed() {
		l.keepFor(t, "minio-go", "github.com/minio/minio-go/v7", nil)
	}
}
