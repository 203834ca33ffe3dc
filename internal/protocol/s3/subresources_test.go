package s3_test

import (
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// parse reads a request as of noon, and its document where there is one.
func parse(t *testing.T, line, body string, headers ...string) (*s3.Operation, []byte, error) {
	t.Helper()
	r := request(t, line, headers...)
	r.Now = noon
	o, err := s3.Parse(r, nil)
	if err != nil || o.Body != s3.SmallBody {
		return o, nil, err
	}
	document, err := o.ReadDocument([]byte(body), noon)
	return o, document, err
}

func TestSubresourcesAndTheirChecks(t *testing.T) {
	t.Parallel()
	const until = "2026-03-11T12:00:00Z"
	for _, c := range []struct{ line, header, body, want string }{
		{"GET /sales?versions&prefix=p&delimiter=/&max-keys=3&key-marker=k&version-id-marker=v", "", "", "ListObjectVersions: s3:ListBucketVersions sales delimiter=/ max-keys=3 prefix=p"},
		{"GET /sales?versioning", "", "", "GetBucketVersioning: s3:GetBucketVersioning sales"},
		{"PUT /sales?versioning", "", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>", "PutBucketVersioning: s3:PutBucketVersioning sales"},
		{"GET /sales?object-lock", "", "", "GetObjectLockConfiguration: s3:GetBucketObjectLockConfiguration sales"},
		{"PUT /sales?object-lock", "", "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>3</Days></DefaultRetention></Rule></ObjectLockConfiguration>",
			"PutObjectLockConfiguration: s3:PutBucketObjectLockConfiguration sales"},
		{"GET /sales?tagging", "", "", "GetBucketTagging: s3:GetBucketTagging sales"},
		{"PUT /sales?tagging", "", "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>", "PutBucketTagging: s3:PutBucketTagging sales aws:RequestTag/a=1 aws:TagKeys=a"},
		{"DELETE /sales?tagging", "", "", "DeleteBucketTagging: s3:PutBucketTagging sales"},
		{"GET /sales?encryption", "", "", "GetBucketEncryption: s3:GetEncryptionConfiguration sales"},
		{"PUT /sales?encryption", "", "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>k</KMSMasterKeyID></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>",
			"PutBucketEncryption: s3:PutEncryptionConfiguration sales"},
		{"DELETE /sales?encryption", "", "", "DeleteBucketEncryption: s3:PutEncryptionConfiguration sales"},
		{"PUT /sales", "X-Amz-Bucket-Object-Lock-Enabled: true", "", "CreateBucket: s3:CreateBucket sales; s3:PutBucketObjectLockConfiguration sales; s3:PutBucketVersioning sales"},
		{"PUT /sales", "X-Amz-Bucket-Object-Lock-Enabled: false", "", "CreateBucket: s3:CreateBucket sales"},
		{"PUT /sales", "X-Amz-Object-Ownership: BucketOwnerEnforced", "", "CreateBucket: s3:CreateBucket sales x-amz-object-ownership=BucketOwnerEnforced; s3:PutBucketOwnershipControls sales x-amz-object-ownership=BucketOwnerEnforced"},

		{"GET /sales/k?attributes", "X-Amz-Object-Attributes: ETag,ObjectSize", "", "GetObjectAttributes: s3:GetObject sales/k; s3:GetObjectAttributes sales/k"},
		{"GET /sales/k?attributes&versionId=v", "X-Amz-Object-Attributes: Checksum", "", "GetObjectAttributes: s3:GetObjectVersion sales/k versionid=v; s3:GetObjectVersionAttributes sales/k versionid=v"},
		{"GET /sales/k?retention&versionId=v", "", "", "GetObjectRetention: s3:GetObjectRetention sales/k versionid=v"},
		{"PUT /sales/k?retention&versionId=v", "", "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>" + until + "</RetainUntilDate></Retention>",
			"PutObjectRetention: s3:PutObjectRetention sales/k object-lock-mode=GOVERNANCE object-lock-remaining-retention-days=10 object-lock-retain-until-date=" + until + " versionid=v"},
		{"PUT /sales/k?retention", "X-Amz-Bypass-Governance-Retention: TRUE", "<Retention/>", "PutObjectRetention: s3:PutObjectRetention sales/k; s3:BypassGovernanceRetention sales/k"},
		{"GET /sales/k?legal-hold", "", "", "GetObjectLegalHold: s3:GetObjectLegalHold sales/k"},
		{"PUT /sales/k?legal-hold", "", "<LegalHold><Status>ON</Status></LegalHold>", "PutObjectLegalHold: s3:PutObjectLegalHold sales/k object-lock-legal-hold=ON"},
		{"PUT /sales/k", "X-Amz-Object-Lock-Legal-Hold: OFF", "", "PutObject: s3:PutObject sales/k ObjectCreationOperation=true object-lock-legal-hold=OFF; s3:PutObjectLegalHold sales/k ObjectCreationOperation=true object-lock-legal-hold=OFF"},
		{"PUT /sales/k", "X-Amz-Website-Redirect-Location: /x", "", "PutObject: s3:PutObject sales/k ObjectCreationOperation=true x-amz-website-redirect-location=/x"},
		{"PUT /sales/k", "X-Amz-Server-Side-Encryption: AES256", "", "PutObject: s3:PutObject sales/k ObjectCreationOperation=true x-amz-server-side-encryption=AES256"},
		{"DELETE /sales/k?versionId=v", "X-Amz-Bypass-Governance-Retention: true", "", "DeleteObject: s3:DeleteObjectVersion sales/k versionid=v; s3:BypassGovernanceRetention sales/k versionid=v"},
		{"DELETE /sales/k?versionId=v", "X-Amz-Bypass-Governance-Retention: false", "", "DeleteObject: s3:DeleteObjectVersion sales/k versionid=v"},
		{"DELETE /sales/k?versionId=v", "X-Amz-If-Match-Size: 5", "", "DeleteObject: s3:DeleteObjectVersion sales/k versionid=v; s3:GetObjectVersion sales/k versionid=v"},

		{"GET /sales/k?acl", "", "", "GetObjectAcl: s3:GetObjectAcl sales/k"},
		{"GET /sales/k?acl&versionId=v", "", "", "GetObjectAcl: s3:GetObjectVersionAcl sales/k versionid=v"},
		{"PUT /sales/k?acl", "X-Amz-Acl: private", "", "PutObjectAcl: s3:PutObjectAcl sales/k x-amz-acl=private"},
		{"PUT /sales/k?acl&versionId=v", "X-Amz-Acl: bucket-owner-full-control", "", "PutObjectAcl: s3:PutObjectVersionAcl sales/k versionid=v x-amz-acl=bucket-owner-full-control"},
		{"GET /sales?acl", "", "", "GetBucketAcl: s3:GetBucketAcl sales"},
		{"PUT /sales?acl", "X-Amz-Acl: private", "", "PutBucketAcl: s3:PutBucketAcl sales x-amz-acl=private"},
		{"GET /sales?ownershipControls", "", "", "GetBucketOwnershipControls: s3:GetBucketOwnershipControls sales"},
		{"PUT /sales?ownershipControls", "", "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>", "PutBucketOwnershipControls: s3:PutBucketOwnershipControls sales"},
		{"DELETE /sales?ownershipControls", "", "", "DeleteBucketOwnershipControls: s3:PutBucketOwnershipControls sales"},
		{"GET /sales?publicAccessBlock", "", "", "GetPublicAccessBlock: s3:GetBucketPublicAccessBlock sales"},
		{"PUT /sales?publicAccessBlock", "", "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy><RestrictPublicBuckets>TRUE</RestrictPublicBuckets></PublicAccessBlockConfiguration>", "PutPublicAccessBlock: s3:PutBucketPublicAccessBlock sales"},
		{"DELETE /sales?publicAccessBlock", "", "", "DeletePublicAccessBlock: s3:PutBucketPublicAccessBlock sales"},
		{"GET /sales?policyStatus", "", "", "GetBucketPolicyStatus: s3:GetBucketPolicyStatus sales"},
		{"GET /sales?requestPayment", "", "", "GetBucketRequestPayment: s3:GetBucketRequestPayment sales"},
		{"PUT /sales?requestPayment", "", "<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>", "PutBucketRequestPayment: s3:PutBucketRequestPayment sales"},
		{"GET /sales?accelerate", "", "", "GetBucketAccelerateConfiguration: s3:GetAccelerateConfiguration sales"},
		{"PUT /sales?accelerate", "", "<AccelerateConfiguration><Status>Suspended</Status></AccelerateConfiguration>", "PutBucketAccelerateConfiguration: s3:PutAccelerateConfiguration sales"},
		{"GET /sales?logging", "", "", "GetBucketLogging: s3:GetBucketLogging sales"},
		{"PUT /sales?logging", "", "<BucketLoggingStatus/>", "PutBucketLogging: s3:PutBucketLogging sales"},
		{"GET /sales?notification", "", "", "GetBucketNotificationConfiguration: s3:GetBucketNotification sales"},
		{"PUT /sales?notification", "", "<NotificationConfiguration/>", "PutBucketNotificationConfiguration: s3:PutBucketNotification sales"},
		{"GET /sales?abac", "", "", "GetBucketAbac: s3:GetBucketAbac sales"},
		{"PUT /sales?abac", "", "<AbacStatus><Status>Disabled</Status></AbacStatus>", "PutBucketAbac: s3:PutBucketAbac sales"},
		{"GET /sales?lifecycle", "", "", "GetBucketLifecycleConfiguration: s3:GetLifecycleConfiguration sales"},
		{"DELETE /sales?lifecycle", "", "", "DeleteBucketLifecycle: s3:PutLifecycleConfiguration sales"},
		{"GET /sales?replication", "", "", "GetBucketReplication: s3:GetReplicationConfiguration sales"},
		{"DELETE /sales?replication", "", "", "DeleteBucketReplication: s3:PutReplicationConfiguration sales"},
		{"GET /sales?website", "", "", "GetBucketWebsite: s3:GetBucketWebsite sales"},
		{"DELETE /sales?website", "", "", "DeleteBucketWebsite: s3:DeleteBucketWebsite sales"},
		{"GET /sales?analytics&id=i", "", "", "GetBucketAnalyticsConfiguration: s3:GetAnalyticsConfiguration sales"},
		{"GET /sales?analytics", "", "", "ListBucketAnalyticsConfigurations: s3:GetAnalyticsConfiguration sales"},
		{"DELETE /sales?analytics&id=i", "", "", "DeleteBucketAnalyticsConfiguration: s3:PutAnalyticsConfiguration sales"},
		{"GET /sales?inventory&id=i", "", "", "GetBucketInventoryConfiguration: s3:GetInventoryConfiguration sales"},
		{"GET /sales?inventory", "", "", "ListBucketInventoryConfigurations: s3:GetInventoryConfiguration sales"},
		{"DELETE /sales?inventory&id=i", "", "", "DeleteBucketInventoryConfiguration: s3:PutInventoryConfiguration sales"},
		{"GET /sales?metrics&id=i", "", "", "GetBucketMetricsConfiguration: s3:GetMetricsConfiguration sales"},
		{"GET /sales?metrics", "", "", "ListBucketMetricsConfigurations: s3:GetMetricsConfiguration sales"},
		{"DELETE /sales?metrics&id=i", "", "", "DeleteBucketMetricsConfiguration: s3:PutMetricsConfiguration sales"},
		{"GET /sales?intelligent-tiering&id=i", "", "", "GetBucketIntelligentTieringConfiguration: s3:GetIntelligentTieringConfiguration sales"},
		{"GET /sales?intelligent-tiering", "", "", "ListBucketIntelligentTieringConfigurations: s3:GetIntelligentTieringConfiguration sales"},
		{"DELETE /sales?intelligent-tiering&id=i", "", "", "DeleteBucketIntelligentTieringConfiguration: s3:PutIntelligentTieringConfiguration sales"},
	} {
		var headers []string
		if c.header != "" {
			headers = []string{c.header}
		}
		o, _, err := parse(t, c.line, c.body, headers...)
		if err != nil {
			t.Errorf("%s %s: %v", c.line, c.header, err)
		} else if got := describe(o); got != c.want {
			t.Errorf("%s %s\n have %s\n want %s", c.line, c.header, got, c.want)
		}
	}
}

func TestRefusedSubresources(t *testing.T) {
	t.Parallel()
	const putRetention = "PUT /sales/k?retention"
	for _, c := range []struct{ line, header, body, code, names string }{
		{"PUT /sales?lifecycle", "", "", "NotImplemented", "PutBucketLifecycleConfiguration"},
		{"PUT /sales?replication", "", "", "NotImplemented", "PutBucketReplication"}, {"PUT /sales?website", "", "", "NotImplemented", "PutBucketWebsite"},
		{"PUT /sales?inventory&id=1", "", "", "NotImplemented", "PutBucketInventoryConfiguration"}, {"GET /sales?session", "", "", "NotImplemented", "CreateSession"},
		{"GET /sales/k?torrent", "", "", "NotImplemented", "GetObjectTorrent"}, {"POST /sales/k?restore", "", "", "NotImplemented", "RestoreObject"},
		{"POST /sales/k?select&select-type=2", "", "", "NotImplemented", "SelectObjectContent"}, {"PUT /sales/k?renameObject", "", "", "NotImplemented", "RenameObject"},
		{"PUT /sales/k?encryption", "", "", "NotImplemented", "UpdateObjectEncryption"}, {"POST /sales?metadataTable", "", "", "NotImplemented", "CreateBucketMetadataTableConfiguration"},
		{"PUT /sales?metrics", "", "", "NotImplemented", "?metrics"}, {"GET /sales/k?acl&tagging", "", "", "NotImplemented", "acl&tagging"},
		{"PUT /sales/k?versionId=v", "", "", "NotImplemented", "versionId"}, {"GET /sales?attributes", "", "", "NotImplemented", "?attributes"},
		{"POST /WriteGetObjectResponse", "", "", "NotImplemented", "WriteGetObjectResponse"},
		{"GET /arn%3Aaws%3As3%3Aus-east-1%3A111122223333%3Aaccesspoint/name/k", "", "", "NotImplemented", "access points"},
		{"GET /name-s3alias/k", "", "", "NotImplemented", "name-s3alias"}, {"GET /name--x-s3/k", "", "", "NotImplemented", "directory buckets"},
		{"GET /name.mrap/k", "", "", "NotImplemented", "access points"}, {"GET /name--table-s3/k", "", "", "NotImplemented", "table buckets"},
		{"PUT /sales/k", "X-Amz-Copy-Source: /name-s3alias/k", "", "NotImplemented", "name-s3alias"},
		{"GET /v20180820/accesspoint/x", "X-Amz-Account-Id: 111122223333", "", "NotImplemented", "S3 Control"},
		{"PUT /sales/k", "X-Amz-Write-Offset-Bytes: 5", "", "NotImplemented", "x-amz-write-offset-bytes"},
		{"DELETE /sales/k", "X-Amz-Mfa: 1 2", "", "NotImplemented", "x-amz-mfa"},
		{"PUT /sales?acl", "X-Amz-Grant-Read: id=x", "", "AccessControlListNotSupported", ""},
		{"PUT /sales?acl", "X-Amz-Acl: public-read", "", "AccessControlListNotSupported", ""},
		{"PUT /sales?acl", "X-Amz-Acl: private", "<AccessControlPolicy/>", "UnexpectedContent", ""},
		{"PUT /sales?acl", "", "", "MissingSecurityHeader", ""}, {"PUT /sales?acl", "", "<AccessControlPolicy/>", "AccessControlListNotSupported", ""},
		{"PUT /sales?acl", "", "<AccessControlPolicy><Owner><ID>a</ID></Owner><AccessControlList><Grant><Grantee><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>", "AccessControlListNotSupported", ""},
		{"PUT /sales", "X-Amz-Object-Ownership: ObjectWriter", "", "NotImplemented", "ownership"}, {"PUT /sales", "X-Amz-Object-Ownership: x", "", "InvalidArgument", ""},
		{"PUT /sales", "X-Amz-Bucket-Object-Lock-Enabled: x", "", "InvalidArgument", ""},
		{"PUT /sales?ownershipControls", "", "<OwnershipControls><Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule></OwnershipControls>", "NotImplemented", "ownership"},
		{"PUT /sales?ownershipControls", "", "<OwnershipControls/>", "MalformedXML", ""}, {"PUT /sales?ownershipControls", "", "<OwnershipControls><Rule><ObjectOwnership>x</ObjectOwnership></Rule></OwnershipControls>", "MalformedXML", ""},
		{"PUT /sales?publicAccessBlock", "", "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>", "NotImplemented", "public access"},
		{"PUT /sales?publicAccessBlock", "", "<PublicAccessBlockConfiguration><BlockPublicAcls>yes</BlockPublicAcls></PublicAccessBlockConfiguration>", "MalformedXML", ""},
		{"PUT /sales?publicAccessBlock", "", "<Wrong/>", "MalformedXML", ""},
		{"PUT /sales?requestPayment", "", "<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>", "NotImplemented", "requester pays"},
		{"PUT /sales?requestPayment", "", "<RequestPaymentConfiguration/>", "MalformedXML", ""},
		{"PUT /sales?accelerate", "", "<AccelerateConfiguration><Status>Enabled</Status></AccelerateConfiguration>", "NotImplemented", "acceleration"},
		{"PUT /sales?logging", "", "<BucketLoggingStatus><LoggingEnabled/></BucketLoggingStatus>", "NotImplemented", "access logs"},
		{"PUT /sales?notification", "", "<NotificationConfiguration><QueueConfiguration/></NotificationConfiguration>", "NotImplemented", "notifications"},
		{"PUT /sales?abac", "", "<AbacStatus><Status>Enabled</Status></AbacStatus>", "NotImplemented", "access control"},
		{"PUT /sales?versioning", "", "<VersioningConfiguration><Status>On</Status></VersioningConfiguration>", "MalformedXML", ""},
		{"PUT /sales?versioning", "", "<VersioningConfiguration><Status>Enabled</Status><Status>Suspended</Status></VersioningConfiguration>", "MalformedXML", ""},
		{"PUT /sales?versioning", "", "<VersioningConfiguration/>", "IllegalVersioningConfigurationException", ""},
		{"PUT /sales?versioning", "", "<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>", "NotImplemented", "MFA"},
		{"PUT /sales?versioning", "", "<VersioningConfiguration><Status>Enabled</Status><Else>1</Else></VersioningConfiguration>", "MalformedXML", ""},
		{"PUT /sales?object-lock", "", "<ObjectLockConfiguration><ObjectLockEnabled>Yes</ObjectLockEnabled></ObjectLockConfiguration>", "MalformedXML", ""},
		{"PUT /sales?object-lock", "", "<ObjectLockConfiguration><Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days><Years>1</Years></DefaultRetention></Rule></ObjectLockConfiguration>", "MalformedXML", ""},
		{"PUT /sales?object-lock", "", "<ObjectLockConfiguration><Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>-1</Days></DefaultRetention></Rule></ObjectLockConfiguration>", "InvalidArgument", ""},
		{"PUT /sales?encryption", "", "<ServerSideEncryptionConfiguration/>", "MalformedXML", ""},
		{"PUT /sales?encryption", "", "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm><KMSMasterKeyID>k</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>", "InvalidArgument", ""},
		{"PUT /sales?encryption", "", "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>ROT13</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>", "MalformedXML", ""},
		{"PUT /sales?tagging", "", "<Tagging><TagSet>" + strings.Repeat("<Tag><Key>k</Key><Value/></Tag>", 51) + "</TagSet></Tagging>", "BadRequest", ""},
		{"PUT /sales?tagging", "", "<Tagging><TagSet><Tag><Key>aws:k</Key><Value/></Tag></TagSet></Tagging>", "InvalidTag", ""},
		{putRetention, "", "<Retention><Mode>GOVERNANCE</Mode></Retention>", "MalformedXML", ""}, {putRetention, "", "", "MalformedXML", ""},
		{putRetention, "", "<Retention><Mode>SOFT</Mode><RetainUntilDate>2027-01-01T00:00:00Z</RetainUntilDate></Retention>", "MalformedXML", ""},
		{putRetention, "", "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2026-03-01T12:00:00Z</RetainUntilDate></Retention>", "InvalidArgument", "future"},
		{putRetention, "", "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>tomorrow</RetainUntilDate></Retention>", "InvalidArgument", "8601"},
		{putRetention, "X-Amz-Bypass-Governance-Retention: perhaps", "<Retention/>", "InvalidArgument", "bypass"},
		{"PUT /sales/k?legal-hold", "", "<LegalHold><Status>MAYBE</Status></LegalHold>", "MalformedXML", ""},
		{"PUT /sales/k", "X-Amz-Object-Lock-Mode: GOVERNANCE", "", "InvalidArgument", "both"},
		{"PUT /sales/k", "X-Amz-Object-Lock-Retain-Until-Date: 2027-01-01T00:00:00Z", "", "InvalidArgument", "both"},
		{"PUT /sales/k", "X-Amz-Object-Lock-Legal-Hold: yes", "", "InvalidArgument", "Legal Hold"},
		{"PUT /sales/k", "X-Amz-Website-Redirect-Location: javascript:x", "", "InvalidRedirectLocation", ""},
		{"GET /sales/k?attributes", "", "", "InvalidRequest", ""}, {"GET /sales/k?attributes", "X-Amz-Object-Attributes: ETag,Owner", "", "InvalidArgument", "attribute"},
		{"GET /sales?versions&version-id-marker=../v", "", "", "InvalidArgument", ""},
	} {
		var headers []string
		if c.header != "" {
			headers = []string{c.header}
		}
		_, _, err := parse(t, c.line, c.body, headers...)
		if err == nil || fault.Of(err).Code != c.code || !strings.Contains(fault.Of(err).Public, c.names) {
			t.Errorf("%s %s %s: %v, want %s naming %q", c.line, c.header, c.body, err, c.code, c.names)
		}
	}
}

// What goes upstream is a document of our own, never the client's bytes.
func TestDocumentsAreWrittenAnew(t *testing.T) {
	t.Parallel()
	for line, c := range map[string]struct{ body, want string }{
		"PUT /sales?versioning":   {"<?xml version='1.0'?><!-- c --><VersioningConfiguration a='b'> <Status>Enabled</Status></VersioningConfiguration>", "<VersioningConfiguration xmlns=NS><Status>Enabled</Status></VersioningConfiguration>"},
		"PUT /sales/k?legal-hold": {"<x:LegalHold xmlns:x='urn:x'><x:Status>OFF</x:Status></x:LegalHold>", "<LegalHold xmlns=NS><Status>OFF</Status></LegalHold>"},
		"PUT /sales/k?retention":  {"<Retention><RetainUntilDate>2027-01-01T01:00:00+01:00</RetainUntilDate><Mode>COMPLIANCE</Mode></Retention>", "<Retention xmlns=NS><Mode>COMPLIANCE</Mode><RetainUntilDate>2027-01-01T00:00:00Z</RetainUntilDate></Retention>"},
		"PUT /sales?object-lock":  {"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>", "<ObjectLockConfiguration xmlns=NS><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"},
		"PUT /sales?encryption": {"<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>",
			"<ServerSideEncryptionConfiguration xmlns=NS><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"},
		"PUT /sales?logging": {"<BucketLoggingStatus/>", "<BucketLoggingStatus xmlns=NS></BucketLoggingStatus>"},
		"PUT /sales?ownershipControls": {"<a:OwnershipControls xmlns:a='urn:a'><a:Rule b='c'><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></a:Rule></a:OwnershipControls>",
			"<OwnershipControls xmlns=NS><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>"},
	} {
		_, out, err := parse(t, line, c.body)
		if got := strings.ReplaceAll(string(out), `"http://s3.amazonaws.com/doc/2006-03-01/"`, "NS"); err != nil || got != c.want {
			t.Errorf("%s: %s, %v", line, got, err)
		}
	}
	o, err := s3.Parse(request(t, "PUT /new-bucket"), nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := o.ReadCreateBucket([]byte("<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint><Tags><Tag><Key>team</Key><Value>red</Value></Tag></Tags></CreateBucketConfiguration>"), "eu-west-1")
	if err != nil || !strings.Contains(string(out), "<Tags><Tag><Key>team</Key><Value>red</Value></Tag></Tags>") || strings.Contains(string(out), "eu-west-1") {
		t.Errorf("%s, %v", out, err)
	}
	want := " new-bucket aws:RequestTag/team=red aws:TagKeys=team locationconstraint=eu-west-1"
	if got := describe(o); got != "CreateBucket: s3:CreateBucket"+want+"; s3:TagResource"+want {
		t.Error(got)
	}
}
