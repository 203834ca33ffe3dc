// Package imds answers as an EC2 instance metadata service does, in its second
// version, for engines that know nothing else: token first, then the role's name,
// then its keys (EC2 User Guide, "Use the Instance Metadata Service").
//
// The real service trusts whoever reaches it. This one asks the kernel who calls, on
// each connection, and a token works for the attachment that it was made for and for
// no other. There is no first version: a request without a token is 401. A refused
// token request is 400, never 403, 404 or 405, by which SDKs would fall back to the
// first version. Nothing of the machine is served: roles, keys and the region.
//
// It must never answer a caller who is not attached, nor a request that a browser or
// a proxy sent on.
package imds

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/node/localhttp"
)

// The addresses of the service (EC2 User Guide), where the agent may bind them, and the
// port.
const (
	Address4 = "169.254.169.254:80"
	Address6 = "[fd00:ec2::254]:80"
)

// The headers of the protocol, and the longest life of a token in seconds.
const (
	headerTTL   = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	headerToken = "X-Aws-Ec2-Metadata-Token"
	mostTTL     = 21600
)

const (
	pathToken       = "/latest/api/token"
	pathMetadata    = "/latest/meta-data"
	pathRegion      = pathMetadata + "/placement/region"
	pathCredentials = pathMetadata + "/iam/security-credentials"
)

// Keys are those of a role.
type Keys struct {
	credential.Temporary
	Role    string // its name, without account and path
	Account string // of 12 digits; may be empty
	Region  string
	Issued  time.Time
}

// People says who asks, and what they hold.
type People interface {
	// Attached names the attachment of the process that sent the request, by what the
	// kernel says of its connection. Errors are faults.
	Attached(r *http.Request) (attachment string, err error)
	// Keys gives those of a role: by name, or empty for the current one.
	Keys(ctx context.Context, r *http.Request, role string) (Keys, error)
}

// Config is what a Service stands on.
type Config struct {
	Hosts  localhttp.Hosts
	People People
	// Offered reports whether the cluster has instance metadata switched on.
	Offered func() bool
	Now     func() time.Time
}

// Service is a handler. Safe for concurrent use.
type Service struct {
	c   Config
	key [32]byte // of this run: tokens end with it, and SDKs ask for new ones
}

// New makes a Service.
func New(c Config) *Service {
	s := &Service{c: c}
	_, _ = rand.Read(s.key[:]) // never fails (crypto/rand)
	return s
}

// ServeHTTP answers one request.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/plain")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	attachment, err := s.admit(r)
	if r.Method == http.MethodPut {
		s.token(w, r, attachment, err)
		return
	}
	if err == nil {
		err = s.holds(r, attachment)
	}
	if err != nil {
		say(w, http.StatusUnauthorized, err)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		say(w, http.StatusMethodNotAllowed, fault.New(fault.Unsupported, "The method is not offered"))
		return
	}
	s.get(w, r)
}

// admit says who asks.
func (s *Service) admit(r *http.Request) (string, error) {
	if err := s.c.Hosts.Check(r); err != nil {
		return "", err
	}
	if !s.c.Offered() {
		return "", fault.New(fault.Denied, "Instance metadata is switched off on this cluster").
			WithMend("use the container credentials endpoint: run carnet attach, and set what it prints")
	}
	return s.c.People.Attached(r)
}

// token answers a request for a token.
func (s *Service) token(w http.ResponseWriter, r *http.Request, attachment string, err error) {
	if err != nil {
		say(w, http.StatusBadRequest, err)
		return
	}
	life, ok := ttl(r.Header[headerTTL])
	if r.URL.Path != pathToken || r.URL.RawQuery != "" || !ok || r.ContentLength > 0 {
		say(w, http.StatusBadRequest, fault.New(fault.Invalid, "A token is made by PUT "+pathToken+" with the header "+headerTTL+": 1 to 21600"))
		return
	}
	w.Header().Set(headerTTL, strconv.Itoa(life))
	_, _ = io.WriteString(w, s.seal(attachment, s.c.Now().Add(time.Duration(life)*time.Second)))
}

func ttl(values []string) (int, bool) {
	if len(values) != 1 || len(values[0]) > 5 {
		return 0, false
	}
	n, err := strconv.ParseUint(values[0], 10, 16)
	return int(n), err == nil && n >= 1 && n <= mostTTL
}

const (
	expirySize = 8
	nonceSize  = 16
)

