package binding

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
)

// long is a server whose keys are as long as those of AWS.
type long struct{ *server }

func (long) Credentials(_ context.Context, id identity.AttachmentID, _ string) (Keys, error) {
	return Keys{
		AccessKeyID: "ASIAIOSFODNN7EXAMPLE", SecretAccessKey: secret.New(strings.Repeat("k", 40)), SessionToken: secret.New(strings.Repeat("t", 900) + string(id)),
		Expiration: time.Now().Add(time.Hour), Role: reader, AccountID: "111122223333", Region: "us-east-1",
	}, nil
}

// TestMemoryOfAnIdentity: 3 KiB at most for each person with keys of a role.
func TestMemoryOfAnIdentity(t *testing.T) {
	const people = 2000
	s := newService(long{newServer()})
	var all []Attachment
	for i := range people {
		a := attached(fmt.Sprintf("att_%022d", i), uint32(1000+i), "/user.slice/user-1000.slice/session-1.scope", 11)
		all = append(all, a)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s.Confirm(View{Revision: 1, Attachments: all})
	for i := range all {
		a, err := s.Of(Caller{UID: all[i].UID, Cgroup: 11})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Keys(t.Context(), a, ""); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (after.HeapAlloc - before.HeapAlloc) / people
	t.Logf("%d bytes for each identity", each)
	if each > 3<<10 {
		t.Errorf("%d bytes for each identity: want at most 3 KiB", each)
	}
	runtime.KeepAlive(s)
}
