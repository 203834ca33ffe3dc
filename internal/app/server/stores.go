package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/gateway"
	"carnet.dev/carnet/internal/edge/storeproc"
	"carnet.dev/carnet/internal/edge/upstream/keyprobe"
	"carnet.dev/carnet/internal/edge/upstream/s3client"
	"carnet.dev/carnet/internal/protocol/s3"
)

// stores are the upstreams behind the gateway, by configured name.
type stores struct {
	byName   map[string]gateway.Store
	children []*storeproc.Store
	clients  map[string]*s3client.Client
	waiting  map[string]*waiting // those that were away at the start
}

// openStores starts the embedded stores, connects to the others, and holds
// each to how it treats keys.
func openStores(ctx context.Context, s *state, o Options) (*stores, error) {
	all := &stores{byName: map[string]gateway.Store{}, clients: map[string]*s3client.Client{}, waiting: map[string]*waiting{}}
	for _, u := range s.config.Upstreams {
		store, err := all.open(ctx, s, o, u)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("upstream %s: %w", u.Name, err), all.close())
		}
		store.Accounts = accountsOf(s.config, u.Name)
		all.byName[u.Name] = store
	}
	return all, nil
}

func (all *stores) open(ctx context.Context, s *state, o Options, u config.Upstream) (gateway.Store, error) {
	if u.Kind == config.UpstreamEmbedded {
		return all.embedded(ctx, s, o, u)
	}
	client, err := foreign(u, s)
	if err != nil {
		return gateway.Store{}, err
	}
	all.clients[u.Name] = client
	store := gateway.Store{Upstream: client, Keys: s3.Filesystem, StorageClasses: u.StorageClasses}
	store.Encryption, _ = s3.ParseEncryption(u.Encryption) // held to its names by config
	if u.Kind == config.UpstreamAWS {
		store.Keys, store.AWS, store.Region = s3.Literal, true, u.Region
		return store, nil
	}
	proven, err := prove(ctx, client, s.config, u)
	switch {
	case away(err):
		all.waiting[u.Name] = newWaiting(u, client, s, err)
		store.Upstream = all.waiting[u.Name]
	case err != nil:
		return gateway.Store{}, err
	case !proven:
		s.log.Warn("the store has no bucket yet in which its keys could be probed: until the next start it is served unproven, and keys with empty segments are refused", "upstream", u.Name)
		return store, nil
	}
	store.Keys = keyRule(u)
	return store, nil
}

// embedded starts the child process and probes its disk in a bucket of the
// probe's own.
func (all *stores) embedded(ctx context.Context, s *state, o Options, u config.Upstream) (gateway.Store, error) {
	child, err := storeproc.Start(ctx, storeproc.Config{Binary: o.Binary, Folder: u.Folder, Region: s.config.Region, Logger: s.log, Args: o.StoreArgs, Env: o.StoreEnv})
	if err != nil {
		return gateway.Store{}, err
	}
	all.children = append(all.children, child)
	client, err := s3client.New(s3client.Config{
		Endpoint: "http://store.inner", Region: child.Region(), AccessKeyID: child.AccessKeyID(), SecretKey: child.SecretKey(), Dial: child.Dial, Now: s.now,
	})
	if err != nil {
		return gateway.Store{}, err
	}
	all.clients[u.Name] = client
	const bucket = "carnet-probe"
	if err := call(ctx, client, http.MethodPut, bucket); err != nil {
		return gateway.Store{}, err
	}
	err = keyprobe.Prove(ctx, client, bucket, s3.Filesystem)
	return gateway.Store{Upstream: client, Keys: s3.Filesystem}, errors.Join(err, call(ctx, client, http.MethodDelete, bucket))
}

// probeBucket finds a bucket of this upstream that a rule covers.
func probeBucket(ctx context.Context, client *s3client.Client, c *config.Config, upstream string) (string, error) {
	resp, err := client.Do(ctx, &s3.Outgoing{Method: http.MethodGet})
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return "", err
	}
	if resp.StatusCode >= 500 {
		return "", fault.New(fault.Unavailable, fmt.Sprintf("the store answers %d when its buckets are listed", resp.StatusCode))
	}
	if resp.StatusCode != http.StatusOK {
		return "", fault.New(fault.Misconfigured, fmt.Sprintf("the store answers %d when its buckets are listed", resp.StatusCode)).
			WithMend("check endpoint, region and keys")
	}
	buckets, _, err := s3.ReadBuckets(body)
	if err != nil {
		return "", err
	}
	for _, b := range buckets {
		if rule, ok := c.BucketRule(b.Name); ok && rule.Upstream == upstream {
			return b.Name, nil
		}
	}
	return "", nil
}

// call makes or drops a bucket; one that is there already is fine.
func call(ctx context.Context, client gateway.Upstream, method, bucket string) error {
	resp, err := client.Do(ctx, &s3.Outgoing{Method: method, Bucket: bucket})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 && resp.StatusCode != http.StatusConflict {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		said, _ := s3.ReadError(body)
		return fault.New(fault.Unavailable, fmt.Sprintf("the store answers %s to %s of bucket %s with %d %s", said.Code, method, bucket, resp.StatusCode, said.Message))
	}
	return nil
}

// close ends the child processes. Where the stores were refused there are none.
func (all *stores) close() error {
	if all == nil {
		return nil
	}
	var errs []error
	for _, c := range all.children {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
