package s3

import (
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
}

// versioned gives the action on a named version where it is another one.
var versioned = map[string]string{
	"s3:GetObject":           "s3:GetObjectVersion",
	"s3:DeleteObject":        "s3:DeleteObjectVersion",
	"s3:GetObjectTagging":    "s3:GetObjectVersionTagging",
	"s3:PutObjectTagging":    "s3:PutObjectVersionTagging",
	"s3:DeleteObjectTagging": "s3:DeleteObjectVersionTagging",
}

// creates gives s3:ObjectCreationOperation for each operation that asks for
// s3:PutObject. Policies which demand conditional writes deny on it, so that an
// absent key would let every write through.
var creates = map[Name]string{
	PutObject: "true", CopyObject: "true", CompleteMultipartUpload: "true",
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
		ssePrefix: "s3:x-amz-server-side-encryption", ssePrefix + "-Aws-Kms-Key-Id": "s3:x-amz-server-side-encryption-aws-kms-key-id",
		ssePrefix + "-Customer-Algorithm": "s3:x-amz-server-side-encryption-customer-algorithm",
	}
)

// readChecks lists what must be allowed, and refuses what can't be honoured.
func (o *Operation) readChecks(h headers) error {
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
	if o.Name == GetObject || o.Name == HeadObject {
		o.Reveal = &Check{Action: "s3:ListBucket", Bucket: o.Bucket}
	}
	return o.checkACL(h, main.Context)
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
		_, forwarded := o.Header[name]
		v, given := h[name]
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
	if v, ok := o.Header["If-Match"]; ok && v[0] != "*" {
		o.Checks = append(o.Checks, Check{Action: "s3:GetObject", Bucket: o.Bucket, Key: o.Key})
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
	return tagContext(tags), nil
}

// checkACL accepts the two ACLs that change nothing when the owner of the
// bucket owns all objects; as on AWS they need their own permission.
func (o *Operation) checkACL(h headers, context []Value) error {
	acl, ok := h["X-Amz-Acl"]
	if !ok {
		return nil
	}
	if acl != "private" && acl != "bucket-owner-full-control" {
		return aclRefused()
	}
	switch o.Name {
	case PutObject, CopyObject, CreateMultipartUpload:
		o.Checks = append(o.Checks, Check{"s3:PutObjectAcl", o.Bucket, o.Key, context})
	case CreateBucket:
		o.Checks = append(o.Checks, Check{"s3:PutBucketAcl", o.Bucket, "", context})
	}
	return nil
}
