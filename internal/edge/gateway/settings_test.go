package gateway_test

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"carnet.dev/carnet/internal/edge/gateway"
	"carnet.dev/carnet/internal/protocol/s3"
)

// What a console or Terraform reads of a bucket that it has just made.
func TestSettingsOfABucketThroughTheSDK(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, c := context.Background(), client(w.http, alice)
	w.put(t, "sales", "report", "v")

	acl, err := c.GetBucketAcl(ctx, &awss3.GetBucketAclInput{Bucket: sales})
	if err != nil || len(acl.Grants) != 1 || acl.Grants[0].Permission != types.PermissionFullControl || aws.ToString(acl.Owner.ID) != account || acl.Grants[0].Grantee.Type != types.TypeCanonicalUser {
		t.Errorf("%+v, %v", acl, err)
	}
	if of, err := c.GetObjectAcl(ctx, &awss3.GetObjectAclInput{Bucket: sales, Key: report}); err != nil || aws.ToString(of.Owner.ID) != account {
		t.Errorf("%+v, %v", of, err)
	}
	// What was read may be written back; anything else is refused as on AWS.
	if _, err := c.PutBucketAcl(ctx, &awss3.PutBucketAclInput{Bucket: sales, AccessControlPolicy: &types.AccessControlPolicy{Owner: acl.Owner, Grants: acl.Grants}}); err != nil {
		t.Error(err)
	}
	if _, err := c.PutObjectAcl(ctx, &awss3.PutObjectAclInput{Bucket: sales, Key: report, ACL: types.ObjectCannedACLBucketOwnerFullControl}); err != nil {
		t.Error(err)
	}
	_, err = c.PutObjectAcl(ctx, &awss3.PutObjectAclInput{Bucket: sales, Key: report, ACL: types.ObjectCannedACLPublicRead})
	wantCode(t, err, "AccessControlListNotSupported", 400)
	stranger := &types.Owner{ID: aws.String(other)}
	_, err = c.PutBucketAcl(ctx, &awss3.PutBucketAclInput{Bucket: sales, AccessControlPolicy: &types.AccessControlPolicy{Owner: stranger, Grants: []types.Grant{{Grantee: &types.Grantee{Type: types.TypeCanonicalUser, ID: stranger.ID}, Permission: types.PermissionFullControl}}}})
	wantCode(t, err, "AccessControlListNotSupported", 400)

	if got, err := c.GetBucketOwnershipControls(ctx, &awss3.GetBucketOwnershipControlsInput{Bucket: sales}); err != nil || got.OwnershipControls.Rules[0].ObjectOwnership != types.ObjectOwnershipBucketOwnerEnforced {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := c.GetPublicAccessBlock(ctx, &awss3.GetPublicAccessBlockInput{Bucket: sales}); err != nil || !aws.ToBool(got.PublicAccessBlockConfiguration.RestrictPublicBuckets) {
		t.Errorf("%+v, %v", got, err)
	} else if _, err := c.PutPublicAccessBlock(ctx, &awss3.PutPublicAccessBlockInput{Bucket: sales, PublicAccessBlockConfiguration: got.PublicAccessBlockConfiguration}); err != nil {
		t.Error(err)
	}
	if got, err := c.GetBucketPolicyStatus(ctx, &awss3.GetBucketPolicyStatusInput{Bucket: sales}); err != nil || aws.ToBool(got.PolicyStatus.IsPublic) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := c.GetBucketRequestPayment(ctx, &awss3.GetBucketRequestPaymentInput{Bucket: sales}); err != nil || got.Payer != types.PayerBucketOwner {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := c.GetBucketLogging(ctx, &awss3.GetBucketLoggingInput{Bucket: sales}); err != nil || got.LoggingEnabled != nil {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := c.GetBucketAccelerateConfiguration(ctx, &awss3.GetBucketAccelerateConfigurationInput{Bucket: sales}); err != nil || got.Status != "" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := c.GetBucketNotificationConfiguration(ctx, &awss3.GetBucketNotificationConfigurationInput{Bucket: sales}); err != nil || len(got.QueueConfigurations) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := c.PutBucketNotificationConfiguration(ctx, &awss3.PutBucketNotificationConfigurationInput{Bucket: sales, NotificationConfiguration: &types.NotificationConfiguration{}}); err != nil {
		t.Error(err)
	}
	if got, err := c.ListBucketMetricsConfigurations(ctx, &awss3.ListBucketMetricsConfigurationsInput{Bucket: sales}); err != nil || aws.ToBool(got.IsTruncated) {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = c.GetBucketLifecycleConfiguration(ctx, &awss3.GetBucketLifecycleConfigurationInput{Bucket: sales})
	wantCode(t, err, "NoSuchLifecycleConfiguration", 404)
	_, err = c.GetBucketWebsite(ctx, &awss3.GetBucketWebsiteInput{Bucket: sales})
	wantCode(t, err, "NoSuchWebsiteConfiguration", 404)
	_, err = c.GetBucketReplication(ctx, &awss3.GetBucketReplicationInput{Bucket: sales})
	wantCode(t, err, "ReplicationConfigurationNotFoundError", 404)
	_, err = c.GetBucketEncryption(ctx, &awss3.GetBucketEncryptionInput{Bucket: sales})
	wantCode(t, err, "ServerSideEncryptionConfigurationNotFoundError", 404)
	_, err = c.GetBucketInventoryConfiguration(ctx, &awss3.GetBucketInventoryConfigurationInput{Bucket: sales, Id: aws.String("i")})
	wantCode(t, err, "NoSuchConfiguration", 404)
	_, err = c.PutBucketLifecycleConfiguration(ctx, &awss3.PutBucketLifecycleConfigurationInput{Bucket: sales})
	wantCode(t, err, "NotImplemented", 501)
	for _, remove := range []string{"lifecycle", "website", "replication", "encryption", "ownershipControls", "publicAccessBlock", "tagging"} {
		if res, body := send(t, w.request(t, "DELETE", "/sales?"+remove, "", nil)); res.StatusCode != 204 {
			t.Errorf("DELETE ?%s: %d %s", remove, res.StatusCode, body)
		}
	}
}

func TestTagsOfABucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, c := context.Background(), client(w.http, alice)
	_, err := c.GetBucketTagging(ctx, &awss3.GetBucketTaggingInput{Bucket: sales})
	wantCode(t, err, "NoSuchTagSet", 404)
	if _, err := c.PutBucketTagging(ctx, &awss3.PutBucketTaggingInput{Bucket: sales, Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("team"), Value: aws.String("red")}}}}); err != nil {
		t.Fatal(err)
	}
	if got, err := c.GetBucketTagging(ctx, &awss3.GetBucketTaggingInput{Bucket: sales}); err != nil || len(got.TagSet) != 1 || *got.TagSet[0].Value != "red" {
		t.Errorf("%+v, %v", got, err)
	}
	made := &awss3.CreateBucketInput{Bucket: aws.String("tagged"), CreateBucketConfiguration: &types.CreateBucketConfiguration{Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}}}}
	w.forbid("s3:TagResource tagged")
	_, err = c.CreateBucket(ctx, made)
	wantCode(t, err, "AccessDenied", 403)
	w.forbid()
	if _, err := c.CreateBucket(ctx, made); err != nil {
		t.Fatal(err)
	}
	if got, err := c.GetBucketTagging(ctx, &awss3.GetBucketTaggingInput{Bucket: made.Bucket}); err != nil || len(got.TagSet) != 1 || *got.TagSet[0].Value != "blue" {
		t.Errorf("%+v, %v", got, err)
	}
}

