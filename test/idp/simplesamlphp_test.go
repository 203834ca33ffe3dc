//go:build interop

package idp

import (
	"crypto/rsa"
	"crypto/x509"
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/devidp"
)

//go:embed simplesamlphp samlp keycloak
var files embed.FS

// attributes is what alice's attributes are at the identity providers whose
// users stand in a file.
func attributes() map[string][]string {
	return map[string][]string{
		"https://aws.amazon.com/SAML/Attributes/Role":            {analyst + "," + provider, provider + "," + engineer},
		"https://aws.amazon.com/SAML/Attributes/RoleSessionName": {user},
		"https://aws.amazon.com/SAML/Attributes/SessionDuration": {"14400"},
		"groups":      {"analysts", "all"},
		"displayName": {"Alice Analyst"},
		"mail":        {"alice@example.com"},
	}
}

// fileIdP is an identity provider that reads its settings from a file at every
// request.
type fileIdP struct {
	kind     string
	version  string
	base     string
	folder   string
	password string
	settings map[string]any
	sign     devidp.Signer
	program  *program
}

func (f *fileIdP) name() string          { return f.kind }
func (f *fileIdP) release() string       { return f.version }
func (f *fileIdP) signer() devidp.Signer { return f.sign }
func (f *fileIdP) secret() string        { return f.password }
func (f *fileIdP) log() string           { return f.program.log.String() }

func (f *fileIdP) save(tb testing.TB) {
	tb.Helper()
	text, err := json.Marshal(f.settings)
	must(tb, err)
	// In one step: the program may be reading.
	must(tb, os.WriteFile(filepath.Join(f.folder, "settings.new"), text, 0o600))
	must(tb, os.Rename(filepath.Join(f.folder, "settings.new"), filepath.Join(f.folder, "settings.json")))
}

func (f *fileIdP) keys(tb testing.TB) {
	tb.Helper()
	must(tb, os.WriteFile(filepath.Join(f.folder, "idp.key"), []byte(pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(f.sign.Key.(*rsa.PrivateKey)))), 0o600))
	must(tb, os.WriteFile(filepath.Join(f.folder, "idp.crt"), []byte(pemOf("CERTIFICATE", f.sign.Certificate.Raw)), 0o600))
}

// ciphers are the algorithms of a mode's encryption.
var ciphers = map[string]string{"": "", "GCM": devidp.AES256GCM, "CBC": devidp.AES256CBC}

func (f *fileIdP) set(tb testing.TB, c *carnet, m mode) {
	tb.Helper()
	sp := map[string]any{
		"url": c.url, "sign_assertion": m.signed != "response", "sign_response": m.signed != "assertion",
		"cipher": ciphers[m.cipher], "validate": m.request == "signed", "signing": []string{}, "encryption": "",
	}
	if c.server != nil {
		_, known := c.provider(tb)
		var signing []string
		for _, cert := range known.Signing {
			signing = append(signing, bare(cert.Raw))
			sp["signing_pem"] = pemOf("CERTIFICATE", cert.Raw)
		}
		sp["signing"] = signing
		if known.Encrypt != nil {
			sp["encryption"] = bare(known.EncryptCertificate.Raw)
			sp["encryption_pem"] = pemOf("CERTIFICATE", known.EncryptCertificate.Raw)
			der, err := x509.MarshalPKIXPublicKey(known.Encrypt)
			must(tb, err)
			sp["encryption_public_pem"] = pemOf("PUBLIC KEY", der)
		}
	}
	f.settings["sp"] = sp
	f.save(tb)
}

func newFileIdP(tb testing.TB, kind string) *fileIdP {
	f := &fileIdP{kind: kind, folder: tb.TempDir(), password: "correct horse battery", sign: signer(tb)}
	f.base = fmt.Sprintf("http://localhost:%d", freePort(tb))
	f.keys(tb)
	return f
}

func (f *fileIdP) port() string { return f.base[strings.LastIndexByte(f.base, ':')+1:] }

// startSimpleSAMLphp runs Debian's package under PHP's own web server.
func startSimpleSAMLphp(tb testing.TB) realIdP {
	tb.Helper()
	f := newFileIdP(tb, "SimpleSAMLphp")
	entries, err := files.ReadDir("simplesamlphp")
	must(tb, err)
	for _, e := range entries {
		text, err := files.ReadFile("simplesamlphp/" + e.Name())
		must(tb, err)
		must(tb, os.WriteFile(filepath.Join(f.folder, e.Name()), text, 0o600))
	}
	must(tb, os.Mkdir(filepath.Join(f.folder, "tmp"), 0o700))
	person := attributes()
	person["uid"] = []string{user}
	f.settings = map[string]any{
		"base": f.base, "salt": devidp.NewID(), "password": f.password, "people": map[string]any{user: person},
	}
	f.save(tb)
	out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", "simplesamlphp").Output()
	if err != nil {
		tb.Fatalf("simplesamlphp is not installed: %v", err)
	}
	f.version, _, _ = strings.Cut(string(out), "-")
	env := append(os.Environ(), "SIMPLESAMLPHP_CONFIG_DIR="+f.folder)
	f.program = run(tb, f.folder, env, "php", "-d", "session.save_path="+f.folder+"/tmp", "-d", "error_reporting=0",
		"-S", "127.0.0.1:"+f.port(), "-t", "/usr/share/simplesamlphp/www", filepath.Join(f.folder, "router.php"))
	f.program.await(tb, f.base+"/saml2/idp/metadata.php", 20*time.Second)
	return &simpleSAMLphp{f}
}

type simpleSAMLphp struct{ *fileIdP }

func (s *simpleSAMLphp) metadata(tb testing.TB) []byte {
	return s.program.await(tb, s.base+"/saml2/idp/metadata.php", 5*time.Second)
}

func (s *simpleSAMLphp) start(c *carnet) string {
	return s.base + "/saml2/idp/SSOService.php?spentityid=" + escape(c.url)
}

func (s *simpleSAMLphp) leave(*carnet) string {
	return s.base + "/saml2/idp/SingleLogoutService.php?ReturnTo=" + escape(s.base+"/")
}

// startSAMLP runs the Node.js program beside this file.
func startSAMLP(tb testing.TB) realIdP {
	tb.Helper()
	f := newFileIdP(tb, "samlp on Node.js")
	modules := filepath.Join(need(tb, "CARNET_IDPS"), "samlp")
	text, err := files.ReadFile("samlp/server.js")
	must(tb, err)
	must(tb, os.WriteFile(filepath.Join(f.folder, "server.js"), text, 0o600))
	f.settings = map[string]any{
		"entity_id": f.base + "/metadata", "password": f.password, "people": map[string]any{user: attributes()},
	}
	f.save(tb)
	var about struct{ Version string }
	text, err = os.ReadFile(filepath.Join(modules, "node_modules/samlp/package.json"))
	must(tb, err)
	must(tb, json.Unmarshal(text, &about))
	f.version = about.Version
	f.program = run(tb, f.folder, os.Environ(), "node", "server.js", f.folder, modules, f.port())
	f.program.await(tb, f.base+"/metadata", 20*time.Second)
	return &samlpIdP{f}
}

type samlpIdP struct{ *fileIdP }

func (s *samlpIdP) metadata(tb testing.TB) []byte {
	return s.program.await(tb, s.base+"/metadata", 5*time.Second)
}

func (s *samlpIdP) start(*carnet) string { return s.base + "/sso" }
func (s *samlpIdP) leave(*carnet) string { return s.base + "/slo" }
