//go:build interop

package clients

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"carnet.dev/carnet/test/running"
)

// program gives how a client's driver is started.
func program(t *testing.T, w *world, id string) []string {
	t.Helper()
	from := func(folder string) string { return filepath.Join(running.Need(t, "CARNET_CLIENTS"), folder) }
	here := func(path string) string {
		path, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	switch id {
	case "boto3":
		return []string{filepath.Join(running.Need(t, "CARNET_VENV"), "bin", "python"), here("python/drive_boto3.py")}
	case "duckdb", "pyarrow", "polars", "s3fs":
		return []string{from(id + "/bin/python"), here("python/drive_" + id + ".py")}
	case "aws-v1":
		return []string{here("shell/aws.sh"), filepath.Join(running.Need(t, "CARNET_VENV"), "bin", "aws")}
	case "aws-v2":
		return []string{here("shell/aws.sh"), from("aws-v2/bin/aws")}
	case "aws-debian":
		return []string{here("shell/aws.sh"), "/usr/bin/aws"}
	case "rclone", "s3cmd":
		return []string{here("shell/" + id + ".sh")}
	case "go", "minio-go":
		return []string{from(id + "/drive")}
	case "javascript":
		return []string{"node", from("node/drive.mjs")}
	case "java":
		return java(t, w, from("java"))
	case "hadoop":
		return java(t, w, from("hadoop"))
	}
	t.Fatalf("nothing is known of the client %s", id)
	return nil
}

// java runs a driver with the world's CA in a store that Java can read.
func java(t *testing.T, w *world, dir string) []string {
	t.Helper()
	store := filepath.Join(t.TempDir(), "trust.p12")
	if out, err := exec.Command("keytool", "-importcert", "-noprompt", "-alias", "carnet", "-file", w.CA, "-keystore", store, "-storepass", "changeit", "-storetype", "PKCS12").CombinedOutput(); err != nil {
		t.Fatalf("keytool: %v\n%s", err, out)
	}
	return []string{
		"java", "-Xmx1g", "-Djavax.net.ssl.trustStore=" + store, "-Djavax.net.ssl.trustStorePassword=changeit",
		"-cp", filepath.Join(dir, "jars", "*") + ":" + filepath.Join(dir, "classes"), "Drive",
	}
}

// TestClients runs the rows: client, scheme, kind of keys.
func TestClients(t *testing.T) {
	w := start(t)
	results := map[string]*kept{}
	for _, c := range clients {
		t.Run(c.id, func(t *testing.T) {
			argv := program(t, w, c.id)
			for _, scheme := range schemes {
				t.Run(scheme, func(t *testing.T) {
					for _, keys := range keyKinds {
						t.Run(keys, func(t *testing.T) {
							if results[c.id] == nil {
								results[c.id] = &kept{Runs: map[string]map[string]cell{}}
							}
							r := &run{world: w, client: c, scheme: scheme, keys: keys, out: t.TempDir()}
							r.do(t, argv)
							results[c.id].Version, results[c.id].Runs[scheme+"/"+keys] = r.version, r.cells
						})
					}
				})
			}
		})
	}
	if *update {
		keepResults(t, results)
		return
	}
	compare(t, results)
}

// run is one client over one scheme with one kind of keys.
type run struct {
	*world
	client       client
	scheme, keys string
	out          string
	version      string
	cells        map[string]cell
}

func (r *run) prefix() string { return r.client.id + "/" + r.scheme + "-" + r.keys + "/" }

func (r *run) do(t *testing.T, argv []string) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], append(argv[1:], operations...)...)
	cmd.Env = r.environment()
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s%s", argv, err, out.String(), said.String())
	}
	r.cells = map[string]cell{}
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Logf("not a line of the driver: %s", lines.Text()) // of a library that prints
			continue
		}
		if l.Op == "version" {
			r.version = l.Version
			continue
		}
		r.cells[l.Op] = r.judge(t, l)
	}
	for _, op := range operations {
		if c, ok := r.cells[op]; !ok || c.Outcome == fail {
			t.Errorf("%s: %s", op, c.Says)
		}
	}
	if t.Failed() {
		t.Logf("it said:\n%.4000s", said.String())
	}
	r.clock(t, time.Since(began))
}

