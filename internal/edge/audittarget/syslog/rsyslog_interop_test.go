//go:build interop

package syslog_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/edge/audittarget/syslog"
	"carnet.dev/carnet/internal/edge/audittarget/syslog/syslogtest"
	"carnet.dev/carnet/internal/service/audit"
)

// free gives a port that nobody uses now.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// rsyslog starts a real one in a folder and gives the file of what it read, and what
// starts it again.
func rsyslog(t *testing.T, dir string, c syslogtest.Certificates, tcp, tls, udp, socket string) (out string, start func() *exec.Cmd) {
	t.Helper()
	out = filepath.Join(dir, "out")
	conf := fmt.Sprintf(`
global(maxMessageSize="64k" workDirectory="%[1]s" defaultNetstreamDriverCAFile="%[2]s" defaultNetstreamDriverCertFile="%[3]s" defaultNetstreamDriverKeyFile="%[4]s")
module(load="imtcp")
module(load="imudp")
module(load="imuxsock" sysSock.use="off")
input(type="imtcp" address="127.0.0.1" port="%[5]s")
input(type="imtcp" address="127.0.0.1" port="%[6]s" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
input(type="imudp" address="127.0.0.1" port="%[7]s")
input(type="imuxsock" socket="%[8]s")
template(name="read" type="string" string="%%syslogfacility-text%%|%%syslogseverity-text%%|%%hostname%%|%%app-name%%|%%procid%%|%%msgid%%|%%structured-data%%|%%msg%%\n")
action(type="omfile" file="%[9]s" template="read")
`, dir, c.CA, c.Certificate, c.Key, tcp, tls, udp, socket, out)
	path := filepath.Join(dir, "rsyslog.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	return out, func() *exec.Cmd {
		cmd := exec.Command("/usr/sbin/rsyslogd", "-n", "-f", path, "-i", filepath.Join(dir, "pid"))
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if t.Failed() {
				t.Logf("rsyslogd said %s", said.Bytes())
			}
		})
		soon(t, "rsyslogd to listen", func() bool {
			for _, port := range []string{tcp, tls} {
				conn, err := net.Dial("tcp", "127.0.0.1:"+port)
				if err != nil {
					return false
				}
				conn.Close()
			}
			_, err := os.Stat(socket)
			return err == nil
		})
		return cmd
	}
}

// TestRsyslog: a real rsyslog reads header, structured data and document of each record,
// by every way, and after it was restarted.
func TestRsyslog(t *testing.T) {
	c, dir := syslogtest.NewCertificates(t), t.TempDir()
	tcp, tls, udp, socket := free(t), free(t), free(t), filepath.Join(dir, "log")
	out, start := rsyslog(t, dir, c, tcp, tls, udp, socket)
	running := start()
	read := func() string {
		b, err := os.ReadFile(out)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(b)
	}
	has := func(seq int64) bool { return strings.Contains(read(), fmt.Sprintf(`"seq":%d,`, seq)) }
	var streams []*syslog.Sender
	for i, way := range []struct {
		network syslog.Network
		address string
	}{{syslog.TCP, "127.0.0.1:" + tcp}, {syslog.TLS, "127.0.0.1:" + tls}, {syslog.UDP, "127.0.0.1:" + udp}, {syslog.Unix, socket}} {
		config := config(way.network, way.address)
		config.TLS = client(t, c, true)
		s := syslog.New(config)
		t.Cleanup(func() { _ = s.Close() })
		if i < 2 {
			streams = append(streams, s)
		}
		seq := int64(i)*10 + 100
		long := document(seq+1, event.Denied, map[string]string{"long": strings.Repeat("x", 1000*(1+i)), "quote": "\"]\\ <13>1 ü"})
		if i < 2 {
			long.Detail["long"] = strings.Repeat("x", 30_000)
		}
		put(t, s, []audit.Document{document(seq, event.Done, nil), long})
		soon(t, fmt.Sprintf("the records by %s", way.network), func() bool { return has(seq) && has(seq+1) })
		for line := range strings.Lines(read()) {
			parts := strings.SplitN(strings.TrimSuffix(line, "\n"), "|", 8)
			if len(parts) != 8 || !strings.Contains(line, fmt.Sprintf(`"seq":%d,`, seq+1)) {
				continue
			}
			want := `authpriv|warning|carnet-1.example.com|carnet|aud_0123456789abcdef0123|sign-in|[origin software="carnet" swVersion="v1.2.3"][meta sequenceId="` + fmt.Sprint(seq+1) + `"]`
			got := strings.Join(parts[:7], "|")
			if way.network == syslog.Unix {
				got, want = parts[0]+"|"+parts[1]+"|"+parts[3]+"|"+parts[4], "authpriv|warning|carnet|aud_0123456789abcdef0123"
			}
			var d audit.Document
			if err := json.Unmarshal([]byte(strings.TrimSpace(parts[7])), &d); err != nil || got != want || d.Chain.Seq != seq+1 || i < 2 && fmt.Sprint(d) != fmt.Sprint(long) {
				t.Errorf("%s: read %s and %.300s, %v; want %s", way.network, got, parts[7], err, want)
			}
		}
	}

	if err := running.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = running.Wait()
	for i, s := range streams {
		if err := s.Put(t.Context(), documents(200+int64(i), 1)); err == nil {
			t.Errorf("stream %d: a receiver that is gone takes a record", i)
		}
	}
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	start()
	for i, s := range streams {
		put(t, s, documents(200+int64(i), 1))
		soon(t, "a record after the restart", func() bool { return has(200 + int64(i)) })
	}
}
