package federation_test

import (
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/devidp/forge"
)

// TestRefusePending: what an administrator refused does not wait again, and is
// never used; another document waits.
func TestRefusePending(t *testing.T) {
	t.Parallel()
	one, two, three := forge.NewECDSA(t, time.Now()), forge.NewECDSA(t, time.Now()), forge.NewECDSA(t, time.Now())
	w, at := watch(t), newPlace(t, one.Metadata())
	p := w.byURL(t, at)
	at.show(two.Metadata())
	seen, err := w.Refresh(t.Context(), p.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.RefusePending(t.Context(), p.ID, seen.Revision-1); fault.Of(err).Code != "federation.changed" {
		t.Errorf("refused what was never seen: %v", err)
	}
	refused, err := w.RefusePending(t.Context(), p.ID, seen.Revision)
	if err != nil || refused.Kept.Pending != nil {
		t.Fatalf("pending still: %v", err)
	}
	for range 2 {
		if got, err := w.Refresh(t.Context(), p.ID); err != nil || got.Kept.Pending != nil || w.state(t, p).Certificates[0].SHA256 == "" {
			t.Errorf("it waits again: %v", err)
		}
	}
	if sp, err := w.Speaker(p.ID); err != nil || !sp.SAML.Certificates[0].Equal(one.Certificate) {
		t.Errorf("refused metadata is used: %v", err)
	}
	if _, err := w.RefusePending(t.Context(), p.ID, 0); fault.Of(err).Code != "federation.nothing-pending" {
		t.Errorf("refused twice: %v", err)
	}
	at.show(three.Metadata())
	if got, err := w.Refresh(t.Context(), p.ID); err != nil || got.Kept.Pending == nil {
		t.Errorf("another document does not wait: %v", err)
	}
	if a := w.trail.actions(); a != "add metadata-pending metadata-refused metadata-pending" {
		t.Errorf("recorded %q", a)
	}
}
