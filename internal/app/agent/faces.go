package agent

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/node"
	"carnet.dev/carnet/internal/edge/node/imds"
	"carnet.dev/carnet/internal/edge/node/localdoc"
	"carnet.dev/carnet/internal/edge/node/localhttp"
	"carnet.dev/carnet/internal/edge/node/metadata"
	"carnet.dev/carnet/internal/edge/node/peer"
	"carnet.dev/carnet/internal/edge/node/s3proxy"
	"carnet.dev/carnet/internal/edge/node/tokenfiles"
	"carnet.dev/carnet/internal/edge/upstream/s3client"
	"carnet.dev/carnet/internal/service/binding"
)

// off, in the place of an address, leaves a face out.
const off = "off"

// listenFaces opens the faces beside the container endpoint. Each of them may be
// missing: then it is said why.
func (a *agent) listenFaces() error {
	if why := a.loopbackUnproven(); why != "" {
		a.faces.Missing["proxy"], a.faces.Missing["metadata"] = why, why
	} else if err := errors.Join(a.listenProxy(), a.listenMetadata()); err != nil {
		return err
	}
	a.openFiles()
	return nil
}

// listenProxy opens the signing proxy.
func (a *agent) listenProxy() error {
	l, err := a.face("proxy", a.c.Listen.Proxy, nil)
	if l == nil {
		return err
	}
	roots, err := roots(a.c.CA)
	if err != nil {
		return err
	}
	h := s3proxy.New(s3proxy.Config{
		Hosts: localhttp.HostsOf(l.Addr().String()), People: proxied{a.bindings}, Logger: a.log,
		Offered: func() bool { a.mu.Lock(); defer a.mu.Unlock(); return a.cluster.SigningProxy },
		Open: func(endpoint, region string) (s3proxy.Store, error) {
			return s3client.New(s3client.Config{
				Endpoint: endpoint, Region: region, Virtual: endpoint == "", RoleKeys: true, PlainBodies: true, RootCAs: roots, Proxy: http.ProxyFromEnvironment,
			})
		},
	})
	server := peer.Server(ending(h), a.log)
	server.ReadTimeout, server.WriteTimeout = 0, 0 // content streams as long as it takes; the handler bounds silence
	a.faces.Proxy = "http://" + l.Addr().String()
	a.serve("proxy", peer.Streams(l), server)
	return nil
}

// listenMetadata opens the instance metadata endpoint: on loopback, and at the
// addresses of the real service where this machine has them on an interface of its own.
func (a *agent) listenMetadata() error {
	l, err := a.face("metadata", a.c.Listen.Metadata, imds.OneHop)
	if l == nil {
		return err
	}
	open := []net.Listener{l}
	for _, address := range []string{imds.Address4, imds.Address6} {
		if l, err := a.c.listen(address, imds.OneHop); err == nil {
			open = append(open, l)
		}
	}
	var names []string
	for _, l := range open {
		names = append(names, l.Addr().String())
	}
	a.metadataAt = names
	h := imds.New(imds.Config{
		Hosts: localhttp.HostsOf(names...), People: described{a.bindings}, Now: time.Now,
		Offered: func() bool { a.mu.Lock(); defer a.mu.Unlock(); return a.cluster.InstanceMetadata },
	})
	server := peer.Server(ending(h), a.log)
	a.faces.Metadata = "http://" + names[0]
	for _, l := range open {
		a.serve("imds", peer.TCP(l), server)
	}
	return nil
}

// face opens one address; nil with or without an error: the face is missing.
func (a *agent) face(name, address string, control control) (net.Listener, error) {
	if address == off {
		a.faces.Missing[name] = "switched off in the configuration of this node's agent"
		return nil, nil
	}
	l, err := a.c.listen(address, control)
	if err == nil {
		return l, nil
	}
	if fault.KindOf(err) == fault.Misconfigured {
		return nil, err
	}
	a.faces.Missing[name] = fault.Of(err).Public
	a.trouble(err.Error())
	return nil, nil
}

// ending tells clients in time that their connection takes no more requests.
func ending(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if peer.Of(r.Context()).Ending(time.Now()) {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}

// roots are the system's authorities, and those of a file.
func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, misconfigured("ca", err.Error())
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, misconfigured("ca", file+" holds no certificate in PEM form")
	}
	return pool, nil
}

// proxied is what the signing proxy asks.
type proxied struct{ b *binding.Service }

// Attached names the attachment of whoever sent a request.
func (p proxied) Attached(r *http.Request) (string, error) { return attachmentOf(p.b, r) }

// Keys gives keys of the caller.
func (p proxied) Keys(ctx context.Context, r *http.Request, role string) (s3proxy.Keys, error) {
	k, err := keysOf(ctx, p.b, r, role)
	if err != nil {
		return s3proxy.Keys{}, err
	}
	return s3proxy.Keys{Temporary: temporary(k), Region: k.Region, Endpoint: k.S3}, nil
}