// Answers of the gateway's own say no more than the store and the policy let be
// known.
func TestAnswersOfOurOwnRevealNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(t, "sales", "report", "v")
	refused(t, w.request(t, "GET", "/not-made?acl", "", nil), 404, "NoSuchBucket")
	refused(t, w.request(t, "GET", "/not-made/k?acl", "", nil), 404, "NoSuchBucket")
	refused(t, w.request(t, "GET", "/not-made?lifecycle", "", nil), 404, "NoSuchBucket")
	refused(t, w.request(t, "GET", "/unplaced?acl", "", nil), 404, "NoSuchBucket")
	w.forbid("s3:ListBucket *")
	for _, sub := range []string{"acl", "tagging", "retention", "legal-hold"} {
		refused(t, w.request(t, "GET", "/sales/missing?"+sub, "", nil), 403, "AccessDenied")
	}
	refused(t, w.request(t, "GET", "/sales/missing?attributes", "", func(r *http.Request) { r.Header.Set("X-Amz-Object-Attributes", "ETag") }), 403, "AccessDenied")
	w.forbid("s3:Get* *")
	for _, target := range []string{"/sales?acl", "/sales/report?acl", "/sales?lifecycle", "/sales?publicAccessBlock", "/not-made?acl", "/sales?versioning", "/sales?encryption", "/sales/report?retention"} {
		refused(t, w.request(t, "GET", target, "", nil), 403, "AccessDenied")
	}
	w.forbid("s3:Put* *")
	for target, body := range map[string]string{
		"/sales?ownershipControls": "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>",
		"/sales?versioning":        "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
		"/sales/report?legal-hold": "<LegalHold><Status>OFF</Status></LegalHold>",
	} {
		refused(t, w.request(t, "PUT", target, body, nil), 403, "AccessDenied")
	}
	refused(t, w.request(t, "DELETE", "/sales?lifecycle", "", nil), 403, "AccessDenied")
}

