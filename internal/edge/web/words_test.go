package web

import (
	"os"
	"regexp"
	"testing"

	"carnet.dev/carnet/internal/protocol/openid"
	"carnet.dev/carnet/internal/service/login"
)

// TestEveryCheckHasWords: a report names no check by its code alone.
func TestEveryCheckHasWords(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile("../../protocol/saml/checks.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`= +"(saml\.[a-z0-9-]+)"`).FindAllSubmatch(src, -1)
	if len(codes) < 30 {
		t.Fatalf("only %d codes in checks.go", len(codes))
	}
	notOfResponses := map[string]bool{"saml.query": true, "saml.metadata": true}
	for _, c := range codes {
		if _, ok := checkWords[string(c[1])]; !ok && !notOfResponses[string(c[1])] {
			t.Errorf("check %s has no words", c[1])
		}
	}
	for _, code := range append(openid.Checks(), login.CheckAnswerIssuer, login.CheckAnswer, login.CheckCode, login.CheckUserInfo, login.CheckSubject) {
		if _, ok := checkWords[code]; !ok {
			t.Errorf("check %s has no words", code)
		}
	}
}
