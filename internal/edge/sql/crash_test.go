package sql_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/sql"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	sqlonceonly "carnet.dev/carnet/internal/edge/sql/onceonly"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/audit"
	"carnet.dev/carnet/internal/service/keyring"
	"carnet.dev/carnet/internal/service/onceonly"
)

// TestMain lets this binary be a server process of the crash tests.
func TestMain(m *testing.M) {
	c := sql.Config{SQLite: os.Getenv("CARNET_CRASH_SQLITE"), PostgreSQL: secret.New(os.Getenv("CARNET_CRASH_POSTGRESQL"))}
	var serve func(context.Context, *sql.DB) error
	switch os.Getenv("CARNET_CRASH") {
	case "":
		os.Exit(m.Run())
	case "consume":
		serve = serveConsume
	case "write":
		serve = serveWrites
	}
	db, err := sql.Open(context.Background(), c)
	if err == nil {
		fmt.Println("ready")
		err = serve(context.Background(), db)
	}
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

// serveConsume reads lines "id n" and uses the id n times at once.
func serveConsume(ctx context.Context, db *sql.DB) error {
	once := onceonly.New(sqlonceonly.Store{DB: db}, 1<<20, time.Now)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var id string
		var n int
		if _, err := fmt.Sscan(in.Text(), &id, &n); err != nil {
			return err
		}
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				won, err := once.Consume(ctx, "assertion", id, time.Now().Add(time.Minute))
				switch {
				case err != nil:
					fmt.Println("error", err)
				case won:
					fmt.Println("won", id)
				default:
					fmt.Println("lost", id)
				}
			})
		}
		wg.Wait()
		fmt.Println("done", id)
	}
	return in.Err()
}

// serveWrites writes until it is killed: a row, its twin and an audit record
// per transaction, and says which are acknowledged.
func serveWrites(ctx context.Context, db *sql.DB) error {
	keks, err := keyring.ParseKEKs([]byte(os.Getenv("CARNET_CRASH_KEK")))
	if err != nil {
		return err
	}
	ring, err := keyring.Open(ctx, keyring.Config{Store: sqlkeyring.Store{DB: db}, KEKs: keks, Server: "s", Now: time.Now})
	if err != nil {
		return err
	}
	trail, err := audit.Open(ctx, audit.Config{Store: sqlaudit.Store{DB: db}, Sealer: ring, Now: time.Now})
	if err != nil {
		return err
	}
	go trail.Run(ctx)
	fmt.Println("writing")
	start, _ := strconv.ParseInt(os.Getenv("CARNET_CRASH_FROM"), 10, 64)
	failed := make(chan error)
	for g := range int64(4) {
		go func() {
			for n := start + g; ; n += 4 {
				err := db.Write(ctx, func(t *sql.Tx) error {
					_, err1 := t.Exec(`INSERT INTO load (n, filler) VALUES ($1, $2)`, n, strings.Repeat("x", int(n%3000)))
					err2 := trail.Record(t.Context(), event.Event{Action: "load", Target: fmt.Sprint(n)})
					_, err3 := t.Exec(`INSERT INTO twin (n) VALUES ($1)`, n)
					return errors.Join(err1, err2, err3)
				})
				if err != nil {
					failed <- err
					return
				}
				fmt.Println("wrote", n)
			}
		}()
	}
	return <-failed
}

// child is one server process.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // closed when all that it said was read
	read  chan struct{}
}

func start(t *testing.T, mode string, c sql.Config, env ...string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), "CARNET_CRASH="+mode, "CARNET_CRASH_SQLITE="+c.SQLite,
		"CARNET_CRASH_POSTGRESQL="+c.PostgreSQL.Reveal()), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &child{cmd: cmd, in: in, lines: make(chan string, 1<<16), read: make(chan struct{})}
	go func() {
		defer close(p.read)
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(p.kill)
	p.expect(t, "ready")
	return p
}

func (p *child) expect(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-p.lines:
		if got != want {
			t.Fatalf("the server said %q, want %q", got, want)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("the server never said %q", want)
	}
}

// kill is kill -9. What the server said before is still read.
func (p *child) kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.read                 // Wait closes the pipe under the reader
	_ = p.cmd.Wait()
}

