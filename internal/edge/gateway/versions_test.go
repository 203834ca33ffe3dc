package gateway_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"carnet.dev/carnet/internal/edge/storeproc/storetest"
)

var sales, report = aws.String("sales"), aws.String("report")

func put(t *testing.T, c *awss3.Client, bucket, key *string, content string) *awss3.PutObjectOutput {
	t.Helper()
	out, err := c.PutObject(context.Background(), &awss3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader(content)})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestVersions(t *testing.T) {
	t.Parallel()
	w := worldOf(t, storetest.StartVersioned(t))
	ctx, c := context.Background(), client(w.http, alice)
	if _, err := c.PutBucketVersioning(ctx, &awss3.PutBucketVersioningInput{Bucket: sales, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}}); err != nil {
		t.Fatal(err)
	}
	if got, err := c.GetBucketVersioning(ctx, &awss3.GetBucketVersioningInput{Bucket: sales}); err != nil || got.Status != types.BucketVersioningStatusEnabled {
		t.Fatalf("%+v, %v", got, err)
	}
	first, second := put(t, c, sales, report, "one").VersionId, put(t, c, sales, report, "two").VersionId
	if first == nil || second == nil || *first == *second {
		t.Fatalf("versions %v, %v", first, second)
	}
	gone, err := c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: sales, Key: report})
	if err != nil || !aws.ToBool(gone.DeleteMarker) || gone.VersionId == nil {
		t.Fatalf("%+v, %v", gone, err)
	}
	res, _ := send(t, w.request(t, "GET", "/sales/report", "", nil))
	if res.StatusCode != 404 || res.Header.Get("X-Amz-Delete-Marker") != "true" {
		t.Errorf("GET of what is deleted: %d %v", res.StatusCode, res.Header)
	}
	refused(t, w.request(t, "GET", "/sales/report?versionId="+*gone.VersionId, "", nil), 405, "MethodNotAllowed")
	refused(t, w.request(t, "GET", "/sales/report?acl&versionId="+*gone.VersionId, "", nil), 405, "MethodNotAllowed")

	w.forbid()
	get, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: sales, Key: report, VersionId: first})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(get.Body); err != nil || string(b) != "one" || aws.ToString(get.VersionId) != *first {
		t.Errorf("%s %v, %v", b, get.VersionId, err)
	}
	if asked := w.asked(); len(asked) != 1 || asked[0].Action != "s3:GetObjectVersion" {
		t.Errorf("asked %v", asked)
	}
	attributes, err := c.GetObjectAttributes(ctx, &awss3.GetObjectAttributesInput{Bucket: sales, Key: report, VersionId: second, ObjectAttributes: []types.ObjectAttributes{types.ObjectAttributesObjectSize, types.ObjectAttributesEtag}})
	if err != nil || aws.ToInt64(attributes.ObjectSize) != 3 || attributes.ETag == nil {
		t.Errorf("attributes %+v, %v", attributes, err)
	}
	if _, err := c.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: sales, Key: aws.String("copy"), CopySource: aws.String("sales/report?versionId=" + *first)}); err != nil {
		t.Error(err)
	}
	listed, err := c.ListObjectVersions(ctx, &awss3.ListObjectVersionsInput{Bucket: sales, Prefix: report})
	if err != nil || len(listed.Versions) != 2 || len(listed.DeleteMarkers) != 1 {
		t.Fatalf("%+v, %v", listed, err)
	}
	// Whoever may delete may not for that reason delete for good.
	w.forbid("s3:DeleteObjectVersion *")
	_, err = c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: sales, Key: report, VersionId: second})
	wantCode(t, err, "AccessDenied", 403)
	w.forbid()
	out, err := c.DeleteObjects(ctx, &awss3.DeleteObjectsInput{Bucket: sales, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: report, VersionId: gone.VersionId}, {Key: report, VersionId: second}}}})
	if err != nil || len(out.Errors) != 0 || len(out.Deleted) != 2 {
		t.Fatalf("%+v, %v", out, err)
	}
	if head, err := c.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: sales, Key: report}); err != nil || aws.ToString(head.VersionId) != *first {
		t.Errorf("what is left: %+v, %v", head, err)
	}
}