// seal makes a token: its end, something random, and a proof of both for the
// attachment. Nothing is kept of it.
func (s *Service) seal(attachment string, end time.Time) string {
	b := make([]byte, expirySize+nonceSize, expirySize+nonceSize+sha256.Size)
	binary.BigEndian.PutUint64(b, uint64(end.Unix()))
	_, _ = rand.Read(b[expirySize:])
	return base64.RawURLEncoding.EncodeToString(s.proof(b, attachment))
}

func (s *Service) proof(b []byte, attachment string) []byte {
	m := hmac.New(sha256.New, s.key[:])
	m.Write(b)
	m.Write([]byte(attachment))
	return m.Sum(b)
}

// holds demands a token that was made for this attachment and is not past its time.
func (s *Service) holds(r *http.Request, attachment string) error {
	refused := fault.New(fault.Unauthenticated, "A token is needed: PUT "+pathToken+" gives one")
	values := r.Header[headerToken]
	if len(values) != 1 {
		return refused
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(values[0])
	if err != nil || len(b) != expirySize+nonceSize+sha256.Size {
		return refused
	}
	stated := b[: expirySize+nonceSize : expirySize+nonceSize]
	if !hmac.Equal(s.proof(stated, attachment), b) || s.c.Now().Unix() >= int64(binary.BigEndian.Uint64(b)) {
		return refused
	}
	return nil
}

// get answers what stands below /latest/meta-data.
func (s *Service) get(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.URL.Path, "/")
	role, named := strings.CutPrefix(path, pathCredentials+"/")
	if !named {
		role = "" // the current one
	}
	switch {
	case path == "/latest":
		_, _ = io.WriteString(w, "meta-data")
		return
	case path == pathMetadata:
		_, _ = io.WriteString(w, "iam/\nplacement/")
		return
	case path == pathMetadata+"/iam":
		_, _ = io.WriteString(w, "security-credentials/")
		return
	case path == pathMetadata+"/placement":
		_, _ = io.WriteString(w, "region")
		return
	case named && !strings.Contains(role, "/"), path == pathCredentials, path == pathRegion:
	default:
		say(w, http.StatusNotFound, fault.New(fault.NotFound, "There is nothing at this path"))
		return
	}
	keys, err := s.c.People.Keys(r.Context(), r, role)
	switch {
	case err != nil:
		s.failed(w, err, named)
	case path == pathRegion:
		_, _ = io.WriteString(w, keys.Region)
	case path == pathCredentials:
		_, _ = io.WriteString(w, keys.Role)
	default:
		write(w, document{
			Code: "Success", LastUpdated: stamp(keys.Issued), Type: "AWS-HMAC", AccessKeyID: keys.AccessKeyID,
			SecretAccessKey: keys.SecretAccessKey.Reveal(), Token: keys.SessionToken.Reveal(), Expiration: stamp(keys.Expiration), AccountID: keys.Account,
		})
	}
}

// document is what the service says of a role's keys.
type document struct {
	Code            string
	Message         string `json:",omitempty"`
	LastUpdated     string
	Type            string `json:",omitempty"`
	AccessKeyID     string `json:"AccessKeyId,omitempty"`
	SecretAccessKey string `json:",omitempty"`
	Token           string
	Expiration      string `json:",omitempty"`
	AccountID       string `json:"AccountId,omitempty"`
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// failed answers that keys can't be had. A refusal of a role's keys has a document of
// its own, which SDKs show and don't ask again for.
func (s *Service) failed(w http.ResponseWriter, err error, named bool) {
	f := fault.Of(err)
	switch {
	case f.Kind == fault.NotFound, f.Kind == fault.Conflict:
		say(w, http.StatusNotFound, err)
	case f.Kind == fault.Unavailable, f.Kind == fault.Limited:
		w.Header().Set("Retry-After", "5")
		say(w, http.StatusServiceUnavailable, err)
	case named && f.Kind != fault.Internal && f.Kind != fault.Misconfigured:
		write(w, document{Code: "AssumeRoleUnauthorizedAccess", Message: text(f), LastUpdated: stamp(s.c.Now())})
	default:
		say(w, http.StatusInternalServerError, err)
	}
}

func write(w http.ResponseWriter, d document) {
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		say(w, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
}

func text(f *fault.Fault) string {
	if f.Mend == "" {
		return f.Public
	}
	return f.Public + "; " + f.Mend
}

// say answers in words.
func say(w http.ResponseWriter, status int, err error) {
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text(fault.Of(err))+"\n")
}
