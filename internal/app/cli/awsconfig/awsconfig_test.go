package awsconfig_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"carnet.dev/carnet/internal/app/cli/awsconfig"
)

const s3 = "http://127.0.0.1:8481"

func block(t testing.TB, owner string, names ...string) string {
	t.Helper()
	b := awsconfig.Block{Owner: owner}
	for _, n := range names {
		b.Profiles = append(b.Profiles, awsconfig.Profile{
			Name: n, Role: "arn:aws:iam::111122223333:role/" + n, Region: "us-east-1",
			Command: "/usr/bin/carnet", S3: s3, STS: s3,
		})
	}
	out, err := b.Render()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRender(t *testing.T) {
	t.Parallel()
	b := awsconfig.Block{Owner: "default", CABundle: "/ca.pem", Profiles: []awsconfig.Profile{
		{Name: "a", Role: "arn:a", Region: "us-east-1", Command: "/opt/my tools/carnet", S3: s3, STS: s3},
		{Name: "b", Role: "arn:b", Region: "eu-west-1", Command: `C:\Program Files\carnet.exe`},
		{Name: "c", Role: "arn:c", Region: "us-east-1", Command: "/bin/carnet", S3: "https://other"},
	}}
	got, err := b.Render()
	const want = `# BEGIN CARNET default: "carnet configure" writes this block; changes inside are lost
[profile a]
credential_process = "/opt/my tools/carnet" credentials --profile default --role arn:a
region = us-east-1
ca_bundle = /ca.pem
services = carnet-default
s3 =
  addressing_style = path
  signature_version = s3v4
[profile b]
credential_process = "C:\Program Files\carnet.exe" credentials --profile default --role arn:b
region = eu-west-1
ca_bundle = /ca.pem
[profile c]
credential_process = /bin/carnet credentials --profile default --role arn:c
region = us-east-1
ca_bundle = /ca.pem
services = carnet-default+2
s3 =
  addressing_style = path
  signature_version = s3v4
[services carnet-default]
s3 =
  endpoint_url = http://127.0.0.1:8481
sts =
  endpoint_url = http://127.0.0.1:8481
[services carnet-default+2]
s3 =
  endpoint_url = https://other
# END CARNET default
`
	if err != nil || got != want {
		t.Errorf("got %v:\n%s\nwant:\n%s", err, got, want)
	}
}

func TestRenderRefuses(t *testing.T) {
	t.Parallel()
	for _, path := range []string{`/a"b`, "/a$b", "/a`b", `/a\b`, "/a\nb", "/a%b c", "/a!b"} {
		b := awsconfig.Block{Owner: "d", Profiles: []awsconfig.Profile{{Name: "a", Role: "r", Region: "x", Command: path}}}
		if got, err := b.Render(); err == nil {
			t.Errorf("%q was written:\n%s", path, got)
		}
	}
	b := awsconfig.Block{Owner: "d", Profiles: []awsconfig.Profile{{Name: "a", Role: "r\n[default]", Region: "x", Command: "/c"}}}
	if got, err := b.Render(); err == nil {
		t.Errorf("a line break was written:\n%s", got)
	}
}

func TestSplice(t *testing.T) {
	t.Parallel()
	old, now := block(t, "default", "old"), block(t, "default", "new")
	other := block(t, "work", "x")
	ownOld := strings.Join(strings.Split(old, "\n")[1:len(strings.Split(old, "\n"))-2], "\n") + "\n" // without markers
	begin, end := strings.SplitAfter(old, "\n")[0], "# END CARNET default\n"
	const mine, more = "[profile mine]\nregion = eu-west-1\n", "[profile more]\n# note\nregion = eu-west-2\n"
	for name, tc := range map[string]struct{ in, want string }{
		"no file":             {"", now},
		"no block":            {mine, mine + "\n" + now},
		"no line break":       {"[default]\nregion = a", "[default]\nregion = a\n\n" + now},
		"blank line at end":   {mine + "\n", mine + "\n" + now},
		"replaced in place":   {mine + old + more, mine + now + more},
		"other owner's kept":  {other + old, other + now},
		"begin lost":          {mine + ownOld + end + more, mine + now + more},
		"end lost":            {mine + begin + ownOld + more, mine + now + more},
		"end lost, last":      {mine + begin + ownOld, mine + now},
		"end lost, remark":    {begin + ownOld + "# a remark\n" + more, now + "# a remark\n" + more},
		"end lost, gap":       {begin + "\n" + ownOld + "\n" + more, now + more},
		"both lost":           {ownOld, ownOld + "\n" + now},
		"only markers":        {mine + begin + end, mine + now},
		"only end":            {mine + end + more, mine + now + more},
		"twice":               {old + mine + old, now + mine},
		"begin twice":         {begin + begin + ownOld + end + mine, now + mine},
		"foreign inside":      {begin + more + ownOld + end + mine, now + more + mine},
		"other line breaks":   {strings.ReplaceAll(mine+old+more, "\n", "\r\n"), strings.ReplaceAll(mine, "\n", "\r\n") + now + strings.ReplaceAll(more, "\n", "\r\n")},
		"hand-made lookalike": {"[profile c]\ncredential_process = /usr/bin/carnet credentials --profile default --role r\n" + old, "[profile c]\ncredential_process = /usr/bin/carnet credentials --profile default --role r\n" + now},
	} {
		if got := awsconfig.Splice(tc.in, "default", now); got != tc.want {
			t.Errorf("%s: got:\n%s\nwant:\n%s", name, got, tc.want)
		}
		if again := awsconfig.Splice(tc.want, "default", now); again != tc.want {
			t.Errorf("%s: a second time changes it to:\n%s", name, again)
		}
	}
	if got := awsconfig.Splice(mine+old+more, "default", ""); got != mine+more {
		t.Errorf("taken away: got:\n%s", got)
	}
}

// Whatever stands in the file and however the markers were damaged, every
// foreign line is still there, in order, and there is exactly one block.
func TestSpliceKeepsForeignLines(t *testing.T) {
	t.Parallel()
	now := block(t, "default", "new")
	pieces := append(strings.SplitAfter(block(t, "default", "old", "older"), "\n"),
		"[profile mine]\n", "region = eu-west-1\n", "s3 =\n", "  endpoint_url = https://mine\n", "# a remark\n", "\n", "[default]\n", "[services mine]\n")
	rapid.Check(t, func(t *rapid.T) {
		head := "[profile first]\nregion = first\n"
		in := head + strings.Join(rapid.SliceOf(rapid.SampledFrom(pieces)).Draw(t, "lines"), "")
		foreign := "[profile kept]\n# kept\nregion = kept\n"
		in += foreign
		got := awsconfig.Splice(in, "default", now)
		if !strings.HasPrefix(got, head) || !strings.Contains(got, foreign) {
			t.Fatalf("foreign lines were lost:\n%s\nfrom:\n%s", got, in)
		}
		if strings.Count(got, now) != 1 || strings.Count(got, "# BEGIN CARNET default:") != 1 || strings.Count(got, "# END CARNET default\n") != 1 {
			t.Fatalf("want exactly one block:\n%s", got)
		}
		if again := awsconfig.Splice(got, "default", now); again != got {
			t.Fatalf("a second time changes:\n%s\nto:\n%s", got, again)
		}
	})
}

func TestSections(t *testing.T) {
	t.Parallel()
	text := "\ufeff[default]\n" + block(t, "default", "own") + "[profile \"lab\"]\n  [profile   indented ]\n[lab2]\nx = [no]\n"
	got := awsconfig.Sections(text, "default")
	for _, want := range []string{"default", "profile lab", "profile indented", "lab2"} {
		if !got[want] {
			t.Errorf("%q is missing in %v", want, got)
		}
	}
	if len(got) != 4 {
		t.Errorf("got %v", got)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fresh := filepath.Join(dir, "new", "config")
	if text, err := awsconfig.Read(fresh); err != nil || text != "" {
		t.Errorf("missing file: %q, %v", text, err)
	}
	if err := awsconfig.Write(fresh, "a"); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(fresh); info.Mode().Perm() != 0o600 {
		t.Errorf("a new file has mode %v", info.Mode())
	}
	if err := os.Chmod(fresh, 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "config")
	if err := os.Symlink(fresh, link); err != nil {
		t.Fatal(err)
	}
	if err := awsconfig.Write(link, "b"); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Lstat(link); info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced")
	}
	text, err := awsconfig.Read(link)
	info, _ := os.Stat(fresh)
	if err != nil || text != "b" || info.Mode().Perm() != 0o644 {
		t.Errorf("through the link: %q, %v, mode %v", text, err, info.Mode())
	}
	if _, err := awsconfig.Read(dir); err == nil {
		t.Error("a folder was read as a file")
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	env := map[string]string{"HOME": "/home/a", "AWS_CONFIG_FILE": "/c"}
	config, credentials, err := awsconfig.Places(func(k string) string { return env[k] })
	if err != nil || config != "/c" || credentials != "/home/a/.aws/credentials" {
		t.Errorf("got %q, %q, %v", config, credentials, err)
	}
	if _, _, err := awsconfig.Places(func(string) string { return "" }); err == nil {
		t.Error("no home, and no error")
	}
}
