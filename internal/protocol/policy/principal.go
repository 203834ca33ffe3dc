package policy

import (
	"strings"
)

// Principal is who asks, under every name a policy may know them by. Fields
// that do not apply are empty and match nothing.
type Principal struct {
	Account    string // 12 digits
	ARN        string // of the role or user
	SessionARN string // of the role session or the federated user
	UniqueID   string // AROA… or AIDA…: of the role or user
	Provider   string // ARN of the federated provider, when STS asks
	Service    string // as in ec2.amazonaws.com
}

// grant says how directly a Principal element names the one who asks. The
// order is one of strength.
type grant uint8

const (
	notNamed     grant = iota
	byDelegation       // the account: its own identity policies decide
	asPrincipal        // the role, the provider, or everybody
	asSession          // the session or a user: boundary and session policy do not limit it
)

type principals struct {
	not     bool
	all     bool // "*"
	allAWS  bool // {"AWS": "*"}: all but those who come with a provider's word alone
	entries []principalEntry
}

type principalEntry struct {
	kind   principalKind
	text   string
	pinned bool
	id     string // where pinned: the only unique id that matches
}

type principalKind uint8

const (
	byAccount principalKind = iota
	byARN
	bySessionARN
	byUniqueID
	byProvider
	byService
)

func (p *principals) everybody() bool {
	return !p.not && (p.all || p.allAWS) && len(p.entries) == 0
}

// names gives how strongly entry e names w.
func (e *principalEntry) names(w *Principal) grant {
	ok, strength := false, asPrincipal
	switch e.kind {
	case byAccount:
		ok, strength = e.text == w.Account, byDelegation
	case byARN:
		ok = e.text == w.ARN && (!e.pinned || e.id != "" && e.id == w.UniqueID)
		if w.SessionARN == "" && strings.HasPrefix(e.text[strings.LastIndexByte(e.text, ':')+1:], "user/") {
			strength = asSession // the user's own keys, and not a federated user's
		}
	case bySessionARN:
		ok, strength = e.text == w.SessionARN, asSession
	case byUniqueID:
		ok = e.text == w.UniqueID
	case byProvider:
		ok = e.text == w.Provider
	case byService:
		ok = e.text == w.Service
	}
	if !ok || e.text == "" {
		return notNamed
	}
	return strength
}

// match gives how strongly the element names w; for NotPrincipal, whether it
// leaves w unnamed. NotPrincipal stands with Deny only, and AWS looks at the
// account, then at the role, then at the session: who is not listed at each
// of these levels is denied.
func (p *principals) match(w *Principal) grant {
	if p.not {
		if p.all || p.allAWS || p.listsAll(w) {
			return notNamed
		}
		return asPrincipal
	}
	best := notNamed
	if p.all || p.allAWS && w.ARN != "" {
		best = asPrincipal
	}
	for i := range p.entries {
		best = max(best, p.entries[i].names(w))
	}
	return best
}

func (p *principals) listsAll(w *Principal) bool {
	account, principal, session := w.Account == "", w.ARN == "", w.SessionARN == ""
	named := false
	for i := range p.entries {
		e := &p.entries[i]
		if e.names(w) == notNamed {
			continue
		}
		named = true
		switch e.kind {
		case byAccount:
			account = true
		case byARN, byUniqueID:
			principal = true
		case bySessionARN:
			session = true
		}
	}
	return named && account && principal && session
}