// clock keeps how long it took, where nobody compares it.
func (r *run) clock(t *testing.T, took time.Duration) {
	f, err := os.OpenFile(filepath.Join(running.Need(t, "CARNET_CLIENTS"), "seconds.txt"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprintf(f, "%s/%s/%s %.1f\n", r.client.id, r.scheme, r.keys, took.Seconds())
}

// environment is all that a driver knows.
func (r *run) environment() []string {
	k := r.world.keys[r.keys]
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + r.out, "TMPDIR=" + r.out, "LC_ALL=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1", "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
		"AWS_REGION=" + region, "AWS_DEFAULT_REGION=" + region, "AWS_ACCESS_KEY_ID=" + k.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + k.SecretAccessKey,
		"CLIENT_BUCKET=" + bucket, "CLIENT_PREFIX=" + r.prefix(), "CLIENT_SOURCE=" + source, "CLIENT_MANY=" + many, "CLIENT_FILES=" + r.files, "CLIENT_OUT=" + r.out,
	}
	if k.SessionToken != "" {
		env = append(env, "AWS_SESSION_TOKEN="+k.SessionToken)
	}
	if r.scheme == "http" {
		return append(env, "CLIENT_ENDPOINT="+r.AWS)
	}
	env = append(env, "CLIENT_ENDPOINT="+r.AWSTLS, "CLIENT_CA="+r.CA)
	if r.client.ca != "" {
		env = append(env, r.client.ca+"="+r.CA)
	}
	return env
}

// line is what a driver prints for an operation.
type line struct {
	Op      string
	Version string
	Error   string
	URL     string
	Errors  map[string]string // of odd, by name
}

// judge looks at the effect by itself; what the driver says of it counts only
// against it.
func (r *run) judge(t *testing.T, l line) cell {
	if l.Op == "odd" {
		return r.judgeOdd(t, l)
	}
	said := l.Error
	if said == "" {
		err := r.effect(t, l)
		if err == nil {
			return cell{Outcome: pass}
		}
		said = err.Error()
	}
	if words, ok := r.known(l.Op, "", said); ok {
		return cell{Outcome: cannot, Says: words}
	}
	return cell{Outcome: fail, Says: said}
}

func (r *run) effect(t *testing.T, l line) error {
	name := l.Op + ".csv"
	switch l.Op {
	case "put", "stream", "copy":
		return r.same(name, name, r.content(t, "small.csv"))
	case "multipart":
		if err := r.same(name, name, r.content(t, "big.csv")); err != nil {
			return err
		}
		head, err := r.s3.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String(r.prefix() + name)})
		if err != nil || !strings.Contains(*head.ETag, "-") {
			return fmt.Errorf("the object did not come in parts: %+v, %v", head, err)
		}
	case "presign":
		return r.opens(l.URL, r.content(t, "small.csv"))
	case "list":
		var want []string
		for i := range manyCount {
			want = append(want, manyKey(i))
		}
		return r.listed("list", want)
	}
	return nil
}

// same holds what the store has, and what the client read back, to what it
// should be.
func (r *run) same(key, kept string, want []byte) error {
	got, err := r.stored(r.prefix() + key)
	if err != nil || !bytes.Equal(got, want) {
		return fmt.Errorf("the store holds %d bytes under %s, want %d others%s", len(got), clip(key), len(want), because(err))
	}
	back, err := os.ReadFile(filepath.Join(r.out, filepath.FromSlash(kept)))
	if err != nil || !bytes.Equal(back, want) {
		return fmt.Errorf("the client read back %d bytes of %s, want %d others%s", len(back), clip(key), len(want), because(err))
	}
	return nil
}

