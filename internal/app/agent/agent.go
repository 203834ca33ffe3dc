// Package agent wires the agent of a node: the program carnet agent.
//
// It holds no SQL, no IAM and no STS: what a node may have is decided at the server. The
// agent knows who is attached to this node, who is calling, and keys in memory.
package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/attest"
	"carnet.dev/carnet/internal/edge/cgroup"
	"carnet.dev/carnet/internal/edge/node"
	"carnet.dev/carnet/internal/edge/node/localdoc"
	"carnet.dev/carnet/internal/edge/node/localhttp"
	"carnet.dev/carnet/internal/edge/node/metadata"
	"carnet.dev/carnet/internal/edge/node/peer"
	"carnet.dev/carnet/internal/edge/node/tokenfiles"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
	"carnet.dev/carnet/internal/edge/nodeclient"
	"carnet.dev/carnet/internal/edge/systemd"
	"carnet.dev/carnet/internal/service/binding"
)

// agent is one running agent.
type agent struct {
	c        Config
	log      *slog.Logger
	version  string
	client   *nodeclient.Client
	bindings *binding.Service
	groups   *cgroup.Tree
	ends     *node.Ends
	engine   uint32
	mapping  node.Mapping // nil: no engine
	// connections are the engine's too.
	connections node.Connections
	former      bool            // the machine was started anew, and what was attached before is yet to end
	endpoint    *node.Container // nil: not offered

	mu       sync.Mutex
	cluster  nodedoc.Cluster
	name     string // of the node, as its administrator calls it
	faces    localdoc.Faces
	names    []string // of the faces that answer
	troubles []string

	files      *tokenfiles.Keeper // nil: none are kept
	metadata   *metadata.Prober
	metadataAt []string // where our own instance metadata endpoint listens

	servers []*http.Server
	serving sync.WaitGroup
	begun   chan struct{} // closed when the faces may answer
	begin   func()
}

// run is `carnet agent`: open what the node is, listen, follow the server, serve, until
// the context ends.
func run(ctx context.Context, c Config, version string, logs io.Writer) (err error) {
	a := &agent{c: c, version: version, log: slog.New(slog.NewTextHandler(logs, nil)), begun: make(chan struct{})}
	a.begin = sync.OnceFunc(func() { close(a.begun) })
	if err := a.open(); err != nil {
		return err
	}
	if err := a.listen(); err != nil {
		return err
	}
	trim()
	if err := a.c.handed.all(); err != nil {
		return errors.Join(err, a.close())
	}
	a.log.Info("the agent listens", "node", a.client.Node(), "server", a.client.Server(), "socket", c.Socket, "container", a.faces.Container, "memory", guard())
	ctx, stop := context.WithCancel(ctx)
	var working sync.WaitGroup
	for _, work := range []func(context.Context){a.watch, a.bindings.Run, a.ends.Run, a.report, a.rotate, a.tidy, a.keepFiles} {
		working.Go(func() { work(ctx) })
	}
	a.settle(ctx)
	a.begin()
	if err := systemd.Notify(os.Getenv, "READY=1"); err != nil {
		a.log.Warn("the service manager was not told that the agent answers", "error", err)
	}
	<-ctx.Done()
	stop()
	_ = systemd.Notify(os.Getenv, "STOPPING=1") // it waits either way
	err = a.close()
	working.Wait()
	return err
}

// settling is how long the first answers wait for the server's first word: who connects
// while the agent restarts should not be told that nothing is known.
const settling = 2 * time.Second

// settle waits for the first view.
func (a *agent) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settling)
	defer cancel()
	for !a.bindings.Fresh() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// open makes everything that listens to nobody.
func (a *agent) open() (err error) {
	folder := nodeclient.Folder{Path: a.c.State}
	a.client, err = nodeclient.Open(nodeclient.Config{
		Folder: folder, Server: a.c.Server, CA: a.c.CA, Now: time.Now, Logger: a.log, Random: rand.Float64, Version: a.version,
	})
	if err != nil {
		return err
	}
	tokens, err := folder.LocalKey()
	if err != nil {
		return err
	}
	if a.former, err = folder.OtherBoot(bootID()); err != nil {
		return err
	}
	if a.groups, err = cgroup.Open(a.c.Cgroup); err != nil {
		return misconfigured("cgroup", err.Error())
	}
	a.bindings = binding.New(binding.Config{
		Server: a.client, Groups: a.groups, Now: time.Now, Logger: a.log, TokenKey: tokens, Fresh: a.c.Fresh, Refuse: a.c.Offline == refuse, Former: a.former,
	})
	a.ends = &node.Ends{
		Table: a.bindings, Live: a.groups.Live, UIDs: node.UIDs, Now: time.Now, Logger: a.log,
		Keep: func(all []node.Leader) error { return folder.KeepLeaders(all) },
	}
	if err := folder.Leaders(&a.ends.Kept); err != nil {
		return err
	}
	if a.c.EngineAccount != "" {
		if a.engine, err = account(a.c.EngineAccount); err != nil {
			return err
		}
		a.mapping, a.connections = a.client, jdbc{a.client}
	}
	return nil
}

