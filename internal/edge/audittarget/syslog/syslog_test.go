package syslog_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/audittarget/syslog"
	"carnet.dev/carnet/internal/edge/audittarget/syslog/syslogtest"
	"carnet.dev/carnet/internal/service/audit"
)

var at = time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.UTC)

func document(seq int64, outcome event.Outcome, detail map[string]string) audit.Document {
	return audit.Document{EventVersion: audit.DocumentVersion, EventID: fmt.Sprintf("aud_0123456789abcdef0123-%d", seq), EventTime: at, EventName: "sign-in", Outcome: outcome,
		UserIdentity: audit.UserIdentity{Type: "person", UserName: "jürgen 😀 <\u2028>"}, Detail: detail,
		Chain: audit.Link{Writer: "aud_0123456789abcdef0123", Seq: seq, Hash: strings.Repeat("ab", 32)}}
}

func documents(from, n int64) (all []audit.Document) {
	for i := range n {
		all = append(all, document(from+i, event.Done, nil))
	}
	return all
}

func config(network syslog.Network, address string) syslog.Config {
	return syslog.Config{Name: "syslog", Network: network, Address: address, Facility: 10, MostBytes: 2048, Host: "carnet-1.example.com", Version: "v1.2.3", Now: time.Now}
}

func put(t *testing.T, s *syslog.Sender, all []audit.Document) {
	t.Helper()
	if err := s.Put(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}

// soon waits for what has to come.
func soon(t *testing.T, what string, seen func() bool) {
	t.Helper()
	for began := time.Now(); !seen(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("it never came to: " + what)
		}
	}
}

func came(t *testing.T, r *syslogtest.Receiver, n int) []syslogtest.Message {
	t.Helper()
	soon(t, fmt.Sprintf("%d messages", n), func() bool { return len(r.Raw()) >= n })
	return r.Messages()
}

// same holds that a text is the whole document.
func same(t *testing.T, text string, want audit.Document) {
	t.Helper()
	var got audit.Document
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if a, b := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); a != b {
		t.Errorf("came as\n%s, want\n%s", a, b)
	}
}

// TestStream: counted messages by the letter of RFC 5424, over TCP and over TLS with a
// certificate of our own.
func TestStream(t *testing.T) {
	t.Parallel()
	certificates := syslogtest.NewCertificates(t)
	for _, network := range []syslog.Network{syslog.TCP, syslog.TLS} {
		t.Run(string(network), func(t *testing.T) {
			t.Parallel()
			var with *tls.Config
			if network == syslog.TLS {
				with = certificates.Server
			}
			r := syslogtest.Listen(t, with)
			c := config(network, r.Address)
			c.TLS = client(t, certificates, true)
			s := syslog.New(c)
			t.Cleanup(func() { _ = s.Close() })
			put(t, s, []audit.Document{document(1, event.Done, map[string]string{"note": "line\nbreak"}), document(2, event.Denied, nil)})
			put(t, s, []audit.Document{document(3, event.Failed, map[string]string{"long": strings.Repeat("x", 20_000)}), document(1<<31, "unreadable", nil)})
			all := came(t, r, 4)
			for i, want := range []struct{ severity, sequence int }{{6, 1}, {4, 2}, {3, 3}, {2, 1}} {
				m := all[i]
				if m.Facility != 10 || m.Severity != want.severity || m.Host != "carnet-1.example.com" || m.Program != "carnet" || m.Process != "aud_0123456789abcdef0123" ||
					m.MessageID != "sign-in" || !m.Time.Equal(at) || fmt.Sprint(m.Structured) != fmt.Sprintf("map[meta:map[sequenceId:%d] origin:map[software:carnet swVersion:v1.2.3]]", want.sequence) {
					t.Errorf("message %d: %+v", i, m)
				}
			}
			same(t, all[0].Text, document(1, event.Done, map[string]string{"note": "line\nbreak"}))
			same(t, all[2].Text, document(3, event.Failed, map[string]string{"long": strings.Repeat("x", 20_000)}))
		})
	}
}