func TestEmbeddedStoreHasNoVersioning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, c := context.Background(), client(w.http, alice)
	_, err := c.PutBucketVersioning(ctx, &awss3.PutBucketVersioningInput{Bucket: sales, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	wantCode(t, err, "NotImplemented", 501)
	if err == nil || !strings.Contains(err.Error(), "PutBucketVersioning") || strings.Contains(w.log.String(), "refuses or fails") {
		t.Errorf("%v", err)
	}
	if got, err := c.GetBucketVersioning(ctx, &awss3.GetBucketVersioningInput{Bucket: sales}); err != nil || got.Status != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestObjectLock(t *testing.T) {
	t.Parallel()
	w := worldOf(t, storetest.StartVersioned(t))
	ctx, c := context.Background(), client(w.http, alice)
	vault, until := aws.String("vault"), time.Now().Add(48*time.Hour).UTC().Truncate(time.Second)
	if _, err := c.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: vault, ObjectLockEnabledForBucket: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutObjectLockConfiguration(ctx, &awss3.PutObjectLockConfigurationInput{Bucket: vault, ObjectLockConfiguration: &types.ObjectLockConfiguration{
		ObjectLockEnabled: types.ObjectLockEnabledEnabled, Rule: &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: types.ObjectLockRetentionModeGovernance, Days: aws.Int32(1)}},
	}}); err != nil {
		t.Fatal(err)
	}
	if got, err := c.GetObjectLockConfiguration(ctx, &awss3.GetObjectLockConfigurationInput{Bucket: vault}); err != nil || aws.ToInt32(got.ObjectLockConfiguration.Rule.DefaultRetention.Days) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	locked := &awss3.PutObjectInput{Bucket: vault, Key: report, Body: strings.NewReader("kept"), ObjectLockMode: types.ObjectLockModeGovernance, ObjectLockRetainUntilDate: &until, ObjectLockLegalHoldStatus: types.ObjectLockLegalHoldStatusOn}
	for _, action := range []string{"s3:PutObjectRetention", "s3:PutObjectLegalHold"} {
		w.forbid(action + " *")
		_, err := c.PutObject(ctx, locked)
		wantCode(t, err, "AccessDenied", 403)
	}
	w.forbid()
	made, err := c.PutObject(ctx, locked)
	if err != nil {
		t.Fatal(err)
	}
	days := ""
	for _, v := range w.asked()[0].Context {
		if v.Key == "s3:object-lock-remaining-retention-days" {
			days = v.Values[0]
		}
	}
	if days != "2" {
		t.Errorf("remaining days %q", days)
	}
	if got, err := c.GetObjectRetention(ctx, &awss3.GetObjectRetentionInput{Bucket: vault, Key: report}); err != nil || !aws.ToTime(got.Retention.RetainUntilDate).Equal(until) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := c.GetObjectLegalHold(ctx, &awss3.GetObjectLegalHoldInput{Bucket: vault, Key: report}); err != nil || got.LegalHold.Status != types.ObjectLockLegalHoldStatusOn {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := c.PutObjectLegalHold(ctx, &awss3.PutObjectLegalHoldInput{Bucket: vault, Key: report, LegalHold: &types.ObjectLockLegalHold{Status: types.ObjectLockLegalHoldStatusOff}}); err != nil {
		t.Error(err)
	}
	later := until.Add(time.Hour)
	if _, err := c.PutObjectRetention(ctx, &awss3.PutObjectRetentionInput{Bucket: vault, Key: report, Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: &later}}); err != nil {
		t.Error(err)
	}
	// Without the header the store keeps it, whoever asks.
	del := &awss3.DeleteObjectInput{Bucket: vault, Key: report, VersionId: made.VersionId}
	_, err = c.DeleteObject(ctx, del)
	wantCode(t, err, "AccessDenied", 403)
	if err == nil || !strings.Contains(err.Error(), "protected by object lock") {
		t.Errorf("the reason is missing: %v", err)
	}
	// With it the policy decides.
	del.BypassGovernanceRetention = aws.Bool(true)
	w.forbid("s3:BypassGovernanceRetention *")
	_, err = c.DeleteObject(ctx, del)
	wantCode(t, err, "AccessDenied", 403)
	batch := &awss3.DeleteObjectsInput{Bucket: vault, BypassGovernanceRetention: aws.Bool(true), Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: report, VersionId: made.VersionId}}}}
	if out, err := c.DeleteObjects(ctx, batch); err != nil || len(out.Errors) != 1 || len(out.Deleted) != 0 {
		t.Errorf("batch: %+v, %v", out, err)
	}
	_, err = c.PutObjectRetention(ctx, &awss3.PutObjectRetentionInput{Bucket: vault, Key: report, BypassGovernanceRetention: aws.Bool(true), Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: &until}})
	wantCode(t, err, "AccessDenied", 403)
	w.forbid()
	if out, err := c.DeleteObjects(ctx, batch); err != nil || len(out.Deleted) != 1 {
		t.Errorf("batch: %+v, %v", out, err)
	}
}

// A lock or a version beside a key with a last slash would belong to another
// object of a store on a disk, or to none.
func TestLocksOfFoldersAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(t, "sales", "f", "v")
	for _, target := range []string{"GET /sales/f/?retention", "GET /sales/f/?legal-hold", "GET /sales/f/?versionId=v", "DELETE /sales/f/?versionId=v"} {
		method, path, _ := strings.Cut(target, " ")
		refused(t, w.request(t, method, path, "", nil), 400, "InvalidURI")
	}
	refused(t, w.request(t, "PUT", "/sales/f/", "", func(r *http.Request) { r.Header.Set("X-Amz-Object-Lock-Legal-Hold", "ON") }), 400, "InvalidURI")
	if asked := w.asked(); len(asked) != 0 {
		t.Errorf("decisions were asked: %v", asked)
	}
}
