package dev

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"

	"carnet.dev/carnet/internal/app/server"
	"carnet.dev/carnet/internal/core/fault"
)

// Ports are where dev listens; 0 takes a free one. All are on loopback.
type Ports struct {
	Web, WebTLS int // pages and API
	AWS, AWSTLS int // STS and S3
	IdP         int // development identity provider
}

// sockets are the open listeners of dev.
type sockets struct {
	server.Listeners
	idp []net.Listener
}

// open takes every port before anything else starts, so that a taken one
// costs nothing and names its flag.
func open(p Ports, certificate tls.Certificate) (s sockets, w world, err error) {
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	secure := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"}}
	for _, want := range []struct {
		flag, scheme string
		port         int
		secure       bool
		into         *[]net.Listener
		address      *string
	}{
		{"--web-port", "http", p.Web, false, &s.Web, &w.web},
		{"--web-tls-port", "https", p.WebTLS, true, &s.Web, &w.webTLS},
		{"--aws-port", "http", p.AWS, false, &s.AWS, &w.aws},
		{"--aws-tls-port", "https", p.AWSTLS, true, &s.AWS, &w.awsTLS},
	} {
		l, err := listen("127.0.0.1", want.port, want.flag)
		if err != nil {
			return s, w, err
		}
		*want.address = want.scheme + "://" + l.Addr().String()
		if want.secure {
			l = tls.NewListener(l, secure)
		}
		*want.into = append(*want.into, l)
	}
	s.idp, err = listenAsLocalhost(p.IdP, "--idp-port")
	if err != nil {
		return s, w, err
	}
	w.idp = fmt.Sprintf("http://localhost:%d", portOf(s.idp[0]))
	return s, w, nil
}

// listenAsLocalhost takes one port on both addresses of the name localhost.
// Browsers may try ::1 first: whoever else listened there would be given the
// password, so a port that is taken on either address is not used.
func listenAsLocalhost(port int, flag string) ([]net.Listener, error) {
	any6, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		four, err := listen("127.0.0.1", port, flag) // this machine has no IPv6, so nobody can be there
		if err != nil {
			return nil, err
		}
		return []net.Listener{four}, nil
	}
	_ = any6.Close()
	const tries = 20 // a port that is free on one address is rarely taken on the other
	for try := 1; ; try++ {
		four, err := listen("127.0.0.1", port, flag)
		if err != nil {
			return nil, err
		}
		six, err := listen("::1", portOf(four), flag)
		if err == nil {
			return []net.Listener{four, six}, nil
		}
		_ = four.Close()
		if port != 0 || try == tries {
			return nil, err
		}
	}
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

func listen(host string, port int, flag string) (net.Listener, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err == nil {
		return l, nil
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return nil, fault.Wrap(err, fault.Conflict, fmt.Sprintf("port %d on %s can't be had", port, host)).
			WithMend(fmt.Sprintf("give another with %s, or any free ones with --free-ports", flag))
	}
	return nil, err
}

func (s sockets) close() {
	s.Listeners.Close()
	for _, l := range s.idp {
		_ = l.Close()
	}
}
