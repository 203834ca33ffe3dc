// Package denial keeps why requests were denied, so that an administrator who is
// told a request id can see what decided.
//
// The public answer says one sentence; here stand who asked, what was checked,
// and what each statement said of it. Statements are named, not quoted, and no
// secret is among what is kept. It is for explanation only and is not the audit
// trail: denials are kept for a week, at most so many, and of one principal only
// the first of each while. It must never be asked to decide anything.
package denial

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
)

// Denial is one denied request. Empty fields are left out.
type Denial struct {
	Request   identity.RequestID `json:"request_id"`
	At        time.Time          `json:"at"`
	Operation string             `json:"operation"` // as the S3 API names it
	Code      string             `json:"code"`      // as in the answer
	Reason    string             `json:"reason"`    // the sentence of the answer
	// DecidedBy is who said no: policy, aws (the role's own account), store or
	// gateway (a rule of the configuration).
	DecidedBy By `json:"decided_by"`

	Principal        string                      `json:"principal,omitempty"` // ARN
	Role             string                      `json:"role,omitempty"`      // ARN
	Account          string                      `json:"account,omitempty"`
	Person           identity.PersonID           `json:"person,omitempty"`
	PersonName       string                      `json:"person_name,omitempty"` // as it is now; not stored
	LoginSession     identity.LoginSessionID     `json:"login_session,omitempty"`
	ServicePrincipal identity.ServicePrincipalID `json:"service_principal,omitempty"`
	Delegation       identity.DelegationID       `json:"delegation,omitempty"`
	GatewayKey       identity.GatewayKeyID       `json:"gateway_key,omitempty"`
	Cluster          string                      `json:"cluster,omitempty"`
	AccessKeyID      string                      `json:"access_key_id,omitempty"`
	Source           string                      `json:"source,omitempty"` // address
	UserAgent        string                      `json:"user_agent,omitempty"`

	Bucket        string `json:"bucket,omitempty"`
	Key           string `json:"key,omitempty"`
	VersionID     string `json:"version_id,omitempty"`
	BucketAccount string `json:"bucket_account,omitempty"`
	Upstream      string `json:"upstream,omitempty"`
	// StoreRequest and StoreHost are the store's own ids of its refusal: AWS
	// support asks for both.
	StoreRequest string `json:"store_request_id,omitempty"`
	StoreHost    string `json:"store_host_id,omitempty"`

	Checks []Check `json:"checks"`
	// MoreChecks counts those that were asked and are not shown.
	MoreChecks int `json:"more_checks,omitempty"`
}

// By says who denied: a closed set.
type By string

// Who denies.
const (
	ByPolicy  By = "policy"
	ByAWS     By = "aws"
	ByStore   By = "store"
	ByGateway By = "gateway"
)

// Check is one question that the request asked.
type Check struct {
	Action   string  `json:"action"`
	Resource string  `json:"resource"` // ARN
	Outcome  Outcome `json:"outcome"`
	// Explicit says that a Deny statement matched; else nothing allowed it.
	Explicit bool   `json:"explicit,omitempty"`
	Reason   string `json:"reason,omitempty"`
	// Determining are the statements that decided, as policy#Sid.
	Determining []string    `json:"determining,omitempty"`
	Statements  []Statement `json:"statements,omitempty"`
	// MoreStatements counts those that did not apply and are not shown.
	MoreStatements int `json:"more_statements,omitempty"`
}

// Outcome is the answer to a check: a closed set.
type Outcome string

// The outcomes.
const (
	Allowed  Outcome = "allowed"
	Refused  Outcome = "denied"
	NotAsked Outcome = "not-asked" // an earlier one was denied
)

// Statement is what one statement of a policy said.
type Statement struct {
	Policy  string   `json:"policy"`    // what kind of policy it stands in
	Name    string   `json:"statement"` // policy#Sid, or policy#number
	Effect  string   `json:"effect"`
	Applies bool     `json:"applies"`
	Unmet   []string `json:"unmet,omitempty"` // why it does not apply
}

// Row is a denial as it is stored.
type Row struct {
	Request identity.RequestID
	At      time.Time
	Body    string // JSON of Denial
}

// Store keeps denials.
type Store interface {
	// Put stores rows, in one transaction. One that is there stays as it is.
	Put(ctx context.Context, rows []Row) error
	// Find gives one; false where there is none.
	Find(ctx context.Context, id identity.RequestID) (Row, bool, error)
	// Recent gives the newest, at most some.
	Recent(ctx context.Context, most int) ([]Row, error)
	// Sweep deletes those before a time, and the oldest beyond most.
	Sweep(ctx context.Context, before time.Time, most int) error
}

// Config is what a Keeper stands on.
type Config struct {
	Store Store
	// Name gives the user name of a person; nil, or an error: it is left out.
	Name   func(ctx context.Context, id identity.PersonID) (string, error)
	Now    func() time.Time
	Logger *slog.Logger
}

// Keeper keeps denials. Safe for concurrent use.
type Keeper struct {
	Config
	waiting chan func() Denial

	mu     sync.Mutex
	while  time.Time
	kept   map[string]int // of each principal in this while
	inAll  int
	missed int // not kept, and not yet told of
}

