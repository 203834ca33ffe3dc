package s3_test

import (
	"runtime"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
)

// taken gives how many bytes fn has allocated. No test beside it may run.
func taken(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestAttackFileNameThatFillsAForm: whoever was given a form to upload with could
// have each of its fields become as long as they like, by a long file name where
// the form asks for it again and again.
func TestAttackFileNameThatFillsAForm(t *testing.T) {
	again := strings.Repeat("${filename}", 850)
	var err error
	bytes := taken(func() {
		_, _, err = operationOf(t, strings.Repeat("n", 8<<10), "v", "key", "a", "x-ignore-a", again)
	})
	if err == nil || fault.Of(err).Code != "MaxPostPreDataLengthExceededError" || bytes > 1<<20 {
		t.Errorf("%v, %d bytes taken", err, bytes)
	}
}

// TestAttackBatchOfNothing: a batch is read before anything is decided, so that one
// with half a million empty objects must not be built up.
func TestAttackBatchOfNothing(t *testing.T) {
	body := []byte("<Delete>" + strings.Repeat("<Object/>", 400_000) + "</Delete>")
	var err error
	bytes := taken(func() { _, err = s3.ReadDeletes(body) })
	if err == nil || fault.Of(err).Code != "MalformedXML" || bytes > 1<<20 {
		t.Errorf("%v, %d bytes taken", err, bytes)
	}
}

// TestAttackPreflightOfManyHeaders: a preflight comes from strangers, and each
// header that it names is held against each pattern of each rule.
func TestAttackPreflightOfManyHeaders(t *testing.T) {
	_, err := s3.ReadPreflight("https://a.example", "PUT", []string{strings.Repeat("x-amz-meta-a,", 4000)})
	if err == nil || fault.Of(err).Code != "BadRequest" {
		t.Errorf("4,000 headers: %v", err)
	}
	if h, err := s3.ReadPreflight("https://a.example", "PUT", []string{strings.Repeat("a,", 100)}); err != nil || len(h) != 100 {
		t.Errorf("%d headers, %v", len(h), err)
	}
}
