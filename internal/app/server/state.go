package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/auditfile"
	"carnet.dev/carnet/internal/edge/keyfile"
	"carnet.dev/carnet/internal/edge/sql"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	sqldirectory "carnet.dev/carnet/internal/edge/sql/directory"
	sqlfederation "carnet.dev/carnet/internal/edge/sql/federation"
	sqliam "carnet.dev/carnet/internal/edge/sql/iam"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	sqlonceonly "carnet.dev/carnet/internal/edge/sql/onceonly"
	sqlprovisioning "carnet.dev/carnet/internal/edge/sql/provisioning"
	sqlrevocation "carnet.dev/carnet/internal/edge/sql/revocation"
	sqlspkeys "carnet.dev/carnet/internal/edge/sql/spkeys"
	"carnet.dev/carnet/internal/edge/telemetry"
	"carnet.dev/carnet/internal/service/audit"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/iam"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/keyring"
	"carnet.dev/carnet/internal/service/meta"
	"carnet.dev/carnet/internal/service/onceonly"
	"carnet.dev/carnet/internal/service/provisioning"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/spkeys"
	"carnet.dev/carnet/internal/service/withdrawal"
	"carnet.dev/carnet/internal/service/workload"
)

// mostOnceIDs bounds the one-use ids that are kept: some 300 sign-ins a second
// for an hour.
const mostOnceIDs = 1_000_000

// state is what rests: the database and the services that stand on it alone.
// The host's own commands (sso add, authority apply, admin recover) need
// nothing more.
type state struct {
	config     *config.Config
	log        *slog.Logger
	now        func() time.Time
	db         *sql.DB
	ring       *keyring.Keyring
	once       *onceonly.Once
	directory  *directory.Directory
	federation *federation.Service
	spkeys     *spkeys.Service
	issuer     *issuer.Service
	workload   *workload.Service
	clusters   *cluster.Service
	meta       *meta.Service // Carnet's own AWS identity
	// provisioning answers the provisioning systems of identity providers.
	provisioning *provisioning.Service
	feed         *revocation.Feed
	// withdrawal takes back what was issued.
	withdrawal *withdrawal.Service
	trail      *audit.Writer
	refusals   *audit.Refusals // what is refused outside S3
	iam        *iam.Service

	metrics     *telemetry.Metrics // nil: nobody reads them
	checkpoints *auditfile.File    // nil: none outside the database
}

// openState opens the database and its services. A new database gets its
// schema and its key-encryption key; an old one that lacks a step is not
// touched. id names this process among the servers of the database; empty for a
// command, which no server waits for.
func openState(ctx context.Context, o Options, id string) (*state, error) {
	c := o.Config
	if err := checkData(c, o.Development); err != nil {
		return nil, err
	}
	db, err := openDatabase(ctx, c, o.Logger)
	if err != nil {
		return nil, err
	}
	s := &state{config: c, log: o.Logger, now: o.Now, db: db}
	if c.Telemetry.Metrics != "" && id != "" {
		s.metrics = telemetry.New(buildVersion())
	}
	if err := s.open(ctx, o.Development, id); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *state) open(ctx context.Context, development bool, id string) error {
	fresh, err := s.isNew(ctx)
	if err != nil {
		return err
	}
	keks, err := keyEncryptionKeys(s.config, development, fresh)
	if err != nil {
		return err
	}
	if fresh {
		if _, err := s.db.Migrate(ctx, false); err != nil {
			return err
		}
	}
	s.ring, err = keyring.Open(ctx, keyring.Config{
		Store: sqlkeyring.Store{DB: s.db}, KEKs: keks, Server: id, Now: s.now, Logger: s.log,
		Reread: func() (keyring.KEKs, error) { return keyEncryptionKeys(s.config, development, false) },
	})
	if err != nil {
		return err
	}
	s.feed, err = revocation.Open(ctx, revocation.Config{Store: sqlrevocation.Store{DB: s.db}, Server: id, Now: s.now, Logger: s.log})
	if err != nil {
		return err
	}
	trail := audit.Config{Store: sqlaudit.Store{DB: s.db}, Sealer: s.ring, Now: s.now, Logger: s.log}
	if s.metrics != nil {
		trail.Count = s.metrics.Recorded
	}
	if path := s.config.Audit.Checkpoints; path != "" {
		if s.checkpoints, err = auditfile.Open(path); err != nil {
			return err
		}
		trail.Outside = s.checkpoints
	}
	if s.trail, err = audit.Open(ctx, trail); err != nil {
		return err
	}
	if err := s.openWithdrawal(id); err != nil {
		return err
	}
	s.refusals = audit.NewRefusals(s.trail)
	s.once = onceonly.New(sqlonceonly.Store{DB: s.db}, mostOnceIDs, s.now)
	s.directory = sqldirectory.On(s.db, s.now)
	client, err := guarded(s.config)
	if err != nil {
		return err
	}
	s.federation, err = federation.New(ctx, federation.Config{
		Store: sqlfederation.Store{DB: s.db}, Installations: sqlfederation.Store{DB: s.db}, Accounts: federationAccounts(s.config), Ends: ends{s}, Fetch: client, Sealer: s.ring,
		State: s.db, Trail: s.trail, Now: s.now, Logger: s.log,
	})
	if err != nil {
		return err
	}
	s.spkeys, err = spkeys.Open(ctx, spkeys.Config{
		Store: sqlspkeys.Store{DB: s.db}, Sealer: s.ring, State: s.db, Trail: s.trail, Now: s.now, Logger: s.log,
	})
	if err != nil {
		return err
	}
	if err := s.openIssuer(ctx); err != nil {
		return err
	}
	if err := s.openClusters(ctx); err != nil {
		return err
	}
	if err := s.openMeta(ctx); err != nil {
		return err
	}
	if err := s.openWorkload(ctx); err != nil {
		return err
	}
	if err := s.openProvisioning(ctx); err != nil {
		return err
	}
	s.iam, err = iam.Open(ctx, iam.Config{
		Store: sqliam.Store{DB: s.db}, Accounts: localAccounts(s.config), BucketAccount: bucketAccount(s.config),
		SAMLURL: s.config.SAMLURL(), LoopbackProviders: s.config.IAM.LoopbackProviders, Quotas: iam.Quotas(s.config.IAM.Quotas),
		Sealer: s.ring, Trail: s.trail, Now: s.now, Logger: s.log,
	})
	return err
}