func client(t *testing.T, c syslogtest.Certificates, shown bool) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		t.Fatal(err)
	}
	out := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	out.RootCAs.AppendCertsFromPEM(pem)
	if shown {
		pair, err := tls.LoadX509KeyPair(c.ClientCertificate, c.ClientKey)
		if err != nil {
			t.Fatal(err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out
}

// TestAttackForeignReceiver: records go to nobody whose certificate is not by the
// authority that was named, and a receiver that wants ours gets nothing without.
func TestAttackForeignReceiver(t *testing.T) {
	t.Parallel()
	ours, theirs := syslogtest.NewCertificates(t), syslogtest.NewCertificates(t)
	r := syslogtest.Listen(t, theirs.Server)
	c := config(syslog.TLS, r.Address)
	c.TLS = client(t, ours, true)
	err := syslog.New(c).Put(t.Context(), documents(1, 1))
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Of(err).Public, "is not believed: x509: certificate signed by unknown authority") {
		t.Errorf("a foreign receiver: %v", err)
	}
	c.TLS = client(t, theirs, true)
	c.TLS.ServerName = "logs.example.com"
	if err := syslog.New(c).Put(t.Context(), documents(1, 1)); !strings.Contains(fault.Of(err).Public, "is not believed") {
		t.Errorf("one of another name: %v", err)
	}
	c.TLS = client(t, theirs, false)
	s := syslog.New(c)
	soon(t, "a client without certificate to be refused", func() bool { return s.Put(t.Context(), documents(1, 1)) != nil })
	if got := len(r.Raw()); got != 0 {
		t.Errorf("%d records came", got)
	}
}

// TestBrokenConnection: a receiver that ends the connection while records come gets
// them again, over a new one, and misses none.
func TestBrokenConnection(t *testing.T) {
	t.Parallel()
	r := syslogtest.Listen(t, nil)
	s := syslog.New(config(syslog.TCP, r.Address))
	t.Cleanup(func() { _ = s.Close() })
	seen := map[int64]bool{}
	next := int64(1)
	// Ended in the middle of a part; ended between two parts.
	r.CutWhen(func(n int) bool { return n == 3 })
	for round := range 6 {
		if round == 3 {
			soon(t, "the parts before", func() bool { return len(r.Raw()) >= 3 })
			r.End()
		}
		soon(t, "a part to be taken", func() bool { return s.Put(t.Context(), documents(next, 5)) == nil })
		next += 5
	}
	soon(t, "every record to come", func() bool {
		for _, m := range r.Messages() {
			var d audit.Document
			if err := json.Unmarshal([]byte(m.Text), &d); err != nil {
				t.Fatal(err)
			}
			seen[d.Chain.Seq] = true
		}
		return len(seen) == 30
	})
}

// TestReceiverThatHangs: one that accepts and never reads holds a Put no longer than
// it may last.
func TestReceiverThatHangs(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		var open []net.Conn // kept open, never read
		for {
			c, err := l.Accept()
			if err != nil {
				runtime.KeepAlive(open)
				return
			}
			open = append(open, c)
		}
	}()
	for _, network := range []syslog.Network{syslog.TCP, syslog.TLS} {
		c := config(network, l.Addr().String())
		c.TLS = &tls.Config{ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
		s := syslog.New(c)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		var many []audit.Document
		for i := range int64(400) {
			many = append(many, document(i+1, event.Done, map[string]string{"long": strings.Repeat("x", 30_000)}))
		}
		if err := s.Put(ctx, many); fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Of(err).Public, "takes nothing in time") {
			t.Errorf("%s: %v", network, err)
		}
		cancel()
		_ = s.Close()
	}
}

