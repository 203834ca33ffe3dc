package s3

// kept are the rows of what is kept of a bucket beside its store: no store is
// told of a policy, since none is asked for a decision.
var kept = []route{
	{name: GetBucketPolicy, method: "GET", level: onBucket, selectors: []string{"policy"}},
	{name: PutBucketPolicy, method: "PUT", level: onBucket, selectors: []string{"policy"}, body: SmallBody, maxBody: maxXMLBody},
	{name: DeleteBucketPolicy, method: "DELETE", level: onBucket, selectors: []string{"policy"}},
	{name: GetBucketCors, method: "GET", level: onBucket, selectors: []string{"cors"}},
	{name: PutBucketCors, method: "PUT", level: onBucket, selectors: []string{"cors"}, body: SmallBody, maxBody: maxXMLBody},
	{name: DeleteBucketCors, method: "DELETE", level: onBucket, selectors: []string{"cors"}},
}

// formRow is the row of a browser's form, which is found by its Content-Type: its
// credential stands in its fields.
var formRow = route{name: PostObject, method: "POST", level: onBucket, headers: useCreate | useContent | useCustomerKey, body: StreamBody, maxBody: MaxStream}

// Kept reports an operation on what is kept of a bucket beside its store.
func (o *Operation) Kept() bool {
	switch o.Name {
	case GetBucketPolicy, PutBucketPolicy, DeleteBucketPolicy, GetBucketCors, PutBucketCors, DeleteBucketCors:
		return true
	}
	return false
}
