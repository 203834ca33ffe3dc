package s3

import (
	"encoding/xml"

	"carnet.dev/carnet/internal/core/fault"
)

// answers are the documents of what the gateway answers by itself, as AWS
// answers for a bucket whose owner is enforced, to which nobody is anonymous,
// and for which nothing else is configured..
var answers = map[Name]struct{ root, inner string }{
	GetBucketOwnershipControls:                 {"OwnershipControls", "<Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule>"},
	GetPublicAccessBlock:                       {"PublicAccessBlockConfiguration", "<BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy><RestrictPublicBuckets>true</RestrictPublicBuckets>"},
	GetBucketPolicyStatus:                      {"PolicyStatus", "<IsPublic>false</IsPublic>"},
	GetBucketRequestPayment:                    {"RequestPaymentConfiguration", "<Payer>BucketOwner</Payer>"},
	GetBucketAbac:                              {"AbacStatus", "<Status>Disabled</Status>"},
	GetBucketAccelerateConfiguration:           {"AccelerateConfiguration", ""},
	GetBucketLogging:                           {"BucketLoggingStatus", ""},
	GetBucketNotificationConfiguration:         {"NotificationConfiguration", ""},
	ListBucketAnalyticsConfigurations:          {"ListBucketAnalyticsConfigurationResult", "<IsTruncated>false</IsTruncated>"},
	ListBucketInventoryConfigurations:          {"ListInventoryConfigurationsResult", "<IsTruncated>false</IsTruncated>"},
	ListBucketMetricsConfigurations:            {"ListMetricsConfigurationsResult", "<IsTruncated>false</IsTruncated>"},
	ListBucketIntelligentTieringConfigurations: {"ListBucketIntelligentTieringConfigurationsOutput", "<IsTruncated>false</IsTruncated>"},
}

// absent are the codes of configurations that are not there, with S3's texts.
var absent = map[Name]struct{ code, message string }{
	GetBucketLifecycleConfiguration:             {"NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist"},
	GetBucketReplication:                        {"ReplicationConfigurationNotFoundError", "The replication configuration was not found"},
	GetBucketWebsite:                            {"NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration"},
	GetBucketEncryption:                         {"ServerSideEncryptionConfigurationNotFoundError", "The server side encryption configuration was not found"},
	GetBucketAnalyticsConfiguration:             {"NoSuchConfiguration", "The specified configuration does not exist."},
	GetBucketInventoryConfiguration:             {"NoSuchConfiguration", "The specified configuration does not exist."},
	GetBucketMetricsConfiguration:               {"NoSuchConfiguration", "The specified configuration does not exist."},
	GetBucketIntelligentTieringConfiguration:    {"NoSuchConfiguration", "The specified configuration does not exist."},
	DeleteBucketAnalyticsConfiguration:          {"NoSuchConfiguration", "The specified configuration does not exist."},
	DeleteBucketInventoryConfiguration:          {"NoSuchConfiguration", "The specified configuration does not exist."},
	DeleteBucketMetricsConfiguration:            {"NoSuchConfiguration", "The specified configuration does not exist."},
	DeleteBucketIntelligentTieringConfiguration: {"NoSuchConfiguration", "The specified configuration does not exist."},
}

// Answer gives the document with which the gateway answers by itself for a
// bucket of this account; nil where there is nothing to say but that it is so.
// The caller has proven that the bucket, and the object, exist.
func (o *Operation) Answer(owner string) ([]byte, error) {
	if a, ok := absent[o.Name]; ok {
		return nil, fault.Coded(fault.NotFound, a.code, a.message)
	}
	switch o.Name {
	case GetBucketAcl, GetObjectAcl:
		return answer("AccessControlPolicy", ownerACL(owner)), nil
	case PutBucketAcl, PutObjectAcl:
		if o.aclOwner != "" && o.aclOwner != owner {
			return nil, aclRefused()
		}
	case PutBucketEncryption:
		return nil, notImplemented("default encryption: the store of this bucket is configured for none")
	}
	if a, ok := answers[o.Name]; ok {
		return answer(a.root, a.inner), nil
	}
	return nil, nil
}

func answer(root, inner string) []byte {
	if inner == "" {
		return []byte(xml.Header + "<" + root + ` xmlns="` + namespace + `"/>`)
	}
	return []byte(xml.Header + "<" + root + ` xmlns="` + namespace + `">` + inner + "</" + root + ">")
}

// AnsweredHere reports whether the gateway answers by itself before a store
// with these kinds of encryption.
func (o *Operation) AnsweredHere(e Encryption) bool {
	switch o.Name {
	case GetBucketEncryption, PutBucketEncryption, DeleteBucketEncryption:
		return e&^EncryptCustomerKey == 0
	}
	return o.Answered
}
