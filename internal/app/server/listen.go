package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/fault"
)

// Listeners are the sockets that a server answers on. Each face may have
// several: carnet dev serves both with and without TLS.
type Listeners struct {
	Web []net.Listener
	AWS []net.Listener
	IAM []net.Listener // none: IAM answers on the AWS listeners
	// Metrics is for Prometheus; none: metrics are off.
	Metrics []net.Listener
}

// Listen opens the listeners of a configuration.
func Listen(c *config.Config) (Listeners, error) {
	web, err := listen("listen.web", c.Listen.Web.Address, c.Listen.Web.TLS, "")
	if err != nil {
		return Listeners{}, err
	}
	aws, err := listen("listen.aws", c.Listen.AWS.Address, c.Listen.AWS.TLS, c.Listen.AWS.ClientCA)
	if err != nil {
		_ = web.Close()
		return Listeners{}, err
	}
	all := Listeners{Web: []net.Listener{web}, AWS: []net.Listener{aws}}
	if own := c.IAM.Listen; own.Address != "" {
		l, err := listen("iam.listen", own.Address, own.TLS, "")
		if err != nil {
			all.Close()
			return Listeners{}, err
		}
		all.IAM = []net.Listener{l}
	}
	if address := c.Telemetry.Metrics; address != "" {
		l, err := listen("telemetry.metrics", address, config.TLS{}, "")
		if err != nil {
			all.Close()
			return Listeners{}, err
		}
		all.Metrics = []net.Listener{l}
	}
	return all, nil
}

// Close closes what is open.
func (l Listeners) Close() {
	for _, s := range slices.Concat(l.Web, l.AWS, l.IAM, l.Metrics) {
		_ = s.Close()
	}
}

// listen opens one listener. Where clientCA names authorities, clients may show a
// certificate that one of them signed; another one ends the handshake.
func listen(key, address string, files config.TLS, clientCA string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fault.Wrap(err, fault.Misconfigured, fmt.Sprintf("cannot listen on %s (%s)", address, key)).
			WithMend("free the port or change " + key + ".address")
	}
	if !files.On() {
		return l, nil
	}
	pair, err := newReloadingPair(files.Certificate, files.Key)
	if err != nil {
		_ = l.Close()
		return nil, fault.Wrap(err, fault.Misconfigured, fmt.Sprintf("cannot use the TLS files of %s", key)).
			WithMend("check " + key + ".tls.certificate and .key: PEM, one pair")
	}
	how := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: pair.get,
	}
	if clientCA != "" {
		if how.ClientCAs, err = onlyBelieved(clientCA); err != nil {
			_ = l.Close()
			return nil, err
		}
		how.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return tls.NewListener(l, how), nil
}

// onlyBelieved gives the authorities of a PEM file and no others.
func onlyBelieved(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Wrap(err, fault.Misconfigured, "cannot read the client_ca file")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fault.New(fault.Misconfigured, file+" holds no PEM certificate")
	}
	return pool, nil
}

// reloadingPair is a certificate that follows its files, so that renewal needs
// no restart. A broken renewal keeps the pair that works.
type reloadingPair struct {
	certificate, key string

	mu      sync.Mutex
	pair    *tls.Certificate
	changed time.Time
	looked  time.Time
}

func newReloadingPair(certificate, key string) (*reloadingPair, error) {
	p := &reloadingPair{certificate: certificate, key: key}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	p.pair, p.changed, p.looked = &pair, modified(certificate, key), time.Now()
	return p, nil
}

const lookAtFilesEvery = 10 * time.Second

func (p *reloadingPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.looked) > lookAtFilesEvery {
		p.looked = time.Now()
		if m := modified(p.certificate, p.key); m.After(p.changed) {
			if pair, err := tls.LoadX509KeyPair(p.certificate, p.key); err == nil {
				p.pair, p.changed = &pair, m
			}
		}
	}
	return p.pair, nil
}

// modified gives the newer of the files' times.
func modified(paths ...string) time.Time {
	var newest time.Time
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return newest
}
