// Package s3 reads S3 requests: one authenticated request in, one operation of
// a closed set out, with every check that must be allowed before it may run.
//
// It is pure. It names buckets, keys, actions and condition keys as AWS does
// (Service Authorization Reference, "Actions, resources, and condition keys for
// Amazon S3"), holds the rules that keep the decided key and the stored key
// the same, and writes S3's XML. Whatever it does not know (a sub-resource, an
// x-amz-* header, a parameter) it refuses by name: nothing may ever fall
// through to a plain read or write.
package s3

import (
	"context"
	"io"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// Check is one question to the policy engine. All checks of an operation must
// be allowed.
type Check struct {
	Action string // "s3:GetObject"
	Bucket string // empty for actions on no bucket, such as s3:ListAllMyBuckets
	Key    string // empty for actions on the bucket
	// Context holds the condition keys that this operation brings along.
	Context []Value
}

// Value is one condition key, spelt as AWS spells it, with its values. A key
// with one value is single-valued unless AWS defines it otherwise.
type Value struct {
	Key    string
	Values []string
}

// ARN gives the resource's name: arn:aws:s3:::bucket, arn:aws:s3:::bucket/key,
// or "*" for an action on no bucket.
func (c Check) ARN() string {
	switch {
	case c.Bucket == "":
		return "*"
	case c.Key == "":
		return "arn:aws:s3:::" + c.Bucket
	default:
		return "arn:aws:s3:::" + c.Bucket + "/" + c.Key
	}
}

// Name is the name of an operation in the S3 API Reference.
type Name string

// The operations: a closed set.
const (
	ListBuckets             Name = "ListBuckets"
	CreateBucket            Name = "CreateBucket"
	DeleteBucket            Name = "DeleteBucket"
	HeadBucket              Name = "HeadBucket"
	GetBucketLocation       Name = "GetBucketLocation"
	ListObjects             Name = "ListObjects"
	ListObjectsV2           Name = "ListObjectsV2"
	DeleteObjects           Name = "DeleteObjects"
	GetObject               Name = "GetObject"
	HeadObject              Name = "HeadObject"
	PutObject               Name = "PutObject"
	PostObject              Name = "PostObject" // a browser's form
	CopyObject              Name = "CopyObject"
	DeleteObject            Name = "DeleteObject"
	GetBucketPolicy         Name = "GetBucketPolicy"
	PutBucketPolicy         Name = "PutBucketPolicy"
	DeleteBucketPolicy      Name = "DeleteBucketPolicy"
	GetBucketCors           Name = "GetBucketCors"
	PutBucketCors           Name = "PutBucketCors"
	DeleteBucketCors        Name = "DeleteBucketCors"
	GetObjectTagging        Name = "GetObjectTagging"
	PutObjectTagging        Name = "PutObjectTagging"
	DeleteObjectTagging     Name = "DeleteObjectTagging"
	CreateMultipartUpload   Name = "CreateMultipartUpload"
	UploadPart              Name = "UploadPart"
	UploadPartCopy          Name = "UploadPartCopy"
	CompleteMultipartUpload Name = "CompleteMultipartUpload"
	AbortMultipartUpload    Name = "AbortMultipartUpload"
	ListParts               Name = "ListParts"
	ListMultipartUploads    Name = "ListMultipartUploads"

	ListObjectVersions         Name = "ListObjectVersions"
	GetBucketVersioning        Name = "GetBucketVersioning"
	PutBucketVersioning        Name = "PutBucketVersioning"
	GetObjectLockConfiguration Name = "GetObjectLockConfiguration"
	PutObjectLockConfiguration Name = "PutObjectLockConfiguration"
	GetBucketTagging           Name = "GetBucketTagging"
	PutBucketTagging           Name = "PutBucketTagging"
	DeleteBucketTagging        Name = "DeleteBucketTagging"
	GetBucketEncryption        Name = "GetBucketEncryption"
	PutBucketEncryption        Name = "PutBucketEncryption"
	DeleteBucketEncryption     Name = "DeleteBucketEncryption"
	GetObjectAttributes        Name = "GetObjectAttributes"
	GetObjectRetention         Name = "GetObjectRetention"
	PutObjectRetention         Name = "PutObjectRetention"
	GetObjectLegalHold         Name = "GetObjectLegalHold"
	PutObjectLegalHold         Name = "PutObjectLegalHold"

	GetObjectAcl                       Name = "GetObjectAcl"
	PutObjectAcl                       Name = "PutObjectAcl"
	GetBucketAcl                       Name = "GetBucketAcl"
	PutBucketAcl                       Name = "PutBucketAcl"
	GetBucketOwnershipControls         Name = "GetBucketOwnershipControls"
	PutBucketOwnershipControls         Name = "PutBucketOwnershipControls"
	DeleteBucketOwnershipControls      Name = "DeleteBucketOwnershipControls"
	GetPublicAccessBlock               Name = "GetPublicAccessBlock"
	PutPublicAccessBlock               Name = "PutPublicAccessBlock"
	DeletePublicAccessBlock            Name = "DeletePublicAccessBlock"
	GetBucketPolicyStatus              Name = "GetBucketPolicyStatus"
	GetBucketRequestPayment            Name = "GetBucketRequestPayment"
	PutBucketRequestPayment            Name = "PutBucketRequestPayment"
	GetBucketAccelerateConfiguration   Name = "GetBucketAccelerateConfiguration"
	PutBucketAccelerateConfiguration   Name = "PutBucketAccelerateConfiguration"
	GetBucketLogging                   Name = "GetBucketLogging"
	PutBucketLogging                   Name = "PutBucketLogging"
	GetBucketNotificationConfiguration Name = "GetBucketNotificationConfiguration"
	PutBucketNotificationConfiguration Name = "PutBucketNotificationConfiguration"
	GetBucketAbac                      Name = "GetBucketAbac"
	PutBucketAbac                      Name = "PutBucketAbac"
	GetBucketLifecycleConfiguration    Name = "GetBucketLifecycleConfiguration"
	DeleteBucketLifecycle              Name = "DeleteBucketLifecycle"
	GetBucketReplication               Name = "GetBucketReplication"
	DeleteBucketReplication            Name = "DeleteBucketReplication"
	GetBucketWebsite                   Name = "GetBucketWebsite"
	DeleteBucketWebsite                Name = "DeleteBucketWebsite"

	GetBucketAnalyticsConfiguration             Name = "GetBucketAnalyticsConfiguration"
	ListBucketAnalyticsConfigurations           Name = "ListBucketAnalyticsConfigurations"
	DeleteBucketAnalyticsConfiguration          Name = "DeleteBucketAnalyticsConfiguration"
	GetBucketInventoryConfiguration             Name = "GetBucketInventoryConfiguration"
	ListBucketInventoryConfigurations           Name = "ListBucketInventoryConfigurations"
	DeleteBucketInventoryConfiguration          Name = "DeleteBucketInventoryConfiguration"
	GetBucketMetricsConfiguration               Name = "GetBucketMetricsConfiguration"
	ListBucketMetricsConfigurations             Name = "ListBucketMetricsConfigurations"
	DeleteBucketMetricsConfiguration            Name = "DeleteBucketMetricsConfiguration"
	GetBucketIntelligentTieringConfiguration    Name = "GetBucketIntelligentTieringConfiguration"
	ListBucketIntelligentTieringConfigurations  Name = "ListBucketIntelligentTieringConfigurations"
	DeleteBucketIntelligentTieringConfiguration Name = "DeleteBucketIntelligentTieringConfiguration"
)

// BodyKind says what an operation does with a body: a closed set, none unless
// said otherwise.
type BodyKind int

// The kinds of bodies.
const (
	NoBody      BodyKind = iota // a body is refused
	SmallBody                   // read whole, at most MaxBody bytes, before anything is done
	StreamBody                  // object content: streams through
	IgnoredBody                 // read whole and held to its hash, then dropped
)

// The most bytes that a SmallBody may have.
const (
	maxDeleteBody   = 4 << 20 // 1,000 keys of 1,024 bytes, XML-escaped
	maxCompleteBody = 4 << 20 // 10,000 parts with checksums
	maxXMLBody      = 64 << 10
)

// MaxStream is the most bytes of one object or part: 5 GiB.
const MaxStream = 5 << 30

// Operation is one S3 operation, read from a verified request.
type Operation struct {
	Name   Name
	Bucket string
	Key    string
	// Source is what a copy reads; nil otherwise.
	Source *Source
	// Checks must all be allowed. Those that depend on the body (of DeleteObjects
	// and of what ReadDocument reads) are added by the reader of it.
	Checks []Check
	// Reveal is asked when the object is missing: whoever may not list gets
	// AccessDenied instead of NoSuchKey, as on AWS.
	Reveal *Check
	// CopiesTags says that the source's tags, if it has any, are copied too.
	CopiesTags bool

	Body    BodyKind
	MaxBody int64
	// Trailer is the checksum algorithm announced by x-amz-trailer, or empty.
	Trailer string
	// Checksums are those given in headers; the content is held to them.
	Checksums []sigv4.Checksum
	// DecodedLength is x-amz-decoded-content-length, -1 when absent.
	DecodedLength int64

	// BucketOwner and SourceOwner are the expected accounts, or empty.
	BucketOwner, SourceOwner string

	// Encryption and StorageClass are what the request chooses; CheckOffered
	// holds them to what the store of the bucket does.
	Encryption   Encryption
	StorageClass string
	// Answered says that the gateway answers by itself: the store is asked only
	// whether the bucket or the object exists.
	Answered bool

	// Form says how a browser's form is answered; nil for all else.
	Form *FormAnswer

	// Query and Header are what goes upstream, besides the signature and the
	// customer's encryption keys, which SentHeader adds.
	Query  []sigv4.Param
	Header map[string][]string

	// ACL is x-amz-acl: private or bucket-owner-full-control, or empty.
	// ObjectOwnership is x-amz-object-ownership: BucketOwnerEnforced, or empty.
	ACL, ObjectOwnership string

	customerKeys map[string]secret.Text // by header
	bypass       bool                   // x-amz-bypass-governance-retention
	aclOwner     string                 // that the document of an ACL names

	prefix    *string  // of a list
	positions []string // markers of a list: they are keys, too
}

// Param gives the value of a query parameter that goes upstream.
func (o *Operation) Param(name string) string {
	for _, p := range o.Query {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// Outgoing is a request to an upstream: what was verified and decided, nothing of
// the client's own request beside it.
type Outgoing struct {
	Method      string
	Bucket, Key string
	Query       []sigv4.Param
	Header      map[string][]string
	// Document is a small body, whole.
	Document []byte
	// Body is object content of exactly Length bytes, Length being over zero;
	// nil without.
	Body   io.Reader
	Length int64
	// Trailer, when set, gives the checksum that follows the content. It is
	// called after the last byte was read.
	Trailer *Trailer
	// As are the keys to sign with: a role's own, for a store that decides by
	// itself who may do what. nil stands for the store's service key. A store
	// has either its own key or takes others', never both.
	As *credential.Temporary
	// Renew gives the keys that stand in the place of As when the store says that
	// those are past their time: once, for the same role. nil: there are none.
	Renew func(ctx context.Context) (credential.Temporary, error)
	// Region is where a bucket is to be made, for a store with several; else empty.
	Region string
	// Caller is who asks, and whose share of the store's places it takes; empty: the
	// gateway itself.
	Caller string
}

// Trailer is a checksum that goes behind the content.
type Trailer struct {
	Algorithm string
	Value     func() string // base64
}
