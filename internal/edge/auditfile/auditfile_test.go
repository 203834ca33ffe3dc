package auditfile_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/auditfile"
	"carnet.dev/carnet/internal/service/audit"
)

func point(seq int64) audit.Checkpoint {
	return audit.Checkpoint{Head: audit.Head{Writer: "aud_1", Seq: seq, Hash: [32]byte{byte(seq)}},
		At: time.UnixMilli(seq * 1000).UTC(), Signer: "s", Signature: []byte{1, 2, byte(seq)}}
}

func TestAppendsAndReadsBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoints")
	for seq := range int64(2) { // a restart appends
		f, err := auditfile.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Put(t.Context(), point(seq)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	read := func(want, wantDamaged int) {
		t.Helper()
		got, damaged, err := auditfile.Read(path)
		if err != nil || damaged != wantDamaged || len(got) != want {
			t.Fatalf("%d checkpoints, %d damaged lines, %v", len(got), damaged, err)
		}
		for i, c := range got {
			if !reflect.DeepEqual(c, point(int64(i))) {
				t.Errorf("checkpoint %d came back as %+v", i, c)
			}
		}
	}
	read(2, 0)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	// A power cut leaves half a line; the next start goes on behind it.
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(text, `{"writer":"aud`...), 0o600); err != nil {
		t.Fatal(err)
	}
	read(2, 1)
	f, err := auditfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Put(t.Context(), point(2)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	read(3, 1)
}
