package nodeclient

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/oidc"
)

// Identity is what a node is, as its state folder keeps it.
type Identity struct {
	Node   string    `json:"node"`
	Server string    `json:"server"` // base URL
	Made   time.Time `json:"key_made"`
}

// The files of a state folder. All are 0600, the folder 0700.
const (
	identityFile = "node.json"
	keyFile      = "node.key"
	nextFile     = "node.key.next" // offered to the server, whose answer may be lost
	localFile    = "local.key"
	leadersFile  = "leaders.json"
)

// Folder is a state folder: whoever reads it is the node.
type Folder struct{ Path string }

// Check refuses a folder that is missing, or that others can reach. Faults are of kind
// Misconfigured.
func (f Folder) Check() error {
	info, err := os.Stat(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f.refuse("is missing", "make it, readable by the agent's account alone: install -d -m 0700 -o ACCOUNT "+f.Path, err)
	case err != nil || !info.IsDir():
		return f.refuse("is no folder that can be used", "name a folder of the agent's account", err)
	case foreign(info):
		return f.refuse("belongs to another account", "run the agent under the account that owns it", nil)
	case info.Mode().Perm()&0o077 != 0:
		return f.refuse(fmt.Sprintf("can be reached by others (mode %04o)", info.Mode().Perm()), "run chmod 700 "+f.Path, nil)
	}
	return nil
}

func (f Folder) refuse(what, mend string, cause error) error {
	return fault.Wrap(cause, fault.Misconfigured, "the state folder "+f.Path+" "+what).WithCode("agent.state").WithMend(mend)
}

// Joined reads who this node is. NotFound where it has not joined.
func (f Folder) Joined() (Identity, error) {
	var id Identity
	text, err := os.ReadFile(filepath.Join(f.Path, identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return id, fault.Coded(fault.NotFound, "agent.not-joined", "this node has not joined a cluster").
			WithMend("have a join token made (carnet cluster join-token CLUSTER), then run: carnet agent join")
	}
	if err == nil {
		err = json.Unmarshal(text, &id)
	}
	if err != nil || id.Node == "" || id.Server == "" {
		return id, f.refuse("holds no identity that can be read", "join the node anew: carnet agent join", err)
	}
	return id, nil
}

// key reads a private key; nil where the file does not exist.
func (f Folder) key(name string) (*ecdsa.PrivateKey, error) {
	path := filepath.Join(f.Path, name)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, f.refuse("holds a key that can't be read", "look at "+path, err)
	}
	k, err := oidc.ReadSigningKey(text)
	if err != nil {
		return nil, f.refuse("holds a key that can't be read", "join the node anew: carnet agent join", err)
	}
	private, ok := k.Private.(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() {
		return nil, f.refuse("holds a key of another kind", "join the node anew: carnet agent join", nil)
	}
	return private, nil
}

func newKey() (*ecdsa.PrivateKey, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fault.Wrap(err, fault.Internal, "no key can be made")
	}
	return k, nil
}

func (f Folder) keepKey(name string, k *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "the node's key can't be written down")
	}
	return f.keep(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func (f Folder) keepIdentity(id Identity) error {
	text, err := json.Marshal(id)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "the node's identity can't be written down")
	}
	return f.keep(identityFile, append(text, '\n'))
}

// keep replaces a file as a whole, readable by this account alone.
func (f Folder) keep(name string, text []byte) (err error) {
	defer func() {
		if err != nil {
			err = f.refuse("can't be written", "look at the disk and at the folder's owner", err)
		}
	}()
	t, err := os.CreateTemp(f.Path, name+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(t.Name())
	if _, err = t.Write(text); err == nil {
		err = t.Sync()
	}
	if err = errors.Join(err, t.Close()); err != nil {
		return err
	}
	if err := os.Rename(t.Name(), filepath.Join(f.Path, name)); err != nil {
		return err
	}
	d, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// promote makes the next key the node's key.
func (f Folder) promote() error {
	if err := os.Rename(filepath.Join(f.Path, nextFile), filepath.Join(f.Path, keyFile)); err != nil {
		return f.refuse("can't be written", "look at the folder's owner", err)
	}
	return nil
}

// LocalKey gives 32 bytes that only this agent has, made at its first start: the second
// factors of its attachments come from them.
func (f Folder) LocalKey() (key [32]byte, err error) {
	text, err := os.ReadFile(filepath.Join(f.Path, localFile))
	if err == nil && len(text) == len(key) {
		return [32]byte(text), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return key, f.refuse("holds a key that can't be read", "look at "+localFile+" in it", err)
	}
	rand.Read(key[:])
	return key, f.keep(localFile, key[:])
}

// Leaders gives what KeepLeaders kept; nothing where it kept nothing.
func (f Folder) Leaders(into any) error {
	text, err := os.ReadFile(filepath.Join(f.Path, leadersFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return f.refuse("holds a file that can't be read", "look at "+leadersFile+" in it", err)
	}
	return nil
}

// KeepLeaders notes the processes with which attachments end, for the agent's next run.
func (f Folder) KeepLeaders(all any) error {
	text, err := json.Marshal(all)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "the leaders can't be written down")
	}
	return f.keep(leadersFile, append(text, '\n'))
}