// listen opens the faces. Without the socket there is no agent; each of the others is
// offered where it can be.
func (a *agent) listen() error {
	a.faces.Missing = map[string]string{}
	a.metadata = a.prober()
	unix, err := a.c.listenUnix(a.c.Socket)
	if err != nil {
		return err
	}
	socket := &node.Socket{
		Bindings: a.bindings, About: a.about, Files: a.filesOf, Ready: a.ready, Engine: a.engine, Mapping: a.mapping, Connections: a.connections, Logger: a.log,
		Attaching: &node.Attaching{
			Server: a.client, Live: a.bindings, Leaders: a.ends, ScopeID: a.groups.ID, Account: accountName, Now: time.Now,
			Reachable: a.metadata.Reachable,
		},
	}
	a.serve("socket", peer.Unix(unix, attest.Mount(a.groups.Mount)), peer.Server(socket.Handler(), a.log))
	if a.c.InsecurePorts {
		a.trouble("insecure_ports is set: any account of this machine could stand in for the agent while it restarts")
	}
	if err := a.listenContainer(); err != nil {
		return err
	}
	if err := a.listenFaces(); err != nil {
		return err
	}
	return a.listenMetrics()
}

// listenContainer opens the container credentials endpoint. An address that the
// configuration names has to be had; those of the default may be missing.
func (a *agent) listenContainer() error {
	if why := a.loopbackUnproven(); why != "" {
		a.faces.Missing["container"] = why
		a.trouble("only the unix socket is offered: " + why)
		return nil
	}
	var open []net.Listener
	var addresses []string
	var missing error
	for i, address := range a.c.Listen.Container {
		l, err := a.c.listen(address, nil)
		if err == nil {
			open, addresses = append(open, l), append(addresses, l.Addr().String())
			continue
		}
		if fault.KindOf(err) == fault.Misconfigured {
			return err
		}
		if i == 0 { // the others are further addresses of the same
			missing = err
		}
	}
	if missing != nil {
		a.trouble(missing.Error())
	}
	if len(open) == 0 {
		a.faces.Missing["container"] = "none of its addresses can be listened at"
		return nil
	}
	a.endpoint = &node.Container{Bindings: a.bindings, Hosts: localhttp.HostsOf(addresses...), Now: time.Now, Engine: a.engine, Mapping: a.mapping}
	a.faces.Container = "http://" + addresses[0] + node.CredentialsPath
	server := peer.Brief(a.endpoint.Handler(), a.log)
	for _, l := range open {
		a.serve("container", peer.TCP(l), server)
	}
	return nil
}

// loopbackUnproven says why callers on loopback can't be told apart here; empty: they
// can.
func (a *agent) loopbackUnproven() string {
	switch {
	case runtime.GOOS != "linux":
		return "this system does not say who is at the other end of a connection"
	case a.groups.Mount == "":
		return "control groups of version 2 are not mounted, so sockets carry none"
	}
	return ""
}

// serve serves one listener.
func (a *agent) serve(face string, l net.Listener, s *http.Server) {
	if p, ok := l.(*peer.Listener); ok {
		p.Known = a.known
	}
	if len(a.names) == 0 || a.names[len(a.names)-1] != face {
		a.names = append(a.names, face)
	}
	a.servers = append(a.servers, s)
	a.serving.Go(func() {
		<-a.begun
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("a face of the agent ended", "face", face, "error", err)
		}
	})
}

// known reports whether a uid is that of somebody who is attached, or of the engine.
func (a *agent) known(uid uint32) bool {
	return a.mapping != nil && uid == a.engine || a.bindings.Known(uid)
}

