package s3

// subresources are the rows of what buckets and objects have beside content.
// Those answered here need no store, since it could say nothing else: objects
// always belong to the owner of the bucket, nobody is anonymous, and what the
// gateway does not do is never configured.
var subresources = []route{
	{name: ListObjectVersions, method: "GET", level: onBucket, selectors: []string{"versions"}, params: append([]string{"key-marker", "version-id-marker"}, listParams...)},
	{name: GetBucketVersioning, method: "GET", level: onBucket, selectors: []string{"versioning"}},
	{name: PutBucketVersioning, method: "PUT", level: onBucket, selectors: []string{"versioning"}, body: SmallBody, maxBody: maxXMLBody},
	{name: GetObjectLockConfiguration, method: "GET", level: onBucket, selectors: []string{"object-lock"}},
	{name: PutObjectLockConfiguration, method: "PUT", level: onBucket, selectors: []string{"object-lock"}, body: SmallBody, maxBody: maxXMLBody},
	{name: GetBucketTagging, method: "GET", level: onBucket, selectors: []string{"tagging"}},
	{name: PutBucketTagging, method: "PUT", level: onBucket, selectors: []string{"tagging"}, body: SmallBody, maxBody: maxXMLBody},
	{name: DeleteBucketTagging, method: "DELETE", level: onBucket, selectors: []string{"tagging"}},
	{name: GetBucketEncryption, method: "GET", level: onBucket, selectors: []string{"encryption"}},
	{name: PutBucketEncryption, method: "PUT", level: onBucket, selectors: []string{"encryption"}, body: SmallBody, maxBody: maxXMLBody},
	{name: DeleteBucketEncryption, method: "DELETE", level: onBucket, selectors: []string{"encryption"}},

	{name: GetObjectAttributes, method: "GET", level: onObject, selectors: []string{"attributes"}, params: []string{"versionId"}, headers: useAttributes | useCustomerKey},
	{name: GetObjectRetention, method: "GET", level: onObject, selectors: []string{"retention"}, params: []string{"versionId"}},
	{name: PutObjectRetention, method: "PUT", level: onObject, selectors: []string{"retention"}, params: []string{"versionId"}, headers: useBypass, body: SmallBody, maxBody: maxXMLBody},
	{name: GetObjectLegalHold, method: "GET", level: onObject, selectors: []string{"legal-hold"}, params: []string{"versionId"}},
	{name: PutObjectLegalHold, method: "PUT", level: onObject, selectors: []string{"legal-hold"}, params: []string{"versionId"}, body: SmallBody, maxBody: maxXMLBody},

	{name: GetObjectAcl, method: "GET", level: onObject, selectors: []string{"acl"}, params: []string{"versionId"}, answered: true},
	{name: PutObjectAcl, method: "PUT", level: onObject, selectors: []string{"acl"}, params: []string{"versionId"}, body: SmallBody, maxBody: maxXMLBody, answered: true},
	{name: GetBucketAcl, method: "GET", level: onBucket, selectors: []string{"acl"}, answered: true},
	{name: PutBucketAcl, method: "PUT", level: onBucket, selectors: []string{"acl"}, body: SmallBody, maxBody: maxXMLBody, answered: true},
	{name: GetBucketOwnershipControls, method: "GET", level: onBucket, selectors: []string{"ownershipControls"}, answered: true},
	{name: PutBucketOwnershipControls, method: "PUT", level: onBucket, selectors: []string{"ownershipControls"}, body: SmallBody, maxBody: maxXMLBody, answered: true},
	{name: DeleteBucketOwnershipControls, method: "DELETE", level: onBucket, selectors: []string{"ownershipControls"}, answered: true},
	{name: GetPublicAccessBlock, method: "GET", level: onBucket, selectors: []string{"publicAccessBlock"}, answered: true},
	{name: PutPublicAccessBlock, method: "PUT", level: onBucket, selectors: []string{"publicAccessBlock"}, body: SmallBody, maxBody: maxXMLBody, answered: true},
	{name: DeletePublicAccessBlock, method: "DELETE", level: onBucket, selectors: []string{"publicAccessBlock"}, answered: true},
	{name: GetBucketPolicyStatus, method: "GET", level: onBucket, selectors: []string{"policyStatus"}, answered: true},
	{name: GetBucketRequestPayment, method: "GET", level: onBucket, selectors: []string{"requestPayment"}, answered: true},
	{name: PutBucketRequestPayment, method: "PUT", level: onBucket, selectors: []string{"requestPayment"}, body: SmallBody, maxBody: maxXMLBody, answered: true},
	{name: GetBucketAccelerateConfiguration, method: "GET", level: onBucket, selectors: []string{"accelerate"}, answered: true},
	{name: PutBucketAccelerateConfiguration, method: "PUT", level: onBucket, selectors: []string{"accelerate"}, body: SmallBody, maxBody: maxXMLBody, answered: true},
	{name: GetBucketLogging, method: "GET", level: onBucket, selectors: []string{"logging"}, answered: true},
	{name: PutBucketLogging, method: "PUT", level: onBucket, selectors: []string{"logging"}, body: SmallBody, maxBody: maxXMLBody, answered: true},
	{name: GetBucketNotificationConfiguration, method: "GET", level: onBucket, selectors: []string{"notification"}, answered: true},
	{name: PutBucketNotificationConfiguration, method: "PUT", level: onBucket, selectors: []string{"notification"}, body: SmallBody, maxBody: maxXMLBody, answered: true},
	{name: GetBucketAbac, method: "GET", level: onBucket, selectors: []string{"abac"}, answered: true},
	{name: PutBucketAbac, method: "PUT", level: onBucket, selectors: []string{"abac"}, body: SmallBody, maxBody: maxXMLBody, answered: true},
	{name: GetBucketLifecycleConfiguration, method: "GET", level: onBucket, selectors: []string{"lifecycle"}, answered: true},
	{name: DeleteBucketLifecycle, method: "DELETE", level: onBucket, selectors: []string{"lifecycle"}, answered: true},
	{name: GetBucketReplication, method: "GET", level: onBucket, selectors: []string{"replication"}, answered: true},
	{name: DeleteBucketReplication, method: "DELETE", level: onBucket, selectors: []string{"replication"}, answered: true},
	{name: GetBucketWebsite, method: "GET", level: onBucket, selectors: []string{"website"}, answered: true},
	{name: DeleteBucketWebsite, method: "DELETE", level: onBucket, selectors: []string{"website"}, answered: true},

	{name: GetBucketAnalyticsConfiguration, method: "GET", level: onBucket, selectors: []string{"analytics", "id"}, answered: true},
	{name: ListBucketAnalyticsConfigurations, method: "GET", level: onBucket, selectors: []string{"analytics"}, params: []string{"continuation-token"}, answered: true},
	{name: DeleteBucketAnalyticsConfiguration, method: "DELETE", level: onBucket, selectors: []string{"analytics", "id"}, answered: true},
	{name: GetBucketInventoryConfiguration, method: "GET", level: onBucket, selectors: []string{"id", "inventory"}, answered: true},
	{name: ListBucketInventoryConfigurations, method: "GET", level: onBucket, selectors: []string{"inventory"}, params: []string{"continuation-token"}, answered: true},
	{name: DeleteBucketInventoryConfiguration, method: "DELETE", level: onBucket, selectors: []string{"id", "inventory"}, answered: true},
	{name: GetBucketMetricsConfiguration, method: "GET", level: onBucket, selectors: []string{"id", "metrics"}, answered: true},
	{name: ListBucketMetricsConfigurations, method: "GET", level: onBucket, selectors: []string{"metrics"}, params: []string{"continuation-token"}, answered: true},
	{name: DeleteBucketMetricsConfiguration, method: "DELETE", level: onBucket, selectors: []string{"id", "metrics"}, answered: true},
	{name: GetBucketIntelligentTieringConfiguration, method: "GET", level: onBucket, selectors: []string{"id", "intelligent-tiering"}, answered: true},
	{name: ListBucketIntelligentTieringConfigurations, method: "GET", level: onBucket, selectors: []string{"intelligent-tiering"}, params: []string{"continuation-token"}, answered: true},
	{name: DeleteBucketIntelligentTieringConfiguration, method: "DELETE", level: onBucket, selectors: []string{"id", "intelligent-tiering"}, answered: true},
}

