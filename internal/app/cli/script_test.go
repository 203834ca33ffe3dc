package cli_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/app/cli"
	"carnet.dev/carnet/internal/core/fault"
)

// TestMain makes this test binary the commands of the scripts: carnet itself,
// a browser, and the AWS SDK for Go.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"carnet": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			code := cli.Run(ctx, cli.System(), hostCommand())
			stop()
			os.Exit(code)
		},
		"browser": browser,
		"gosdk":   goSDK,
	})
}

// hostCommand stands for the commands that the program wires.
func hostCommand() *cobra.Command {
	c := &cobra.Command{Use: "server", Short: "Run the server"}
	c.AddCommand(&cobra.Command{Use: "fail", RunE: func(*cobra.Command, []string) error {
		return fault.Wrap(errors.New("disk full"), fault.Unavailable, "the database can't be opened").WithMend("make room")
	}})
	return c
}

// browser opens one page, follows where it leads, and prints the last page.
func browser() {
	res, err := http.Get(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	if out := os.Getenv("PAGE"); out != "" {
		if err := os.WriteFile(out, b, 0o600); err != nil {
			os.Exit(1)
		}
	}
	fmt.Printf("%d %s", res.StatusCode, b)
}

// goSDK reads an AWS profile as the SDK for Go does and prints what it finds.
func goSDK() {
	cfg, err := awsconfig.LoadDefaultConfig(context.Background(), awsconfig.WithSharedConfigProfile(os.Args[1]))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	c, err := cfg.Credentials.Retrieve(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(cfg.Region, c.AccessKeyID, c.SecretAccessKey, c.SessionToken, c.AccountID, c.Source, c.CanExpire)
	for _, source := range cfg.ConfigSources {
		shared, ok := source.(awsconfig.SharedConfig)
		if !ok {
			continue
		}
		for _, service := range []string{"S3", "STS"} {
			endpoint, _, err := shared.GetServiceBaseEndpoint(context.Background(), service)
			fmt.Println(service, endpoint, err)
		}
	}
}

type worldKey struct{}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			w := &world{
				user: "alice@example.com", codes: map[string]string{}, tokens: map[string]bool{},
				expires: time.Now().Add(12 * time.Hour).Truncate(time.Second), roles: roleSets()["one"], agent: newAgent(),
			}
			srv, err := w.start(false)
			if err != nil {
				return err
			}
			e.Defer(srv.Close)
			secure, err := w.start(true)
			if err != nil {
				return err
			}
			e.Defer(secure.Close)
			other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
			e.Defer(other.Close)
			e.Setenv("NOTCARNET", other.URL)
			ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
			if err := os.WriteFile(filepath.Join(e.WorkDir, "ca.pem"), ca, 0o600); err != nil {
				return err
			}
			w.stop = srv.Close
			e.Values[worldKey{}] = w
			if err := writeClientKey(filepath.Join(e.WorkDir, "key.pem"), w); err != nil {
				return err
			}
			w.agent.status.Server, e.Values[agentKey{}] = srv.URL, w.agent
			if err := startAgent(e, w.agent); err != nil {
				return err
			}
			e.Setenv("SERVER", srv.URL)
			e.Setenv("SECURE", secure.URL)
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("CARNET_STATE", filepath.Join(e.WorkDir, "state"))
			e.Setenv("BROWSER", "browser")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"person":  person,
			"mode":    mode,
			"node":    node,
			"waitfor": func(ts *testscript.TestScript, _ bool, args []string) { waitFor(ts, args[0], args[1]) },
			"stop": func(ts *testscript.TestScript, _ bool, _ []string) {
				ts.Value(worldKey{}).(*world).stop()
			},
		},
	})
}

// person changes the one person: person roles SET, person expires IN, person
// forget (every CLI token), person administers, person refuses.
func person(ts *testscript.TestScript, _ bool, args []string) {
	w := ts.Value(worldKey{}).(*world)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch args[0] {
	case "roles":
		set, ok := roleSets()[args[1]]
		if !ok {
			ts.Fatalf("no set of roles %q", args[1])
		}
		w.roles = set
	case "expires":
		d, err := time.ParseDuration(args[1])
		ts.Check(err)
		w.expires = time.Now().Add(d).Truncate(time.Second)
	case "forget":
		w.tokens = map[string]bool{}
	case "administers":
		w.administers = true
	case "refuses":
		w.refuse = true
	case "disabled": // the workload
		w.disabled = true
	default:
		ts.Fatalf("person can't %q", args[0])
	}
}

// mode holds the mode of a file: mode 0600 FILE.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// No command's help is empty, and all are listed in docs/cli.md.
func TestEveryCommandIsDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s has no short help", c.CommandPath())
		}
		if c.Runnable() && c.HasParent() && !strings.Contains(string(doc), "`"+c.CommandPath()) {
			t.Errorf("docs/cli.md does not show %s", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(cli.New(cli.Process{}))
}