// close ends the faces: answers that are on their way get a moment.
func (a *agent) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	for _, s := range a.servers {
		if s.Shutdown(ctx) != nil {
			_ = s.Close()
		}
	}
	a.begin() // also those that wait end
	a.serving.Wait()
	return nil
}

// watch follows what counts on this node.
func (a *agent) watch(ctx context.Context) {
	a.client.Watch(ctx, func(v nodedoc.View) {
		a.mu.Lock()
		a.cluster, a.name = v.Cluster, v.NodeName
		a.mu.Unlock()
		a.bindings.Confirm(view(v))
		a.keepBoot()
	}, a.bindings.Dismiss)
}

// bootID is the kernel's id of this run of the machine (random(4)); empty where none is
// told.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// keepBoot notes that what was attached before the machine started anew has ended, once
// the server knows too: an agent that is killed before ends it again.
func (a *agent) keepBoot() {
	if !a.former || !a.bindings.Told() {
		return
	}
	if err := (nodeclient.Folder{Path: a.c.State}).KeepBoot(bootID()); err != nil {
		a.log.Error("what was attached before the machine started anew has ended, and that can't be noted", "error", err)
		return
	}
	a.former = false
}

// view reads the server's document.
func view(v nodedoc.View) binding.View {
	out := binding.View{Revision: v.Revision}
	for _, x := range v.Attachments {
		out.Attachments = append(out.Attachments, binding.Attachment{
			ID: identity.AttachmentID(x.ID), UID: x.UID, Scope: x.Scope, ScopeID: x.ScopeID, Account: x.Account, Name: x.Name, Role: x.Role, Expires: x.Expires,
		})
	}
	for _, x := range v.Revoked {
		out.Revoked = append(out.Revoked, binding.Revoked{Kind: x.Kind, ID: x.ID, Epoch: x.Epoch})
	}
	return out
}

func (a *agent) trouble(text string) {
	a.log.Warn(text)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.troubles = append(a.troubles, text)
}

// about is the status of the node, without an attachment.
func (a *agent) about() localdoc.Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	return localdoc.Status{
		Node: cmp.Or(a.name, a.client.Node()), Cluster: a.cluster.Name, Kind: a.cluster.Kind, Server: a.client.Server(), Fresh: a.bindings.Fresh(), Faces: a.offered(), CA: a.c.CA,
	}
}

// ready says why not.
func (a *agent) ready() []string {
	if !a.bindings.Fresh() {
		return []string{"the server has not been reached for a while"}
	}
	return nil
}

// reportEvery is how often the server hears how the node is.
const reportEvery = 5 * time.Minute

func (a *agent) report(ctx context.Context) {
	wait := time.Second
	for {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		wait = reportEvery
		if !a.bindings.Fresh() {
			wait = 10 * time.Second
			continue
		}
		exposed, why := a.exposed()
		a.mu.Lock()
		r := nodedoc.Report{Version: a.version, Faces: a.names, Troubles: append(why, a.troubles...), MetadataReachable: exposed}
		a.mu.Unlock()
		if err := a.client.Report(ctx, r); err != nil && ctx.Err() == nil {
			a.log.Warn("the server has not heard how this node is", "error", err)
			wait = time.Minute
		}
	}
}

// rotate replaces the node's key when it is a day old.
func (a *agent) rotate(ctx context.Context) {
	for {
		select {
		case <-time.After(10*time.Minute + rand.N(10*time.Minute)):
		case <-ctx.Done():
			return
		}
		if !a.bindings.Fresh() {
			continue
		}
		if err := a.client.Rotate(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("the node's key has not been replaced yet", "error", err)
		}
	}
}

// account finds the uid of an account that the configuration names.
func account(name string) (uint32, error) {
	text := name
	if u, err := user.Lookup(name); err == nil {
		text = u.Uid
	}
	uid, err := strconv.ParseUint(text, 10, 32)
	if err != nil || uid == 0 {
		return 0, misconfigured("engine_account", fmt.Sprintf("%q: want the name or the number of an account, and not root", name))
	}
	return uint32(uid), nil
}

// accountName finds the login name of a uid, also where it comes from a directory
// (getent asks all of the system's sources). Empty: it has none.
func accountName(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	if runtime.GOOS != "linux" {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/usr/bin/getent", "passwd", number)
	cmd.Env = []string{}
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	fields := strings.Split(strings.TrimSuffix(string(out), "\n"), ":")
	if len(fields) < 3 || fields[2] != number {
		return ""
	}
	return fields[0]
}
