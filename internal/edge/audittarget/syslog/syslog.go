// Package syslog sends the audit trail to a syslog receiver: messages of RFC 5424,
// counted by octets over TLS and TCP (RFC 5425, RFC 6587), one a datagram over UDP
// (RFC 5426) and to the local socket, which wants the older form.
//
// Syslog has no answers. Over TLS and TCP a record counts once the other end's kernel
// has it and the connection still stands; where the connection breaks soon after, the
// last lines are sent again. A datagram may be lost, by its nature. A record that is
// too long for one is sent shortened, and says so. It must never send a record in
// parts, or let a text of it end a message or a field.
package syslog

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/audit"
)

// Network is how messages travel: a closed set.
type Network string

// The networks.
const (
	TLS  Network = "tls"
	TCP  Network = "tcp"
	UDP  Network = "udp"
	Unix Network = "unix" // datagrams to a local socket, such as /dev/log
)

// Config says where messages go.
type Config struct {
	Name    string // of the target
	Network Network
	Address string // host:port, or a path for Unix
	// TLS is for TLS alone; its ServerName is the receiver's.
	TLS       *tls.Config
	Facility  int    // 0 to 23
	MostBytes int    // of a datagram
	Host      string // the name of this machine
	Version   string // of this program
	Now       func() time.Time
}

// Sender is a target. For one goroutine.
type Sender struct {
	Config
	conn *conn  // nil: none
	sent []sent // over it, of late
	// doubt goes first over the next connection: what the one before may have lost.
	doubt []byte
}

// sent is what was sent, and when that was over.
type sent struct {
	frames []byte
	at     time.Time
}

var _ audit.Target = (*Sender)(nil)

// New makes a Sender, which connects with the first records.
func New(c Config) *Sender { return &Sender{Config: c} }

// Name is the target's name.
func (s *Sender) Name() string { return s.Config.Name }

const (
	// doubtful is how long before the end of a connection records were sent that are in
	// doubt: the other end's kernel had them, its program perhaps not.
	doubtful = 10 * time.Second
	// mostDoubtful bounds the bytes that are kept to be sent again.
	mostDoubtful = 4 << 20
)

// Put sends records. Fault: Unavailable.
func (s *Sender) Put(ctx context.Context, documents []audit.Document) error {
	if err := s.connect(ctx); err != nil {
		return s.fail(err)
	}
	defer s.conn.bound(ctx)()
	var err error
	if s.Network == TLS || s.Network == TCP {
		err = s.stream(ctx, documents)
	} else {
		err = s.datagrams(documents)
	}
	if err != nil {
		return s.fail(errors.Join(err, s.Close()))
	}
	return nil
}

// stream sends counted messages, after those that are in doubt.
func (s *Sender) stream(ctx context.Context, documents []audit.Document) error {
	var frames []byte
	for _, d := range documents {
		m := s.message(d, 0)
		frames = append(append(strconv.AppendInt(frames, int64(len(m)), 10), ' '), m...)
	}
	frames = append(s.doubt, frames...)
	if _, err := s.conn.Write(frames); err != nil {
		return err
	}
	if err := s.conn.settle(ctx); err != nil {
		return err
	}
	s.doubt = nil
	s.keep(sent{frames, s.Now()})
	return nil
}

// keep remembers what was sent of late, within its bounds.
func (s *Sender) keep(last sent) {
	s.sent = append(s.sent, last)
	total := 0
	for i := len(s.sent) - 1; i >= 0; i-- {
		if total += len(s.sent[i].frames); total > mostDoubtful || last.at.Sub(s.sent[i].at) > doubtful {
			s.sent = s.sent[i+1:]
			return
		}
	}
}

// lost puts in doubt what was sent before a connection ended.
func (s *Sender) lost(at time.Time) {
	for _, one := range s.sent {
		if at.Sub(one.at) <= doubtful {
			s.doubt = append(s.doubt, one.frames...)
		}
	}
	s.sent = nil
}