// TestOneUseSurvivesKilledServers: twenty uses at once of one id, on three
// servers with PostgreSQL and on one with SQLite; in half of the rounds a
// server is killed in the middle, and the id is tried again afterwards.
func TestOneUseSurvivesKilledServers(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		sqltest.OpenWith(t, c)
		servers := make([]*child, 3)
		if c.SQLite != "" {
			servers = servers[:1]
		}
		for round := range crashRounds {
			id := fmt.Sprint("id", round)
			killed := round%2 == 1
			for i := range servers {
				if servers[i] == nil {
					servers[i] = start(t, "consume", c)
				}
			}
			use(t, servers, id, 20)
			if killed {
				victim := rand.IntN(len(servers))
				time.Sleep(time.Duration(rand.IntN(6000)) * time.Microsecond)
				servers[victim].kill()
				won := answers(t, servers, id)
				servers[victim] = start(t, "consume", c)
				use(t, servers, id, 20)
				if won += answers(t, servers, id); won > 1 {
					t.Fatalf("round %d, a server killed: %d uses won", round, won)
				}
				continue
			}
			if won := answers(t, servers, id); won != 1 {
				t.Fatalf("round %d: %d uses won, want exactly 1", round, won)
			}
		}
	})
}

func use(t *testing.T, servers []*child, id string, n int) {
	t.Helper()
	for i, s := range servers {
		share := n / len(servers)
		if i == 0 {
			share += n % len(servers)
		}
		if _, err := fmt.Fprintln(s.in, id, share); err != nil {
			t.Fatal(err)
		}
	}
}

// answers counts the wins until every server is done or dead.
func answers(t *testing.T, servers []*child, id string) (won int) {
	t.Helper()
	for _, s := range servers {
		for line := range s.lines {
			if line == "won "+id {
				won++
			}
			if strings.HasPrefix(line, "error") {
				t.Fatal(line)
			}
			if line == "done "+id {
				break
			}
		}
	}
	return won
}

// TestNothingAcknowledgedIsLost kills a writing server at random points: what
// it acknowledged is there, whole, and the file opens.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, c sql.Config) {
		db := sqltest.OpenWith(t, c)
		write(t, db, `CREATE TABLE load (n BIGINT PRIMARY KEY, filler TEXT NOT NULL)`)
		write(t, db, `CREATE TABLE twin (n BIGINT PRIMARY KEY)`)
		kek := "CARNET_CRASH_KEK=" + string(keyring.NewKEKFile())
		acknowledged := 0
		for round := range crashRounds {
			from := int64(round) * 1_000_000
			p := start(t, "write", c, kek, fmt.Sprint("CARNET_CRASH_FROM=", from))
			p.expect(t, "writing")
			time.Sleep(time.Duration(rand.IntN(40_000)) * time.Microsecond)
			p.kill()
			wrote := map[int64]bool{}
			for line := range p.lines {
				n, err := strconv.ParseInt(strings.TrimPrefix(line, "wrote "), 10, 64)
				if err != nil {
					t.Fatalf("round %d: %s", round, line)
				}
				wrote[n] = true
			}
			acknowledged += len(wrote)
			checkRound(t, c, from, wrote)
		}
		t.Logf("%d writes acknowledged in %d rounds", acknowledged, crashRounds)
		if acknowledged == 0 {
			t.Error("nothing was ever acknowledged: the test shows nothing")
		}
		rep, err := audit.Verify(t.Context(), sqlaudit.Store{DB: db}, audit.Expect{})
		if err != nil || len(rep.Problems) != 0 || rep.Records < acknowledged {
			t.Errorf("the trail after all kills: %+v, %v", rep, err)
		}
	})
}

// checkRound opens the database anew, as a restarted server does.
func checkRound(t *testing.T, c sql.Config, from int64, wrote map[int64]bool) {
	t.Helper()
	db, err := sql.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Read(t.Context(), func(tx *sql.Tx) error {
		if db.Engine() == "sqlite" {
			var verdict string
			if err := tx.QueryRow(`PRAGMA integrity_check`).Scan(&verdict); err != nil || verdict != "ok" {
				t.Errorf("integrity: %s, %v", verdict, err)
			}
		}
		var half int
		if err := tx.QueryRow(`SELECT (SELECT COUNT(*) FROM load WHERE n NOT IN (SELECT n FROM twin)) +
			(SELECT COUNT(*) FROM twin WHERE n NOT IN (SELECT n FROM load)) +
			(SELECT COUNT(*) FROM load WHERE LENGTH(filler) <> n % 3000)`).Scan(&half); err != nil || half != 0 {
			t.Errorf("%d half-written records, %v", half, err)
		}
		return tx.Each(`SELECT n FROM load WHERE n >= $1`, []any{from}, func(scan func(...any) error) error {
			var n int64
			err := scan(&n)
			delete(wrote, n)
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(wrote) != 0 {
		t.Errorf("%d acknowledged writes are lost", len(wrote))
	}
}