// TestDatagrams: a message each, shortened where it would be too long, never cut.
func TestDatagrams(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		return
	}
	long := map[string]string{"long": strings.Repeat("ü", 3000)}
	wide := document(3, event.Denied, nil)
	wide.Target = "s3://sales/" + strings.Repeat("k", 4000)
	for _, network := range []syslog.Network{syslog.UDP, syslog.Unix} {
		t.Run(string(network), func(t *testing.T) {
			t.Parallel()
			system, address := "udp", "127.0.0.1:0"
			if network == syslog.Unix {
				system, address = "unixgram", filepath.Join(t.TempDir(), "log")
			}
			r := syslogtest.Packets(t, system, address)
			s := syslog.New(config(network, r.Address))
			t.Cleanup(func() { _ = s.Close() })
			put(t, s, []audit.Document{document(1, event.Done, nil), document(2, event.Done, long), wide})
			soon(t, "three messages", func() bool { return len(r.Raw()) == 3 })
			for i, raw := range r.Raw() {
				text := string(raw)
				if network == syslog.Unix {
					want := "<" + []string{"86", "86", "84"}[i] + ">" + at.Local().Format(time.Stamp) + " carnet[aud_0123456789abcdef0123]: "
					rest, ok := strings.CutPrefix(text, want)
					if !ok {
						t.Fatalf("%q begins otherwise than %q", text, want)
					}
					text = rest
				} else {
					m, err := syslogtest.Parse(raw)
					if err != nil {
						t.Fatal(err)
					}
					text = m.Text
				}
				var got struct {
					audit.Document
					Shortened bool `json:"shortened"`
				}
				if err := json.Unmarshal([]byte(text), &got); err != nil || len(raw) > 2048 {
					t.Fatalf("%d bytes, %v: %s", len(raw), err, text)
				}
				if got.Chain.Seq != int64(i+1) || got.Chain.Hash != strings.Repeat("ab", 32) || got.Shortened != (i > 0) || (got.UserIdentity.UserName == "") != (i == 2) {
					t.Errorf("message %d: %s", i, text)
				}
			}
		})
	}
	gone := syslog.New(config(syslog.Unix, filepath.Join(t.TempDir(), "none")))
	if err := gone.Put(t.Context(), documents(1, 1)); fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.Of(err).Public, "no such file") {
		t.Errorf("no socket: %v", err)
	}
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := c.LocalAddr().String()
	_ = c.Close()
	if err := syslog.New(config(syslog.UDP, address)).Put(t.Context(), documents(1, 1)); runtime.GOOS == "linux" && (err == nil || !strings.Contains(err.Error(), "refused")) {
		t.Errorf("a port that nobody listens at: %v", err)
	}
}

// FuzzMessage: whatever a record says, its message is one of RFC 5424, and a datagram
// keeps its bound.
func FuzzMessage(f *testing.F) {
	f.Add("sign-in", "alice", "s3://sales/\"]\\ \n<14>1 - - - - - -", "done", int64(1))
	f.Add("", "\xff\xfe", strings.Repeat("é", 2000), "denied", int64(-5))
	f.Add("a b\x00c", "😀\u2028\x7f", "", "unreadable", int64(1)<<40)
	f.Fuzz(func(t *testing.T, name, who, target, outcome string, seq int64) {
		d := document(seq, event.Outcome(outcome), map[string]string{who: target})
		d.EventName, d.UserIdentity.UserName, d.Target, d.Chain.Writer, d.EventID, d.RequestID = name, who, target, target, target, who
		s := syslog.New(config(syslog.UDP, ""))
		s.Host, s.Version = who, target
		for _, most := range []int{0, 1024} {
			b := s.Message(d, most)
			m, err := syslogtest.Parse(b)
			if err != nil {
				t.Fatalf("%v: %q", err, b)
			}
			if most > 0 && len(b) > most {
				t.Fatalf("%d bytes: %q", len(b), b)
			}
			var back audit.Document
			if err := json.Unmarshal([]byte(m.Text), &back); err != nil || back.Chain.Seq != seq || strings.ContainsAny(m.Text, "\n\r\x00") {
				t.Fatalf("%v: %q", err, m.Text)
			}
		}
	})
}
