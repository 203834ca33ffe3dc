package iam

import (
	"time"

	"carnet.dev/carnet/internal/protocol/s3"
)

// BucketRecord is one bucket policy.
type BucketRecord struct {
	Name    string
	Account string
	Policy  Policy
	// Leaving says that the bucket is being deleted. Should nobody have seen the
	// end of that, a bucket made again under its name must not inherit this.
	Leaving bool
}

// Ref names the record by the bucket, which is unique everywhere.
func (r BucketRecord) Ref() Ref { return Ref{KindBucket, "", r.Name} }

// UniqueID is empty.
func (r BucketRecord) UniqueID() string { return "" }

func (r BucketRecord) clone() BucketRecord { return r }

// BucketCORSRecord is the CORS rules of one bucket.
type BucketCORSRecord struct {
	Name    string
	Account string
	Rules   []s3.CORSRule
	Leaving bool      // as of BucketRecord
	Created time.Time `json:"-"`
}

// Ref names the record by the bucket, which is unique everywhere.
func (r BucketCORSRecord) Ref() Ref { return Ref{KindBucketCORS, "", r.Name} }

// UniqueID is empty.
func (r BucketCORSRecord) UniqueID() string { return "" }

func (r BucketCORSRecord) clone() BucketCORSRecord { return r }
