//go:build interop

package isolation

import (
	"fmt"
	"strings"
	"testing"
)

// TestAttackReusedPort: mallory connects, sends a whole request and resets the
// connection while it stands in the agent's queue; then somebody who is attached
// connects from the very same address. The kernel's table has that one under the
// address now, and mallory's request still lies in the first connection.
func TestAttackReusedPort(t *testing.T) {
	bob, mallory := attached(t, "bob"), stranger(t)
	bob.MustLocal(t, "PUT", "/v1/role", map[string]string{"role": "engineer"}, nil)
	asBob, asMallory := newPuppet(t, bob.Login, nil), newPuppet(t, mallory, nil)
	put := func(key string) []string {
		return []string{"PUT /sales/" + key + " HTTP/1.1", "Host: " + proxy, "Content-Length: 4", "", "mine"}
	}
	get := func(key string) answer {
		c := asBob.do(order{Do: "dial", Network: "tcp", Address: proxy}).On
		return asBob.try(order{Do: "ask", On: c, Lines: []string{"GET /sales/" + key + " HTTP/1.1", "Host: " + proxy}})
	}
	own := asBob.do(order{Do: "dial", Network: "tcp", Address: proxy}).On
	gets(t, "bob writes", asBob.try(order{Do: "ask", On: own, Lines: put(fmt.Sprintf("bob-%d", bob.UID))}))
	gets(t, "bob reads", get(fmt.Sprintf("bob-%d", bob.UID)))

	goOn := stop(t, bob.Node)
	stolen := fmt.Sprintf("stolen-%d", mallory.UID)
	var kept []int
	for i := range 5 {
		from := fmt.Sprintf("127.0.0.9:%d", 20000+i)
		c := asMallory.do(order{Do: "dial", Network: "tcp", Address: proxy, From: from}).On
		asMallory.do(order{Do: "send", On: c, Lines: put(stolen)})
		asMallory.do(order{Do: "reset", On: c})
		kept = append(kept, asBob.do(order{Do: "dial", Network: "tcp", Address: proxy, From: from}).On)
	}
	goOn()
	for _, c := range kept {
		gets(t, "bob, from an address that mallory had", asBob.try(order{Do: "ask", On: c, Lines: []string{"GET /sales HTTP/1.1", "Host: " + proxy}}))
	}
	if a := get(stolen); a.Status != 404 || !strings.Contains(a.Body, "NoSuchKey") {
		t.Errorf("mallory wrote as bob: %d %s %s", a.Status, a.Body, a.Err)
	}
}