// described is what the instance metadata endpoint asks.
type described struct{ b *binding.Service }

// Attached names the attachment of whoever sent a request.
func (d described) Attached(r *http.Request) (string, error) { return attachmentOf(d.b, r) }

// Keys gives keys of the caller.
func (d described) Keys(ctx context.Context, r *http.Request, role string) (imds.Keys, error) {
	k, err := keysOf(ctx, d.b, r, role)
	if err != nil {
		return imds.Keys{}, err
	}
	name := k.Role
	if parsed, err := arn.ParseRole(k.Role); err == nil {
		name = parsed.Name
	}
	return imds.Keys{Temporary: temporary(k), Role: name, Account: k.AccountID, Region: k.Region, Issued: k.Issued()}, nil
}

func attachmentOf(b *binding.Service, r *http.Request) (string, error) {
	a, err := node.Attached(b, r)
	if err != nil {
		return "", err
	}
	return string(a.ID), nil
}

// keysOf finds the attachment anew: it may have ended since the request began.
func keysOf(ctx context.Context, b *binding.Service, r *http.Request, role string) (*binding.Answer, error) {
	a, err := node.Attached(b, r)
	if err != nil {
		return nil, err
	}
	return b.Keys(ctx, a, role)
}

func temporary(k *binding.Answer) credential.Temporary {
	return credential.Temporary{AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey, SessionToken: k.SessionToken, Expiration: k.Expiration}
}

// openFiles has people's files kept, where the run folder serves for it.
func (a *agent) openFiles() {
	folder, err := tokenfiles.Open(a.c.Run)
	if err != nil {
		a.faces.Missing["files"] = fault.Of(err).Public
		a.trouble(err.Error())
		return
	}
	a.files = tokenfiles.NewKeeper(tokenfiles.Config{Source: &filed{b: a.bindings}, Folder: folder, WebIdentity: a.c.WebIdentity != off, Now: time.Now, Logger: a.log})
}

// keepFiles keeps people's files until the context ends.
func (a *agent) keepFiles(ctx context.Context) {
	if a.files != nil {
		a.files.Run(ctx)
	}
}

// filesOf names the files of an attachment; empty: none is kept.
func (a *agent) filesOf(x *binding.Attachment) (token, webIdentity string) {
	if a.files == nil {
		return "", ""
	}
	return a.files.Paths(string(x.ID))
}

// filed is what the files are made of.
type filed struct {
	b     *binding.Service
	known bool
}

// Known reports whether the server has said who is attached, once in this run. One
// goroutine asks.
func (f *filed) Known() bool {
	f.known = f.known || f.b.Fresh()
	return f.known
}

// Attachments are those that live.
func (f *filed) Attachments() []tokenfiles.Attachment {
	out := make([]tokenfiles.Attachment, 0, f.b.Counts().Attachments)
	f.b.Each(func(a *binding.Attachment) {
		out = append(out, tokenfiles.Attachment{ID: string(a.ID), UID: a.UID, Role: a.Role, Token: a.Token})
	})
	return out
}

// Changed gives a channel that is closed with the next change of them.
func (f *filed) Changed() <-chan struct{} { return f.b.Changed() }

// IDToken gives one for the attachment's current role.
func (f *filed) IDToken(ctx context.Context, attachment string) (secret.Text, time.Time, error) {
	t, err := f.b.NewIDToken(ctx, identity.AttachmentID(attachment))
	if err != nil {
		return secret.Text{}, time.Time{}, err
	}
	return t.Token, t.Expires, nil
}

// offered are the faces as the cluster has them.
func (a *agent) offered() localdoc.Faces {
	f := a.faces
	f.Missing = map[string]string{}
	for name, why := range a.faces.Missing {
		f.Missing[name] = why
	}
	const switched = "switched off on this cluster"
	if !a.cluster.SigningProxy && f.Proxy != "" {
		f.Proxy, f.Missing["proxy"] = "", switched
	}
	if !a.cluster.InstanceMetadata && f.Metadata != "" {
		f.Metadata, f.Missing["metadata"] = "", switched
	}
	return f
}

// prober asks whether people reach a real instance metadata service.
func (a *agent) prober() *metadata.Prober {
	return &metadata.Prober{Own: func(at netip.AddrPort) bool { return slices.Contains(a.metadataAt, at.String()) }}
}

// overflow stands for people whom nobody knows yet.
const overflow = 65534

// exposed reports, for the server, whether people reach a real service, and says so.
func (a *agent) exposed() (bool, []string) {
	uid := uint32(overflow)
	for _, x := range a.bindings.Attachments() {
		uid = x.UID
		break
	}
	if !a.metadata.Reachable(uid) {
		return false, nil
	}
	return true, []string{"people reach this machine's own instance metadata service, and with it its identity: run carnet agent metadata-rule --install as root"}
}