// because gives the cause without the path, which may be long.
func because(err error) string {
	var at *fs.PathError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &at):
		return ": " + at.Err.Error()
	}
	return ": " + err.Error()
}

func (r *run) listed(file string, want []string) error {
	text, err := os.ReadFile(filepath.Join(r.out, file))
	if err != nil {
		return err
	}
	got := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		return fmt.Errorf("listed %d keys, want %d; the first that is missing is %q", len(got), len(want), missing(want, got))
	}
	return nil
}

func missing(want, got []string) string {
	for _, key := range want {
		if !slices.Contains(got, key) {
			return key
		}
	}
	return ""
}

// opens follows a link as somebody without keys.
func (r *run) opens(link string, want []byte) error {
	if !strings.Contains(link, "X-Amz-Signature=") {
		return fmt.Errorf("not a link of version 4: %s", link)
	}
	pem, err := os.ReadFile(r.CA)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Get(link)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || !bytes.Equal(body, want) {
		return fmt.Errorf("the link answers %d with %d bytes (%v): %.300s", res.StatusCode, len(body), err, body)
	}
	return nil
}

// judgeOdd looks at each name by itself.
func (r *run) judgeOdd(t *testing.T, l line) cell {
	text, _ := os.ReadFile(filepath.Join(r.out, "odd.list"))
	listed := strings.Split(string(text), "\n")
	out := cell{Outcome: pass, Lost: map[string]string{}}
	var failed []string
	for i, name := range oddNames {
		err := r.same("odd/"+name, "odd/"+name, table(i+1))
		if err == nil && !slices.Contains(listed, r.prefix()+"odd/"+name) {
			err = fmt.Errorf("the client does not list %s", clip(name))
		}
		if err == nil && l.Errors[name] == "" {
			continue
		}
		words, ok := r.known("odd", name, l.Errors[name]+l.Error)
		if ok {
			out.Lost[name] = words
			continue
		}
		failed = append(failed, fmt.Sprintf("%s: %.500s (%v)", clip(name), l.Errors[name], err))
	}
	if len(failed) > 0 || l.Error != "" && len(out.Lost) == 0 {
		return cell{Outcome: fail, Says: strings.Join(append(failed, l.Error), "\n")}
	}
	if len(out.Lost) == 0 {
		out.Lost = nil
	}
	return out
}

// compare holds the runs to what is kept of them.
func compare(t *testing.T, results map[string]*kept) {
	known := readResults(t)
	for _, c := range clients {
		got := results[c.id]
		if got == nil {
			continue
		}
		want := known[c.id]
		if want == nil {
			t.Errorf("%s is not in %s", c.id, resultsFile)
			continue
		}
		if got.Version != want.Version && !c.distribution {
			t.Errorf("%s is release %s, %s says %s", c.id, got.Version, resultsFile, want.Version)
		}
		for name, cells := range got.Runs {
			if !reflect.DeepEqual(cells, want.Runs[name]) {
				t.Errorf("%s/%s: got %+v\n%s says %+v", c.id, name, cells, resultsFile, want.Runs[name])
			}
		}
	}
	if t.Failed() {
		t.Log("where that is right, keep it: make interop-clients CLIENT_FLAGS=-update")
	}
}

// keepResults writes what came of the runs over what was kept of them.
func keepResults(t *testing.T, results map[string]*kept) {
	all := map[string]*kept{}
	if text, err := os.ReadFile(resultsFile); err == nil {
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatal(err)
		}
	}
	for id, got := range results {
		if all[id] == nil {
			all[id] = &kept{Runs: map[string]map[string]cell{}}
		}
		all[id].Version = got.Version
		for name, cells := range got.Runs {
			all[id].Runs[name] = cells
		}
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(all); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(resultsFile, text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(page), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(page, []byte(writePage(all)), 0o644); err != nil {
		t.Fatal(err)
	}
}
