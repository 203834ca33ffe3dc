// Package syslogtest receives syslog in tests and reads it by the letter of RFC 5424,
// with the octet counting of RFC 6587. It must never be imported by anything but tests.
package syslogtest

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Receiver keeps what it got. What breaks a rule fails the test.
type Receiver struct {
	Address string
	t       testing.TB

	mu       sync.Mutex
	messages [][]byte
	conns    map[net.Conn]bool
	// Cut, when set, is asked after each message of a stream: true ends the
	// connection.
	cut func(n int) bool
}

// Listen receives over TCP, or over TLS where config is not nil, until the test ends.
func Listen(t testing.TB, config *tls.Config) *Receiver {
	t.Helper()
	return ListenAt(t, "127.0.0.1:0", config)
}

// ListenAt is Listen at an address.
func ListenAt(t testing.TB, address string, config *tls.Config) *Receiver {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	r := &Receiver{Address: l.Addr().String(), t: t, conns: map[net.Conn]bool{}}
	var running sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		r.End()
		running.Wait()
	})
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if config != nil {
				c = tls.Server(c, config)
			}
			r.mu.Lock()
			r.conns[c] = true
			r.mu.Unlock()
			running.Go(func() { r.read(c) })
		}
	})
	return r
}

// Packets receives datagrams: network is udp or unixgram.
func Packets(t testing.TB, network, address string) *Receiver {
	t.Helper()
	c, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	r := &Receiver{Address: c.LocalAddr().String(), t: t, conns: map[net.Conn]bool{}}
	var running sync.WaitGroup
	t.Cleanup(func() {
		_ = c.Close()
		running.Wait()
	})
	running.Go(func() {
		b := make([]byte, 1<<17)
		for {
			n, _, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			r.keep(append([]byte(nil), b[:n]...))
		}
	})
	return r
}

// End ends all connections.
func (r *Receiver) End() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		_ = c.Close()
		delete(r.conns, c)
	}
}

// CutWhen has a connection ended after the message for which it says so.
func (r *Receiver) CutWhen(cut func(n int) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = cut
}

// Raw gives the messages as they came.
func (r *Receiver) Raw() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([][]byte(nil), r.messages...)
}

// Messages gives what came; what is no message of RFC 5424 fails the test.
func (r *Receiver) Messages() (all []Message) {
	for _, b := range r.Raw() {
		m, err := Parse(b)
		if err != nil {
			r.t.Errorf("%v: %q", err, b)
		}
		all = append(all, m)
	}
	return all
}

func (r *Receiver) keep(m []byte) (goOn bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, m)
	return r.cut == nil || !r.cut(len(r.messages))
}

// read reads counted messages: a number without leading zeros, a space, so many
// octets.
func (r *Receiver) read(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		count, err := in.ReadString(' ')
		if err != nil {
			return
		}
		var n int
		if _, err := fmt.Sscanf(count, "%d ", &n); err != nil || n < 1 || n > 1<<20 || fmt.Sprintf("%d ", n) != count {
			r.t.Errorf("a count of %q", count)
			return
		}
		m := make([]byte, n)
		if _, err := io.ReadFull(in, m); err != nil {
			return
		}
		if !r.keep(m) {
			return
		}
	}
}

// Certificates are those of a receiver on loopback and of a client, both by one
// authority, in PEM files of a folder.
type Certificates struct {
	CA, Certificate, Key, ClientCertificate, ClientKey string // paths
	Server                                             *tls.Config
}

// NewCertificates makes them. The receiver wants to be shown one.
func NewCertificates(t testing.TB) Certificates {
	t.Helper()
	dir := t.TempDir()
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	key, ca := sign(t, authority, authority, nil)
	authority.Raw = ca
	c := Certificates{CA: write(t, dir, "ca.pem", "CERTIFICATE", ca)}
	for i, name := range []string{"server", "client"} {
		of := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 2)), Subject: pkix.Name{CommonName: name}, NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
		own, der := sign(t, of, authority, key)
		private, err := x509.MarshalPKCS8PrivateKey(own)
		if err != nil {
			t.Fatal(err)
		}
		cert, pair := write(t, dir, name+".crt", "CERTIFICATE", der), write(t, dir, name+".key", "PRIVATE KEY", private)
		if name == "server" {
			c.Certificate, c.Key = cert, pair
		} else {
			c.ClientCertificate, c.ClientKey = cert, pair
		}
	}
	pair, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	parsed, perr := x509.ParseCertificate(ca)
	if err = errors.Join(err, perr); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	c.Server = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
	return c
}

func sign(t testing.TB, of, by *x509.Certificate, with *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if with == nil {
		with = key
	}
	der, err := x509.CreateCertificate(rand.Reader, of, by, &key.PublicKey, with)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}

func write(t testing.TB, dir, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(strings.TrimLeft(string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})), "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
