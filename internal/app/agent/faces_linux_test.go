package agent

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"carnet.dev/carnet/internal/edge/node/localdoc"
)

// TestFilesOfTheAttached: they are there while the attachment is, and the agent says
// where.
func TestFilesOfTheAttached(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.WebIdentity = "on" })
	bearer := w.attach(w.uid)
	own := filepath.Join(w.c.Run, "people", strconv.Itoa(int(w.uid)))
	files := map[string]string{filepath.Join(own, "token"): bearer, filepath.Join(own, "web-identity-token"): "e.j.w"}
	for path, want := range files {
		w.until(path+" is written", func() bool { b, err := os.ReadFile(path); return err == nil && string(b) == want })
		info, err := os.Lstat(path)
		if err != nil || info.Mode().Perm() != 0o400 || info.Sys().(*syscall.Stat_t).Uid != w.uid {
			t.Errorf("%s: %v %v", path, info, err)
		}
	}
	st := into[localdoc.Status]([]byte(w.local(w.uid, http.MethodGet, "/v1/status", nil).Body))
	if st.Attachment == nil || files[st.Attachment.TokenFile] == "" || files[st.Attachment.WebIdentityFile] == "" {
		t.Errorf("status: %+v", st.Attachment)
	}
	if a := w.local(w.uid, http.MethodPost, "/v1/detach", nil); a.Status != http.StatusNoContent {
		t.Fatalf("detach: %+v", a)
	}
	w.until("the files are gone", func() bool { _, err := os.Lstat(own); return os.IsNotExist(err) })
}

// TestFacesThatAreOff: each says why.
func TestFacesThatAreOff(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Listen.Proxy = off })
	st := into[localdoc.Status]([]byte(w.local(w.uid, http.MethodGet, "/v1/status", nil).Body))
	if st.Faces.Proxy != "" || st.Faces.Missing["proxy"] == "" || st.Faces.Metadata != "" || st.Faces.Missing["metadata"] == "" {
		t.Errorf("faces: %+v", st.Faces)
	}
	if offersLoopback(t) && !strings.Contains(st.Faces.Missing["proxy"], "configuration") {
		t.Errorf("faces: %+v", st.Faces)
	}
}