func (s *Sender) datagrams(documents []audit.Document) error {
	for _, d := range documents {
		if _, err := s.conn.Write(s.message(d, s.MostBytes)); err != nil {
			return err
		}
	}
	return s.conn.refused()
}

// connect has a connection that still stands.
func (s *Sender) connect(ctx context.Context) error {
	if s.conn != nil {
		if !s.conn.ended() {
			return nil
		}
		_ = s.Close() // it has ended already
	}
	network := map[Network]string{TLS: "tcp", TCP: "tcp", UDP: "udp", Unix: "unixgram"}[s.Network]
	plain, err := (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext(ctx, network, s.Address)
	if err != nil {
		return err
	}
	c := &conn{Conn: plain, plain: plain, now: s.Now}
	if s.Network == TLS {
		secured := tls.Client(plain, s.TLS)
		if err := secured.HandshakeContext(ctx); err != nil {
			return errors.Join(err, plain.Close())
		}
		c.Conn = secured
	}
	if s.Network == TLS || s.Network == TCP {
		c.over = make(chan struct{})
		go c.watch()
	}
	s.conn = c
	return nil
}

// Close ends the connection, if there is one.
func (s *Sender) Close() error {
	if s.conn == nil {
		return nil
	}
	at := s.Now()
	if s.conn.ended() {
		s.conn.mu.Lock()
		at = s.conn.at
		s.conn.mu.Unlock()
	}
	s.lost(at)
	err := s.conn.Close()
	s.conn = nil
	return err
}

func (s *Sender) fail(err error) error {
	public := "the syslog receiver at " + s.Address + " takes nothing"
	var cert *tls.CertificateVerificationError
	var op *net.OpError
	switch {
	case errors.As(err, &cert):
		public = "the certificate of the syslog receiver at " + s.Address + " is not believed: " + cert.Err.Error()
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		public += " in time"
	case errors.Is(err, errEnded):
		public = "the syslog receiver at " + s.Address + " ended the connection"
	case errors.As(err, &op) && op.Err != nil:
		public += ": " + op.Err.Error()
	}
	return fault.Wrap(err, fault.Unavailable, public).WithMend("look at the receiver and at the address of this audit target")
}

// conn is a connection of which is known whether the other end still has it.
type conn struct {
	net.Conn
	plain net.Conn // below TLS
	now   func() time.Time
	over  chan struct{} // nil for datagrams; closed when the other end has ended it

	mu sync.Mutex
	at time.Time // when it ended
}

var errEnded = errors.New("the other end closed the connection")

// watch reads until the other end closes; what a receiver says means nothing.
func (c *conn) watch() {
	_, _ = io.Copy(io.Discard, c.Conn)
	c.mu.Lock()
	c.at = c.now()
	c.mu.Unlock()
	close(c.over)
}

func (c *conn) ended() bool {
	select {
	case <-c.over:
		return true
	default:
		return false
	}
}

// bound ends writes with ctx, and gives what takes the bound away.
func (c *conn) bound(ctx context.Context) func() {
	deadline, _ := ctx.Deadline() // the zero time is none
	_ = c.SetWriteDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = c.SetWriteDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

// settle waits until the other end's kernel has all that was written, and holds that
// the connection stands then.
func (c *conn) settle(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		left, err := unsent(c.plain)
		if err != nil {
			return err
		}
		select {
		case <-c.over:
			return errEnded
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		if left == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-c.over:
		case <-ctx.Done():
		}
	}
}

// refusedWithin is how long word of a port that nobody listens at may take from
// nearby.
const refusedWithin = 10 * time.Millisecond

// refused gives word that came back of datagrams that nobody took.
func (c *conn) refused() error {
	if _, ok := c.plain.(*net.UDPConn); !ok {
		return nil
	}
	_ = c.SetReadDeadline(time.Now().Add(refusedWithin))
	var none [1]byte
	if _, err := c.Read(none[:]); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}
