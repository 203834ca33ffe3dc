package s3

import (
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// actions gives each operation the action that AWS documents for it. An entry
// "" has its checks made from the body.
var actions = map[Name]string{
	ListBuckets:             "s3:ListAllMyBuckets",
	CreateBucket:            "s3:CreateBucket",
	DeleteBucket:            "s3:DeleteBucket",
	HeadBucket:              "s3:ListBucket",
	GetBucketLocation:       "s3:GetBucketLocation",
	ListObjects:             "s3:ListBucket",
	ListObjectsV2:           "s3:ListBucket",
	ListMultipartUploads:    "s3:ListBucketMultipartUploads",
	DeleteObjects:           "",
	GetObject:               "s3:GetObject",
	HeadObject:              "s3:GetObject",
	PutObject:               "s3:PutObject",
	PostObject:              "s3:PutObject",
	GetBucketPolicy:         "s3:GetBucketPolicy",
	PutBucketPolicy:         "s3:PutBucketPolicy",
	DeleteBucketPolicy:      "s3:DeleteBucketPolicy",
	GetBucketCors:           "s3:GetBucketCORS",
	PutBucketCors:           "s3:PutBucketCORS",
	DeleteBucketCors:        "s3:PutBucketCORS",
	CopyObject:              "s3:PutObject",
	DeleteObject:            "s3:DeleteObject",
	GetObjectTagging:        "s3:GetObjectTagging",
	PutObjectTagging:        "",
	DeleteObjectTagging:     "s3:DeleteObjectTagging",
	CreateMultipartUpload:   "s3:PutObject",
	UploadPart:              "s3:PutObject",
	UploadPartCopy:          "s3:PutObject",
	CompleteMultipartUpload: "s3:PutObject",
	AbortMultipartUpload:    "s3:AbortMultipartUpload",
	ListParts:               "s3:ListMultipartUploadParts",

	ListObjectVersions:         "s3:ListBucketVersions",
	GetBucketVersioning:        "s3:GetBucketVersioning",
	PutBucketVersioning:        "s3:PutBucketVersioning",
	GetObjectLockConfiguration: "s3:GetBucketObjectLockConfiguration",
	PutObjectLockConfiguration: "s3:PutBucketObjectLockConfiguration",
	GetBucketTagging:           "s3:GetBucketTagging",
	PutBucketTagging:           "",
	DeleteBucketTagging:        "s3:PutBucketTagging",
	GetBucketEncryption:        "s3:GetEncryptionConfiguration",
	PutBucketEncryption:        "s3:PutEncryptionConfiguration",
	DeleteBucketEncryption:     "s3:PutEncryptionConfiguration",
	GetObjectAttributes:        "s3:GetObject",
	GetObjectRetention:         "s3:GetObjectRetention",
	PutObjectRetention:         "",
	GetObjectLegalHold:         "s3:GetObjectLegalHold",
	PutObjectLegalHold:         "",

	GetObjectAcl:                       "s3:GetObjectAcl",
	PutObjectAcl:                       "s3:PutObjectAcl",
	GetBucketAcl:                       "s3:GetBucketAcl",
	PutBucketAcl:                       "s3:PutBucketAcl",
	GetBucketOwnershipControls:         "s3:GetBucketOwnershipControls",
	PutBucketOwnershipControls:         "s3:PutBucketOwnershipControls",
	DeleteBucketOwnershipControls:      "s3:PutBucketOwnershipControls",
	GetPublicAccessBlock:               "s3:GetBucketPublicAccessBlock",
	PutPublicAccessBlock:               "s3:PutBucketPublicAccessBlock",
	DeletePublicAccessBlock:            "s3:PutBucketPublicAccessBlock",
	GetBucketPolicyStatus:              "s3:GetBucketPolicyStatus",
	GetBucketRequestPayment:            "s3:GetBucketRequestPayment",
	PutBucketRequestPayment:            "s3:PutBucketRequestPayment",
	GetBucketAccelerateConfiguration:   "s3:GetAccelerateConfiguration",
	PutBucketAccelerateConfiguration:   "s3:PutAccelerateConfiguration",
	GetBucketLogging:                   "s3:GetBucketLogging",
	PutBucketLogging:                   "s3:PutBucketLogging",
	GetBucketNotificationConfiguration: "s3:GetBucketNotification",
	PutBucketNotificationConfiguration: "s3:PutBucketNotification",
	GetBucketAbac:                      "s3:GetBucketAbac",
	PutBucketAbac:                      "s3:PutBucketAbac",
	GetBucketLifecycleConfiguration:    "s3:GetLifecycleConfiguration",
	DeleteBucketLifecycle:              "s3:PutLifecycleConfiguration",
	GetBucketReplication:               "s3:GetReplicationConfiguration",
	DeleteBucketReplication:            "s3:PutReplicationConfiguration",
	GetBucketWebsite:                   "s3:GetBucketWebsite",
	DeleteBucketWebsite:                "s3:DeleteBucketWebsite",

	GetBucketAnalyticsConfiguration:             "s3:GetAnalyticsConfiguration",
	ListBucketAnalyticsConfigurations:           "s3:GetAnalyticsConfiguration",
	DeleteBucketAnalyticsConfiguration:          "s3:PutAnalyticsConfiguration",
	GetBucketInventoryConfiguration:             "s3:GetInventoryConfiguration",
	ListBucketInventoryConfigurations:           "s3:GetInventoryConfiguration",
	DeleteBucketInventoryConfiguration:          "s3:PutInventoryConfiguration",
	GetBucketMetricsConfiguration:               "s3:GetMetricsConfiguration",
	ListBucketMetricsConfigurations:             "s3:GetMetricsConfiguration",
	DeleteBucketMetricsConfiguration:            "s3:PutMetricsConfiguration",
	GetBucketIntelligentTieringConfiguration:    "s3:GetIntelligentTieringConfiguration",
	ListBucketIntelligentTieringConfigurations:  "s3:GetIntelligentTieringConfiguration",
	DeleteBucketIntelligentTieringConfiguration: "s3:PutIntelligentTieringConfiguration",
}

// versioned gives the action on a named version where it is another one.
var versioned = map[string]string{
	"s3:GetObject":           "s3:GetObjectVersion",
	"s3:DeleteObject":        "s3:DeleteObjectVersion",
	"s3:GetObjectTagging":    "s3:GetObjectVersionTagging",
	"s3:PutObjectTagging":    "s3:PutObjectVersionTagging",
	"s3:DeleteObjectTagging": "s3:DeleteObjectVersionTagging",
	"s3:GetObjectAttributes": "s3:GetObjectVersionAttributes",
	"s3:GetObjectAcl":        "s3:GetObjectVersionAcl",
	"s3:PutObjectAcl":        "s3:PutObjectVersionAcl",
}

// creates gives s3:ObjectCreationOperation for each operation that asks for
// s3:PutObject. Policies which demand conditional writes deny on it, so that an
// absent key would let every write through.
var creates = map[Name]string{
	PutObject: "true", PostObject: "true", CopyObject: "true", CompleteMultipartUpload: "true",
	CreateMultipartUpload: "false", UploadPart: "false", UploadPartCopy: "false",
}

// conditionParams and conditionHeaders bring condition keys along.
var (
	conditionParams = map[string]string{
		"prefix": "s3:prefix", "delimiter": "s3:delimiter", "max-keys": "s3:max-keys", "versionId": "s3:versionid",
	}
	conditionHeaders = map[string]string{
		"X-Amz-Acl": "s3:x-amz-acl", "X-Amz-Storage-Class": "s3:x-amz-storage-class",
		"X-Amz-Metadata-Directive": "s3:x-amz-metadata-directive", "If-Match": "s3:if-match", "If-None-Match": "s3:if-none-match",
		"X-Amz-Website-Redirect-Location": "s3:x-amz-website-redirect-location", "X-Amz-Object-Ownership": "s3:x-amz-object-ownership",
		ssePrefix: "s3:x-amz-server-side-encryption", ssePrefix + "-Aws-Kms-Key-Id": "s3:x-amz-server-side-encryption-aws-kms-key-id",
		ssePrefix + "-Customer-Algorithm": "s3:x-amz-server-side-encryption-customer-algorithm",
	}
)

// readChecks lists what must be allowed, and refuses what can't be honoured.
func (o *Operation) readChecks(h headers, now time.Time) error {
	action, known := actions[o.Name]
	if !known {
		return fault.New(fault.Internal, "The operation has no action").WithCode("InternalError")
	}
	main := Check{Action: action, Bucket: o.Bucket, Key: o.Key}
	main.Context = o.context(h)
	main.Action = o.versionAction(action)
	if o.Source != nil {
		main.Context = append(main.Context, Value{"s3:x-amz-copy-source", []string{o.Source.Bucket + "/" + o.Source.Key}})
	}
	tags, err := o.headerTags(h)
	if err != nil {
		return err
	}
	main.Context = append(main.Context, tags...)
	lock, err := o.lockHeaders(now)
	if err != nil {
		return err
	}
	main.Context = append(main.Context, lock...)
	if action != "" {
		o.Checks = append(o.Checks, main)
	}
	o.addSource(h)
	if err := o.addMatch(); err != nil {
		return err
	}
	if tags != nil {
		o.Checks = append(o.Checks, Check{"s3:PutObjectTagging", o.Bucket, o.Key, main.Context})
	}
	o.lockChecks(main.Context)
	o.addNamed(main)
	if o.readsStored() {
		o.Reveal = &Check{Action: "s3:ListBucket", Bucket: o.Bucket}
	}
	return o.checkACL(h, main.Context)
}

// addNamed adds what single operations ask for beside their action.
func (o *Operation) addNamed(main Check) {
	also := func(action string) {
		main.Action = action
		o.Checks = append(o.Checks, main)
	}
	switch {
	case o.Name == GetObjectAttributes:
		also(o.versionAction("s3:GetObjectAttributes"))
	case o.Name == DeleteObject && o.bypass:
		o.Checks = append(o.Checks, bypassCheck(main))
	case o.Name == CreateBucket:
		if o.Header["X-Amz-Bucket-Object-Lock-Enabled"] != nil {
			also("s3:PutBucketObjectLockConfiguration")
			also("s3:PutBucketVersioning")
		}
		if o.ObjectOwnership != "" {
			also("s3:PutBucketOwnershipControls")
		}
	}
}

// mainCheck begins a check that the reader of a body completes.
func (o *Operation) mainCheck(action string) Check {
	c := Check{Action: o.versionAction(action), Bucket: o.Bucket, Key: o.Key}
	if v := o.Param("versionId"); v != "" {
		c.Context = []Value{{"s3:versionid", []string{v}}}
	}
	return c
}

// readsStored reports an operation on an object that has to be there.
func (o *Operation) readsStored() bool {
	switch o.Name {
	case GetObject, HeadObject, GetObjectAttributes, GetObjectAcl, PutObjectAcl, GetObjectTagging, PutObjectTagging, DeleteObjectTagging,
		GetObjectRetention, PutObjectRetention, GetObjectLegalHold, PutObjectLegalHold:
		return true
	}
	return false
}

// context gathers the condition keys of parameters and headers. An absent
// parameter is an absent key; an empty one is the empty string.
func (o *Operation) context(h headers) []Value {
	var out []Value
	if v, ok := creates[o.Name]; ok {
		out = append(out, Value{"s3:ObjectCreationOperation", []string{v}})
	}
	for _, q := range o.Query {
		if key, ok := conditionParams[q.Name]; ok {
			out = append(out, Value{key, []string{q.Value}})
		}
	}
	for name, key := range conditionHeaders {
		v, given := h[name]
		sent, forwarded := o.Header[name]
		if forwarded {
			v = sent[0]
		}
		if forwarded || given && headerUses[name] == useHere {
			out = append(out, Value{key, []string{v}})
		}
	}
	return out
}

func (o *Operation) versionAction(action string) string {
	if v, ok := versioned[action]; ok && o.Param("versionId") != "" {
		return v
	}
	return action
}

// addSource adds the read that a copy does.
func (o *Operation) addSource(h headers) {
	if o.Source == nil {
		return
	}
	o.Checks = append(o.Checks, o.Source.check())
	o.Reveal = &Check{Action: "s3:ListBucket", Bucket: o.Source.Bucket}
	o.CopiesTags = o.Name == CopyObject && h["X-Amz-Tagging-Directive"] != "REPLACE"
}

// addMatch adds the read that a write does when it depends on the content's
// ETag (S3 User Guide, "Conditional writes" and "Conditional deletes"): whoever
// may write alone could else try out what the object holds.
func (o *Operation) addMatch() error {
	if o.Name == GetObject || o.Name == HeadObject {
		return nil
	}
	if v, ok := o.Header["If-None-Match"]; ok && v[0] != "*" {
		return notImplemented("If-None-Match with another value than * on a write")
	}
	v, ok := o.Header["If-Match"]
	if ok && v[0] != "*" || o.Header["X-Amz-If-Match-Size"] != nil || o.Header["X-Amz-If-Match-Last-Modified-Time"] != nil {
		c := o.mainCheck("s3:GetObject")
		o.Checks = append(o.Checks, c)
	}
	return nil
}

// TagCopyChecks are asked when the source of a copy has tags.
func (o *Operation) TagCopyChecks() []Check {
	get := Check{Action: "s3:GetObjectTagging", Bucket: o.Source.Bucket, Key: o.Source.Key}
	if o.Source.VersionID != "" {
		get.Action = "s3:GetObjectVersionTagging"
		get.Context = []Value{{"s3:versionid", []string{o.Source.VersionID}}}
	}
	return []Check{get, {Action: "s3:PutObjectTagging", Bucket: o.Bucket, Key: o.Key}}
}

// headerTags reads x-amz-tagging where the operation makes an object. Tags that
// a copy does not set (directive COPY) are not sent upstream.
func (o *Operation) headerTags(h headers) ([]Value, error) {
	switch d := h["X-Amz-Tagging-Directive"]; d {
	case "", "COPY", "REPLACE":
	default:
		return nil, invalid("Unknown tagging directive.")
	}
	v, ok := o.Header["X-Amz-Tagging"]
	if !ok || v[0] == "" {
		return nil, nil
	}
	if o.Name == CopyObject && h["X-Amz-Tagging-Directive"] != "REPLACE" {
		delete(o.Header, "X-Amz-Tagging")
		return nil, nil
	}
	tags, err := parseTagQuery(v[0])
	if err != nil {
		return nil, err
	}
	o.Header["X-Amz-Tagging"] = []string{tagQuery(tags)}
	return tagContext(tags), nil
}

// checkACL accepts the two ACLs that change nothing when the owner of the
// bucket owns all objects; as on AWS they need their own permission.
func (o *Operation) checkACL(h headers, context []Value) error {
	acl, ok := h["X-Amz-Acl"]
	if !ok {
		return nil
	}
	switch acl {
	case "private", "bucket-owner-full-control":
	case "public-read", "public-read-write", "authenticated-read", "aws-exec-read", "log-delivery-write", "bucket-owner-read":
		if o.Name == CreateBucket {
			return fault.Coded(fault.Invalid, "InvalidBucketAclWithObjectOwnership", "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
		}
		return aclRefused()
	default:
		return invalid("The canned ACL " + clip(acl) + " is unknown")
	}
	switch o.Name {
	case PutBucketAcl, PutObjectAcl:
		o.ACL = acl
	case PutObject, PostObject, CopyObject, CreateMultipartUpload:
		o.ACL = acl
		o.Checks = append(o.Checks, Check{"s3:PutObjectAcl", o.Bucket, o.Key, context})
	case CreateBucket:
		o.ACL = acl
		o.Checks = append(o.Checks, Check{"s3:PutBucketAcl", o.Bucket, "", context})
	}
	return nil
}
