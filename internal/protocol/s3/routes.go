package s3

import (
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// route is one row of the table of operations.
type route struct {
	name   Name
	method string
	level  level
	// selectors are the query parameters that make it this operation: exactly
	// these of all selectors must be present.
	selectors []string
	// params are further parameters that it takes; they go upstream.
	params  []string
	headers headerUse
	body    BodyKind
	maxBody int64
	// answered says that the gateway answers by itself.
	answered bool
}

type level int

const (
	onService level = iota
	onBucket
	onObject
)

var (
	listParams = []string{"prefix", "delimiter", "max-keys", "encoding-type"}
	getParams  = []string{"versionId", "response-cache-control", "response-content-disposition", "response-content-encoding", "response-content-language", "response-content-type", "response-expires"}
)

// routes is what is served of objects, uploads and buckets themselves;
// subresources and kept are the rest. A slice is never changed.
var routes = []route{
	{name: ListBuckets, method: "GET", level: onService, params: []string{"prefix", "max-buckets", "continuation-token", "bucket-region"}},
	{name: CreateBucket, method: "PUT", level: onBucket, headers: useBucket, body: IgnoredBody, maxBody: maxXMLBody},
	{name: DeleteBucket, method: "DELETE", level: onBucket},
	{name: HeadBucket, method: "HEAD", level: onBucket},
	{name: GetBucketLocation, method: "GET", level: onBucket, selectors: []string{"location"}},
	{name: ListObjects, method: "GET", level: onBucket, params: append([]string{"marker"}, listParams...)},
	{name: ListObjectsV2, method: "GET", level: onBucket, selectors: []string{"list-type"}, params: append([]string{"continuation-token", "start-after", "fetch-owner"}, listParams...)},
	{name: ListMultipartUploads, method: "GET", level: onBucket, selectors: []string{"uploads"}, params: []string{"prefix", "delimiter", "encoding-type", "key-marker", "max-uploads", "upload-id-marker"}},
	{name: DeleteObjects, method: "POST", level: onBucket, selectors: []string{"delete"}, headers: useBypass, body: SmallBody, maxBody: maxDeleteBody},

	{name: GetObject, method: "GET", level: onObject, params: getParams, headers: useRead | useCustomerKey},
	{name: GetObject, method: "GET", level: onObject, selectors: []string{"partNumber"}, params: getParams, headers: useRead | useCustomerKey},
	{name: HeadObject, method: "HEAD", level: onObject, params: getParams, headers: useRead | useCustomerKey},
	{name: HeadObject, method: "HEAD", level: onObject, selectors: []string{"partNumber"}, params: getParams, headers: useRead | useCustomerKey},
	{name: PutObject, method: "PUT", level: onObject, headers: useCreate | useContent | useCustomerKey, body: StreamBody, maxBody: MaxStream},
	{name: DeleteObject, method: "DELETE", level: onObject, params: []string{"versionId"}, headers: useDelete | useBypass},
	{name: GetObjectTagging, method: "GET", level: onObject, selectors: []string{"tagging"}, params: []string{"versionId"}},
	{name: PutObjectTagging, method: "PUT", level: onObject, selectors: []string{"tagging"}, params: []string{"versionId"}, body: SmallBody, maxBody: maxXMLBody},
	{name: DeleteObjectTagging, method: "DELETE", level: onObject, selectors: []string{"tagging"}, params: []string{"versionId"}},
	{name: CreateMultipartUpload, method: "POST", level: onObject, selectors: []string{"uploads"}, headers: useCreate | useMultipart | useCustomerKey, body: IgnoredBody, maxBody: maxXMLBody},
	{name: UploadPart, method: "PUT", level: onObject, selectors: []string{"partNumber", "uploadId"}, headers: useContent | useCustomerKey, body: StreamBody, maxBody: MaxStream},
	{name: CompleteMultipartUpload, method: "POST", level: onObject, selectors: []string{"uploadId"}, headers: useComplete | useCustomerKey, body: SmallBody, maxBody: maxCompleteBody},
	{name: AbortMultipartUpload, method: "DELETE", level: onObject, selectors: []string{"uploadId"}, headers: useAbort},
	{name: ListParts, method: "GET", level: onObject, selectors: []string{"uploadId"}, params: []string{"max-parts", "part-number-marker", "encoding-type"}, headers: useCustomerKey},
}

// copyRoutes take the place of PutObject and UploadPart when x-amz-copy-source
// is there. The header is never ignored.
var copyRoutes = map[Name]route{
	PutObject:  {name: CopyObject, method: "PUT", level: onObject, headers: useCreate | useCopy | useCustomerKey, body: IgnoredBody, maxBody: maxXMLBody},
	UploadPart: {name: UploadPartCopy, method: "PUT", level: onObject, selectors: []string{"partNumber", "uploadId"}, headers: useCopy | useCustomerKey, body: IgnoredBody, maxBody: maxXMLBody},
}

// selectors are all parameters that choose an operation: those above and those
// of operations that are known and not offered.
var selectors = map[string]bool{
	"location": true, "list-type": true, "uploads": true, "delete": true, "partNumber": true, "uploadId": true, "tagging": true,

	"abac": true, "accelerate": true, "acl": true, "analytics": true, "annotation": true, "append": true, "attributes": true, "cors": true, "encryption": true,
	"id": true, "intelligent-tiering": true, "inventory": true, "legal-hold": true, "lifecycle": true, "logging": true, "metadataConfiguration": true,
	"metadataInventoryTable": true, "metadataJournalTable": true, "metadataTable": true, "metrics": true, "notification": true, "object-lock": true, "ownershipControls": true, "policy": true, "policyStatus": true,
	"publicAccessBlock": true, "renameObject": true, "replication": true, "requestPayment": true, "restore": true, "retention": true, "select": true,
	"session": true, "torrent": true, "versioning": true, "versions": true, "website": true,
}

// findRoute picks the row for a request; no row is an error that names why.
func findRoute(method string, at level, query []sigv4.Param, copying bool) (route, error) {
	var present []string
	for _, q := range query {
		if selectors[q.Name] {
			present = append(present, q.Name)
		}
	}
	slices.Sort(present)
	fits := func(r route) bool {
		return r.method == method && r.level == at && slices.Equal(r.selectors, present)
	}
	for _, rows := range [...][]route{routes, subresources, kept} {
		i := slices.IndexFunc(rows, fits)
		if i < 0 {
			continue
		}
		if !copying {
			return rows[i], nil
		}
		if c, ok := copyRoutes[rows[i].name]; ok {
			return c, nil
		}
		return route{}, fault.Coded(fault.Invalid, "InvalidRequest", "x-amz-copy-source has no meaning for "+string(rows[i].name))
	}
	for _, r := range refusals {
		if r.method == method && r.level == at && slices.Equal(r.selectors, present) {
			return route{}, notImplemented(string(r.name) + ": " + r.why)
		}
	}
	if len(present) > 0 {
		return route{}, notImplemented(method + " with the sub-resource ?" + strings.Join(present, "&"))
	}
	if at == onBucket && method == "POST" {
		return route{}, invalid("Only one auth mechanism allowed: a form (POST Object) carries its credential in its fields, so that none may stand in the header or the query")
	}
	return route{}, fault.Coded(fault.Unsupported, "MethodNotAllowed", "The specified method is not allowed against this resource.")
}

func notImplemented(what string) error {
	return fault.Coded(fault.Unsupported, "NotImplemented", "A header or query you provided implies functionality that is not implemented: "+what)
}

// forwardQuery gives the parameters that go upstream; an unknown one is refused.
// Those of the credential and x-id, which SDKs add, end here, and so do headers
// that a presigned request carries in its query.
func (r *route) forwardQuery(query []sigv4.Param, presigned bool) ([]sigv4.Param, error) {
	out := make([]sigv4.Param, 0, len(query))
	for _, q := range query {
		switch {
		case slices.Contains(r.selectors, q.Name), slices.Contains(r.params, q.Name):
			out = append(out, q)
		case q.Name == "x-id", presigned && (sigv4.CredentialParam(q.Name) || isAmz(q.Name)):
		default:
			return nil, notImplemented("the query parameter " + clip(q.Name))
		}
	}
	return out, nil
}

func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
