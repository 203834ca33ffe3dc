package iam

import (
	"context"
	"fmt"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/s3"
)

// BucketCORS is the authority's view of a bucket that has CORS rules.
type BucketCORS struct {
	Account string
	Rules   *s3.CORS
}

// BucketCORS finds the CORS rules of a bucket; false where it has none.
func (s *Snapshot) BucketCORS(name string) (*BucketCORS, bool) {
	found, ok := s.cors[name]
	return found, ok
}

func (c *compiler) bucket(r *BucketRecord) error {
	b, ok := reuse[Bucket](c, r, nil)
	if !ok {
		b = &Bucket{Account: r.Account}
		var err error
		if b.Policy, err = c.bucketPolicy(r); err != nil {
			// A lost policy may have held a deny.
			c.buckets[r.Name] = &Bucket{Account: r.Account}
			return err
		}
		c.keep(r, nil, b)
	}
	c.buckets[r.Name] = b
	return nil
}

func (c *compiler) bucketPolicy(r *BucketRecord) (*policy.Document, error) {
	if _, err := c.partition(r.Account); err != nil {
		return nil, err
	}
	d, err := compilePolicy(policy.Resource, r.Policy)
	if err != nil {
		return nil, err
	}
	if !d.Within(r.Name) {
		return nil, fault.Coded(fault.Invalid, "MalformedPolicy",
			fmt.Sprintf("the policy of bucket %s names a resource outside it", r.Name)).
			WithMend("name arn:aws:s3:::" + r.Name + " and arn:aws:s3:::" + r.Name + "/* only")
	}
	return d, nil
}

// bucketCORS leaves rules out that do not compile: nothing is allowed then.
func (c *compiler) bucketCORS(r *BucketCORSRecord) error {
	b, ok := reuse[BucketCORS](c, r, nil)
	if !ok {
		if _, err := c.partition(r.Account); err != nil {
			return err
		}
		if err := s3.CheckCORS(r.Rules); err != nil {
			return err
		}
		b = &BucketCORS{r.Account, s3.NewCORS(r.Rules)}
		c.keep(r, nil, b)
	}
	c.cors[r.Name] = b
	return nil
}

// BucketSettings is what is kept of one bucket.
type BucketSettings struct {
	Policy  string        // as people shall see it; empty for none
	CORS    []s3.CORSRule // empty for none
	Leaving bool          // the bucket was being deleted, and nobody saw the end
}

// BucketSettings gives what is kept of a bucket of an account.
func (s *Service) BucketSettings(account, bucket string) (BucketSettings, error) {
	var out BucketSettings
	snapshot, err := s.Current()
	if err != nil {
		return out, err
	}
	v := snapshot.View()
	if r, ok := v.Bucket(bucket); ok && r.Account == account {
		out.Policy, out.Leaving = v.Shown(r.Policy), r.Leaving
	}
	if r, ok := v.BucketCORS(bucket); ok && r.Account == account {
		out.CORS, out.Leaving = r.Rules, out.Leaving || r.Leaving
	}
	return out, nil
}

// BucketCORS gives the rules of a bucket of an account, from memory; nil for none.
// A server that can't confirm its view has none either.
func (s *Service) BucketCORS(account, bucket string) *s3.CORS {
	snapshot, err := s.Current()
	if err != nil {
		return nil
	}
	if b, ok := snapshot.BucketCORS(bucket); ok && b.Account == account {
		return b.Rules
	}
	return nil
}

// The policy's name in decisions and records.
const bucketPolicyName = "bucket-policy"

// PutBucketPolicy writes the policy of a bucket. Errors: MalformedPolicy.
func (d *Draft) PutBucketPolicy(account, bucket, document string) error {
	p, err := d.pin(policy.Resource, Policy{Name: bucketPolicyName, Document: document})
	if err != nil {
		return err
	}
	d.Put(&BucketRecord{Name: bucket, Account: account, Policy: p})
	return nil
}

// DeleteBucketPolicy takes the policy of a bucket away, if it has one.
func (d *Draft) DeleteBucketPolicy(bucket string) {
	if _, ok := d.Bucket(bucket); ok {
		d.Delete(BucketRecord{Name: bucket}.Ref())
	}
}

// PutBucketCORS writes the CORS rules of a bucket; none takes them away.
func (d *Draft) PutBucketCORS(account, bucket string, rules []s3.CORSRule) {
	if len(rules) > 0 {
		d.Put(&BucketCORSRecord{Name: bucket, Account: account, Rules: rules, Created: d.Now()})
	} else if _, ok := d.BucketCORS(bucket); ok {
		d.Delete(BucketCORSRecord{Name: bucket}.Ref())
	}
}

// ChangeBucket changes what is kept of one bucket in one transaction with its
// event. An error of a policy has S3's code, MalformedPolicy.
func (s *Service) ChangeBucket(ctx context.Context, e event.Event, bucket string, change func(*Draft) error) error {
	err := s.Edit(ctx, e, func(d *Draft) error {
		d.Concerns("arn:aws:s3:::"+bucket, nil)
		return change(d)
	})
	if f := fault.Of(err); err != nil && f.Code == "MalformedPolicyDocument" {
		return fault.Coded(f.Kind, "MalformedPolicy", f.Public).WithMend(f.Mend)
	}
	return err
}

// BucketLeaves notes that a bucket is about to be deleted, or after all is not.
// What is kept of it stays in force meanwhile.
func (s *Service) BucketLeaves(ctx context.Context, e event.Event, bucket string, leaving bool) error {
	return s.ChangeBucket(ctx, e, bucket, func(d *Draft) error {
		if r, ok := d.Bucket(bucket); ok && r.Leaving != leaving {
			r.Leaving = leaving
			d.Put(&r)
		}
		if r, ok := d.BucketCORS(bucket); ok && r.Leaving != leaving {
			r.Leaving = leaving
			d.Put(&r)
		}
		return nil
	})
}

// BucketGone forgets what was kept of a bucket that was deleted. What was written
// after BucketLeaves is another bucket's, and stays.
func (s *Service) BucketGone(ctx context.Context, e event.Event, bucket string) error {
	return s.ChangeBucket(ctx, e, bucket, func(d *Draft) error {
		if r, ok := d.Bucket(bucket); ok && r.Leaving {
			d.Delete(r.Ref())
		}
		if r, ok := d.BucketCORS(bucket); ok && r.Leaving {
			d.Delete(r.Ref())
		}
		return nil
	})
}