func localAccounts(c *config.Config) []iam.Account {
	var all []iam.Account
	for _, a := range c.Accounts {
		if a.Kind == config.AccountLocal {
			all = append(all, iam.Account{ID: a.ID, Partition: a.Partition})
		}
	}
	return all
}

func bucketAccount(c *config.Config) func(string) (string, bool) {
	return func(bucket string) (string, bool) {
		rule, ok := c.BucketRule(bucket)
		return rule.Account, ok
	}
}

// isNew reports whether the database has no schema yet. One that has a schema
// and lacks a step of this release is brought forward only by an operator.
func (s *state) isNew(ctx context.Context) (bool, error) {
	pending, err := s.db.Pending(ctx)
	if err != nil || len(pending) == 0 {
		return false, err
	}
	if pending[0] == firstMigration {
		return true, nil
	}
	return false, fault.New(fault.Misconfigured, "the database lacks the steps "+strings.Join(pending, ", ")+" of this release").
		WithMend("back the database up, then run: carnet state migrate")
}

const firstMigration = "0001_root"

func openDatabase(ctx context.Context, c *config.Config, log *slog.Logger) (*sql.DB, error) {
	if c.Database.SQLite != "" {
		return sql.Open(ctx, sql.Config{SQLite: c.Database.SQLite, Logger: log})
	}
	dsn, err := config.ReadSecret(c.Database.PostgreSQLDSNFile)
	if err != nil {
		return nil, fault.Wrap(err, fault.Misconfigured, "cannot use database.postgresql_dsn_file")
	}
	return sql.Open(ctx, sql.Config{PostgreSQL: dsn, Logger: log})
}

// keyEncryptionKeys reads the key that wraps all others. It is made only for a
// new database: a missing file beside an old one is a loss to be mended.
func keyEncryptionKeys(c *config.Config, development, fresh bool) (keyring.KEKs, error) {
	rules := config.SecretRules()
	rules.Data, rules.Development = c.Data, development
	path := c.Secrets.KeyEncryptionKey
	if _, err := os.Lstat(path); fresh && errors.Is(err, fs.ErrNotExist) {
		if err := keyfile.Create(path, rules); err != nil {
			return nil, err
		}
	}
	return keyfile.Load(path, rules)
}

// serverID names this process among the servers of one database.
func serverID() string {
	b := make([]byte, 8)
	rand.Read(b)
	return "srv_" + hex.EncodeToString(b)
}

// run keeps key ring, revocation view, authority, trail and one-use ids in
// order until ctx ends. Identity providers and login sessions follow their own
// topics (federation.New, login.New).
func (s *state) run(ctx context.Context, tasks *sync.WaitGroup) error {
	keys, err := s.changes(ctx, sqlkeyring.Topic)
	if err != nil {
		return err
	}
	revoked, err := s.changes(ctx, sqlrevocation.Topic)
	if err != nil {
		return err
	}
	authority, err := s.changes(ctx, sqliam.Topic)
	if err != nil {
		return err
	}
	provisioned, err := s.changes(ctx, sqlprovisioning.Topic)
	if err != nil {
		return err
	}
	tasks.Go(func() { s.provisioning.Run(ctx, provisioned) })
	tasks.Go(func() { s.iam.Run(ctx, authority) })
	tasks.Go(func() { s.ring.Run(ctx, keys) })
	tasks.Go(func() { s.feed.Run(ctx, revoked) })
	tasks.Go(func() { s.withdrawal.Run(ctx) })
	tasks.Go(func() { s.trail.Run(ctx) })
	s.recordRefusals(ctx, tasks)
	tasks.Go(func() { s.pruneTrail(ctx) })
	tasks.Go(func() { s.federation.Run(ctx) })
	tasks.Go(func() { s.issuer.Run(ctx) })
	tasks.Go(func() { s.once.Run(ctx, s.log) })
	tasks.Go(func() { s.workload.Run(ctx) })
	tasks.Go(func() { s.clusters.Run(ctx) })
	return nil
}

// changes turns a topic into a channel that holds at most one word. It holds
// one from the start: what changed between the first load and the watch is
// loaded again.
func (s *state) changes(ctx context.Context, topic string) (<-chan struct{}, error) {
	c := make(chan struct{}, 1)
	c <- struct{}{}
	return c, s.db.Watch(ctx, topic, func() {
		select {
		case c <- struct{}{}:
		default:
		}
	})
}

// close ends what stands on the database, then the database.
func (s *state) close() error {
	var err error
	if s.checkpoints != nil {
		err = s.checkpoints.Close()
	}
	return errors.Join(err, s.db.Close())
}
