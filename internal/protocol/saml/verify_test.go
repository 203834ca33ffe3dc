package saml_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/protocol/saml"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const requestID = "_request1"

// Keys and corpora are made once: that takes longer than all checks.
var (
	rsaIdP      = sync.OnceValue(func() *forge.IdP { return forge.New(panicking{}, now) })
	otherIdP    = sync.OnceValue(func() *forge.IdP { return forge.New(panicking{}, now) })
	ecdsaIdP    = sync.OnceValue(func() *forge.IdP { return forge.NewECDSA(panicking{}, now) })
	rsaCorpus   = sync.OnceValue(func() []forge.Case { return forge.Corpus(panicking{}, rsaIdP(), requestID, now) })
	ecdsaCorpus = sync.OnceValue(func() []forge.Case { return forge.Corpus(panicking{}, ecdsaIdP(), requestID, now) })
)

// panicking stands for the test where there is none yet.
type panicking struct{ testing.TB }

func (panicking) Helper()                        {}
func (panicking) Fatal(args ...any)              { panic(fmt.Sprint(args...)) }
func (panicking) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

func metadata(tb testing.TB, i *forge.IdP) *saml.Metadata {
	tb.Helper()
	m, err := saml.ParseMetadata(i.Metadata())
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func expect() saml.Expect {
	return saml.Expect{ACS: forge.ACS, Audience: forge.ACS, RequestID: requestID, Skew: saml.DefaultSkew}
}

func TestHonestResponses(t *testing.T) {
	t.Parallel()
	for _, idp := range []*forge.IdP{rsaIdP(), ecdsaIdP()} {
		for _, signed := range [][2]bool{{true, false}, {false, true}, {true, true}} {
			answer := idp.Answer(requestID, now)
			answer.SignAssertion, answer.SignReply = signed[0], signed[1]
			a, err := saml.Verify(idp.Respond(t, answer), metadata(t, idp), expect(), now)
			if err != nil {
				t.Fatalf("assertion signed %v, response signed %v: %v", signed[0], signed[1], err)
			}
			if a.NameID != forge.Subject || a.ID != answer.AssertionID || a.Recipient != forge.ACS || a.InResponseTo != requestID {
				t.Errorf("facts are wrong: %+v", a)
			}
			if signed[1] != (a.ResponseID == answer.ResponseID) || (!signed[1] && a.ResponseID != "") {
				t.Errorf("ResponseID %q with the response signed: %v", a.ResponseID, signed[1])
			}
			if !a.NotOnOrAfter.Equal(answer.NotOnOrAfter) || !a.SessionNotOnOrAfter.Equal(answer.SessionNotOnOrAfter) || !a.IssueInstant.Equal(now) {
				t.Errorf("times are wrong: %+v", a)
			}
			pairs, bad := saml.RolePairs(a)
			if len(pairs) != 1 || len(bad) != 0 || pairs[0].Role.String() != forge.Role || pairs[0].Provider.String() != forge.Provider {
				t.Errorf("role pairs %+v, malformed %+v", pairs, bad)
			}
		}
	}
}