// customerKey is a key as SSE-C wants it: base64, with the digest of its bytes.
func customerKey() (key, digest string) {
	raw := []byte(strings.Repeat("k", 32))
	sum := md5.Sum(raw)
	return base64.StdEncoding.EncodeToString(raw), base64.StdEncoding.EncodeToString(sum[:])
}

func TestEncryptionThatARequestChooses(t *testing.T) {
	t.Parallel()
	var seen *s3.Outgoing
	store := answers(func(out *s3.Outgoing) (*http.Response, error) { seen = out; return response(200, "", nil), nil })
	key, digest := customerKey()
	const sse = "X-Amz-Server-Side-Encryption"
	own := map[string]string{sse + "-Customer-Algorithm": "AES256", sse + "-Customer-Key": key, sse + "-Customer-Key-Md5": digest}
	for name, c := range map[string]struct {
		offered s3.Encryption
		method  string
		headers map[string]string
		want    string // code, or the header that goes on
	}{
		"AES256":                   {s3.EncryptAES256, "PUT", map[string]string{sse: "AES256"}, sse},
		"AES256, only keys":        {s3.EncryptKMS, "PUT", map[string]string{sse: "AES256"}, "NotImplemented"},
		"nothing offered":          {0, "PUT", map[string]string{sse: "AES256"}, "NotImplemented"},
		"a key of the service":     {s3.EncryptKMS, "PUT", map[string]string{sse: "aws:kms", sse + "-Aws-Kms-Key-Id": "k"}, sse + "-Aws-Kms-Key-Id"},
		"a key without method":     {s3.EncryptAny, "PUT", map[string]string{sse + "-Aws-Kms-Key-Id": "k"}, "InvalidArgument"},
		"own key":                  {s3.EncryptCustomerKey, "PUT", own, sse + "-Customer-Key"},
		"own key, read":            {s3.EncryptCustomerKey, "GET", own, sse + "-Customer-Key"},
		"own key, not offered":     {s3.EncryptAES256 | s3.EncryptKMS, "GET", own, "NotImplemented"},
		"own key, wrong digest":    {s3.EncryptAny, "GET", with(own, sse+"-Customer-Key-Md5", "x"), "InvalidArgument"},
		"own key, too short":       {s3.EncryptAny, "GET", with(own, sse+"-Customer-Key", "a2V5"), "InvalidArgument"},
		"own key, other algorithm": {s3.EncryptAny, "GET", with(own, sse+"-Customer-Algorithm", "AES128"), "InvalidEncryptionAlgorithmError"},
		"own key, half":            {s3.EncryptAny, "GET", map[string]string{sse + "-Customer-Key": key}, "InvalidArgument"},
		"both":                     {s3.EncryptAny, "PUT", with(own, sse, "AES256"), "InvalidArgument"},
		"method on a read":         {s3.EncryptAny, "GET", map[string]string{sse: "AES256"}, "InvalidArgument"},
		"storage class":            {0, "PUT", map[string]string{"X-Amz-Storage-Class": "GLACIER"}, "X-Amz-Storage-Class"},
		"storage class not there":  {0, "PUT", map[string]string{"X-Amz-Storage-Class": "SNOW"}, "InvalidStorageClass"},
	} {
		t.Run(name, func(t *testing.T) {
			w := before(t, store, func(g *gateway.Config) {
				g.Stores = map[string]gateway.Store{"embedded": {Upstream: store, Encryption: c.offered, StorageClasses: []string{"GLACIER"}}}
			})
			seen = nil
			_, body := send(t, w.request(t, c.method, "/sales/k", "", func(r *http.Request) {
				for name, value := range c.headers {
					r.Header.Set(name, value)
				}
			}))
			switch {
			case strings.HasPrefix(c.want, "X-"):
				if seen == nil || len(seen.Header[c.want]) != 1 || seen.Header[c.want][0] != c.headers[c.want] {
					t.Errorf("%s did not go on: %+v %s", c.want, seen, body)
				}
			case !strings.Contains(body, "<Code>"+c.want+"</Code>") || seen != nil:
				t.Errorf("%s, want %s; sent %v", body, c.want, seen)
			}
			if strings.Contains(w.log.String(), key) || strings.Contains(body, key) {
				t.Error("the customer's key is shown")
			}
		})
	}
}

