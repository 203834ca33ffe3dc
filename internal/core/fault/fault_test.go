package fault_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
)

func TestKindsHaveOwnNames(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range fault.Kinds() {
		if seen[k.String()] {
			t.Errorf("%v is named twice", k)
		}
		seen[k.String()] = true
	}
	if len(seen) != 13 {
		t.Errorf("%d kinds: the list is closed at 13", len(seen))
	}
}

func TestNothingInternalBecomesPublic(t *testing.T) {
	cause := errors.New("dial unix /run/secret/place: refused")
	f := fault.Of(fmt.Errorf("while reading: %w", cause))
	if f.Kind != fault.Internal || strings.Contains(f.Public+f.Mend, "unix") {
		t.Errorf("got %q, %q", f.Public, f.Mend)
	}
	if !errors.Is(f, cause) {
		t.Error("the cause is lost to the log")
	}
}

func TestIsMatchesKindAndCode(t *testing.T) {
	err := fmt.Errorf("around: %w", fault.Coded(fault.Expired, "saml.time", "too old"))
	if !errors.Is(err, fault.New(fault.Expired, "")) || !errors.Is(err, fault.Coded(fault.Expired, "saml.time", "")) {
		t.Error("does not match itself")
	}
	if errors.Is(err, fault.New(fault.Denied, "")) || errors.Is(err, fault.Coded(fault.Expired, "saml.other", "")) {
		t.Error("matches another")
	}
}

func TestNoErrorHasNoFault(t *testing.T) {
	if fault.Of(nil) != nil {
		t.Error("nil has a fault")
	}
	if k := fault.KindOf(nil); k != fault.Internal {
		t.Errorf("nil is of kind %v", k)
	}
}

func TestDetailsAreOfTheCopy(t *testing.T) {
	f := fault.New(fault.Invalid, "no").With("A", "1")
	a, b := f.With("B", "2"), f.With("B", strings.Repeat("x", 4000))
	if len(f.Details) != 1 || a.Details[1].Value != "2" || len(b.Details[1].Value) > 200 {
		t.Errorf("%v, %v, %d", f.Details, a.Details, len(b.Details[1].Value))
	}
}
