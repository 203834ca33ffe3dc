package server_test

import (
	"strings"
	"testing"
)

// TestAttackTrailThroughGateway: whoever is in the trail can't reach the bucket that it
// is kept in, whatever their role allows.
func TestAttackTrailThroughGateway(t *testing.T) {
	t.Parallel()
	p := observed(t, replace("writes: on}", "writes: on, targets: [{name: trail, kind: s3, upstream: disk, bucket: audit-trail, prefix: carnet}]}"))
	_, k := p.first(t)
	id := p.denied(t, k, "audit-trail", "carnet/a.jsonl.gz")
	var text string
	soon(t, "the denial to be kept", func() bool {
		o := p.carnet(t, "explain", id)
		text = o.out
		return o.code == 0
	})
	if !strings.Contains(text, "keeps its audit trail there") {
		t.Errorf("explained as\n%s", text)
	}
}