func with(m map[string]string, name, value string) map[string]string {
	out := map[string]string{name: value}
	for k, v := range m {
		if k != name {
			out[k] = v
		}
	}
	return out
}

// A customer's key that crossed a wire in the open is refused before anything.
func TestCustomerKeysInTheOpenAreRefused(t *testing.T) {
	t.Parallel()
	store := answers(func(*s3.Outgoing) (*http.Response, error) { return response(200, "", nil), nil })
	key, digest := customerKey()
	for _, prefix := range []string{"X-Amz-Server-Side-Encryption", "X-Amz-Copy-Source-Server-Side-Encryption"} {
		w := before(t, store, func(g *gateway.Config) {
			g.Stores = map[string]gateway.Store{"embedded": {Upstream: store, Encryption: s3.EncryptAny}}
			g.Source = func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.1") }
		})
		refused(t, w.request(t, "PUT", "/sales/k", "", func(r *http.Request) {
			r.Header.Set("X-Amz-Copy-Source", "/sales/from")
			r.Header.Set(prefix+"-Customer-Algorithm", "AES256")
			r.Header.Set(prefix+"-Customer-Key", key)
			r.Header.Set(prefix+"-Customer-Key-Md5", digest)
		}), 400, "InvalidRequest")
		if len(w.asked()) != 0 {
			t.Errorf("%s: a decision was asked", prefix)
		}
	}
}

func TestDefaultEncryptionGoesToAStoreThatHasIt(t *testing.T) {
	t.Parallel()
	var seen *s3.Outgoing
	store := answers(func(out *s3.Outgoing) (*http.Response, error) { seen = out; return response(200, "", nil), nil })
	const document = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"
	for offered, sent := range map[s3.Encryption]bool{s3.EncryptKMS: true, s3.EncryptAES256: false, s3.EncryptCustomerKey: false, 0: false} {
		w := before(t, store, func(g *gateway.Config) {
			g.Stores = map[string]gateway.Store{"embedded": {Upstream: store, Encryption: offered}}
		})
		seen = nil
		req := w.request(t, "PUT", "/sales?encryption", document, nil)
		if !sent {
			refused(t, req, 501, "NotImplemented")
			continue
		}
		if res, body := send(t, req); res.StatusCode != 200 || seen == nil || seen.Header["Content-Md5"] == nil || string(seen.Document) == document {
			t.Errorf("%v: %d %s, sent %+v", offered, res.StatusCode, body, seen)
		}
	}
}