// refusal is an operation that AWS has and the gateway has not.
type refusal struct {
	name      Name
	method    string
	level     level
	selectors []string
	why       string
}

const (
	atTheStore = "the gateway moves and deletes nothing by itself; configure it at the store"
	noReports  = "the gateway makes no reports; configure it at the store"
	noTables   = "there are no metadata tables"
)

// refusals are known by name, so that a client is told what it asked for.
var refusals = []refusal{
	{"PutBucketLifecycleConfiguration", "PUT", onBucket, []string{"lifecycle"}, atTheStore},
	{"PutBucketReplication", "PUT", onBucket, []string{"replication"}, atTheStore},
	{"PutBucketWebsite", "PUT", onBucket, []string{"website"}, "anonymous access doesn't exist here, so neither do websites"},
	{"PutBucketAnalyticsConfiguration", "PUT", onBucket, []string{"analytics", "id"}, noReports},
	{"PutBucketInventoryConfiguration", "PUT", onBucket, []string{"id", "inventory"}, noReports},
	{"PutBucketMetricsConfiguration", "PUT", onBucket, []string{"id", "metrics"}, noReports},
	{"PutBucketIntelligentTieringConfiguration", "PUT", onBucket, []string{"id", "intelligent-tiering"}, atTheStore},
	{"CreateBucketMetadataConfiguration", "POST", onBucket, []string{"metadataConfiguration"}, noTables},
	{"GetBucketMetadataConfiguration", "GET", onBucket, []string{"metadataConfiguration"}, noTables},
	{"DeleteBucketMetadataConfiguration", "DELETE", onBucket, []string{"metadataConfiguration"}, noTables},
	{"CreateBucketMetadataTableConfiguration", "POST", onBucket, []string{"metadataTable"}, noTables},
	{"GetBucketMetadataTableConfiguration", "GET", onBucket, []string{"metadataTable"}, noTables},
	{"DeleteBucketMetadataTableConfiguration", "DELETE", onBucket, []string{"metadataTable"}, noTables},
	{"UpdateBucketMetadataInventoryTableConfiguration", "PUT", onBucket, []string{"metadataInventoryTable"}, noTables},
	{"UpdateBucketMetadataJournalTableConfiguration", "PUT", onBucket, []string{"metadataJournalTable"}, noTables},
	{"CreateSession", "GET", onBucket, []string{"session"}, "directory buckets (S3 Express) are another service; use a general purpose bucket"},
	{"GetObjectTorrent", "GET", onObject, []string{"torrent"}, "no store behind the gateway makes torrents"},
	{"RestoreObject", "POST", onObject, []string{"restore"}, "no storage class behind the gateway needs a restore"},
	{"SelectObjectContent", "POST", onObject, []string{"select"}, "AWS offers it to no new customers; use an engine such as DuckDB, Trino or Spark"},
	{"RenameObject", "PUT", onObject, []string{"renameObject"}, "only directory buckets (S3 Express) have it; copy and delete"},
	{"UpdateObjectEncryption", "PUT", onObject, []string{"encryption"}, "copy the object onto itself with the encryption wanted"},
}