// What is kept.
const (
	// KeptFor is how long a denial is kept.
	KeptFor = 7 * 24 * time.Hour
	// MostRows bounds all that is kept.
	MostRows = 100_000
	// While, MostEach and mostInAll bound what is kept of one principal, and on
	// one server, in a while.
	While     = 10 * time.Minute
	MostEach  = 100
	mostInAll = 5_000

	mostWaiting = 512
	mostAtOnce  = 64
	mostBody    = 64 << 10
	sweepEvery  = 10 * time.Minute
)

// New makes a Keeper.
func New(c Config) *Keeper {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Keeper{Config: c, waiting: make(chan func() Denial, mostWaiting), kept: map[string]int{}}
}

// Keep has a denial stored soon. make is called on another goroutine, or never:
// when too much waits, or too much of one principal was kept lately.
func (k *Keeper) Keep(principal string, make func() Denial) {
	if !k.admit(principal) {
		return
	}
	select {
	case k.waiting <- make:
	default:
		k.mu.Lock()
		k.missed++
		k.mu.Unlock()
	}
}

func (k *Keeper) admit(principal string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := k.Now(); now.Sub(k.while) >= While || now.Before(k.while) {
		k.while, k.inAll = now, 0
		clear(k.kept)
	}
	if k.kept[principal] >= MostEach || k.inAll >= mostInAll {
		return false
	}
	k.kept[principal]++
	k.inAll++
	return true
}

// Run stores what comes and deletes what is old, until ctx ends; then it stores
// what is left.
func (k *Keeper) Run(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case first := <-k.waiting:
			k.store(context.WithoutCancel(ctx), first)
		case <-tick.C:
			if err := k.Store.Sweep(ctx, k.Now().Add(-KeptFor), MostRows); err != nil && ctx.Err() == nil {
				k.Logger.Warn("old denials can't be deleted", "error", err)
			}
		case <-ctx.Done():
			for {
				select {
				case first := <-k.waiting:
					k.store(context.WithoutCancel(ctx), first)
				default:
					return
				}
			}
		}
	}
}

// patience bounds one write: these rows are not worth waiting for.
const patience = 5 * time.Second

func (k *Keeper) store(ctx context.Context, first func() Denial) {
	rows := k.row(nil, first())
	for more := true; more && len(rows) < mostAtOnce; {
		select {
		case next := <-k.waiting:
			rows = k.row(rows, next())
		default:
			more = false
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := k.Store.Put(ctx, rows); err != nil {
		k.Logger.Warn("denials can't be kept: they have no explanation", "denials", len(rows), "error", err)
	}
	k.mu.Lock()
	missed := k.missed
	k.missed = 0
	k.mu.Unlock()
	if missed > 0 {
		k.Logger.Warn("denials were not kept: too many waited", "denials", missed)
	}
}

func (k *Keeper) row(rows []Row, d Denial) []Row {
	body, err := json.Marshal(d)
	for n := len(d.Checks); err == nil && len(body) > mostBody && n > 0; {
		n /= 2
		d.MoreChecks += len(d.Checks) - n
		d.Checks = d.Checks[:n]
		body, err = json.Marshal(d)
	}
	if err != nil {
		k.Logger.Error("a denial can't be written", "request_id", d.Request, "error", err)
		return rows
	}
	return append(rows, Row{Request: d.Request, At: d.At, Body: string(body)})
}

// Find gives the denial of a request. It is NotFound where none is kept.
func (k *Keeper) Find(ctx context.Context, id string) (Denial, error) {
	id = strings.TrimSpace(id)
	if !wellFormed(id) {
		return Denial{}, fault.Coded(fault.Invalid, "denial.request-id", "A request id has 16 capital letters and digits").
			WithMend("copy it from the error, where it is called RequestId or x-amz-request-id")
	}
	row, ok, err := k.Store.Find(ctx, identity.RequestID(id))
	if err != nil {
		return Denial{}, err
	}
	if !ok {
		return Denial{}, fault.Coded(fault.NotFound, "denial.unknown", "No denial with the request id "+id+" is kept").
			WithMend("denials of proven callers are kept for 7 days, of one access key the first " + strconv.Itoa(MostEach) +
				" in 10 minutes: ask for a fresh one, or look into the access log")
	}
	return k.read(ctx, row)
}

// Recent gives the newest denials, at most some.
func (k *Keeper) Recent(ctx context.Context, most int) ([]Denial, error) {
	rows, err := k.Store.Recent(ctx, most)
	if err != nil {
		return nil, err
	}
	all := make([]Denial, 0, len(rows))
	for _, row := range rows {
		d, err := k.read(ctx, row)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

func (k *Keeper) read(ctx context.Context, row Row) (Denial, error) {
	var d Denial
	if err := json.Unmarshal([]byte(row.Body), &d); err != nil {
		return d, fault.Wrap(err, fault.Internal, "The stored denial can't be read")
	}
	if d.Person != "" && k.Name != nil {
		if name, err := k.Name(ctx, d.Person); err == nil {
			d.PersonName = name
		}
	}
	return d, nil
}

func wellFormed(id string) bool {
	for i := range len(id) {
		if c := id[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return len(id) == 16
}
