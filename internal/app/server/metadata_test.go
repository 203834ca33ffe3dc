package server

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/fault"
)

// Metadata is fetched by the guarded client alone: an address on the inside is
// refused unless the configuration allows it.
func TestMetadataComesFromAFileOrAnAllowedAddress(t *testing.T) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<md/>")) }))
	defer site.Close()
	file := filepath.Join(t.TempDir(), "idp.xml")
	if err := os.WriteFile(file, []byte("<md/>"), 0o600); err != nil {
		t.Fatal(err)
	}
	closed := &config.Config{}
	open := &config.Config{Egress: config.Egress{Allow: []config.Network{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}}}}
	for _, c := range []struct {
		name   string
		config *config.Config
		place  string
		kind   fault.Kind
	}{
		{"file", closed, file, 0},
		{"allowed address", open, site.URL, 0},
		{"address on the inside", closed, site.URL, fault.Denied},
		{"no such file", closed, file + ".not", fault.Invalid},
	} {
		got, err := identityMetadata(t.Context(), c.config, c.place)
		if c.kind == 0 && (err != nil || string(got) != "<md/>") || c.kind != 0 && fault.Of(err).Kind != c.kind {
			t.Errorf("%s: got %q, %v", c.name, got, err)
		}
	}
}
