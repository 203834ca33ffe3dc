package withdrawal

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// PolicyName is the one inline policy of a role that Carnet writes.
const PolicyName = "CarnetRevocation"

// MostPolicy is how many characters the inline policies of a role may have at AWS,
// white space aside (IAM User Guide, "IAM and AWS STS quotas").
const MostPolicy = 10240

// Form says what a deny goes by.
type Form string

// The forms.
const (
	ByName    Form = "name"    // Value: the role session name
	BySubject Form = "subject" // Value: issuer without its scheme, a space, the subject
	All       Form = "all"     // Value is empty: every key of the role
)

// Deny refuses older keys of a role.
type Deny struct {
	Form  Form
	Value string
	Cut   time.Time // keys issued before, in whole seconds
	Ends  time.Time // when the last such key must have ended
}

// What AWS may know a session by (STS API Reference: [\w+=,.@-]*, 2 to 64), and the
// subjects of our own tokens. Neither has a character that means more than itself in
// a condition: no *, ? or $.
var (
	sessionNameForm = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{2,64}$`)
	subjectForm     = regexp.MustCompile(`^(user:psn|sp:spn|job:dlg)_[a-z0-9]{1,64}$`)
	issuerForm      = regexp.MustCompile(`^[A-Za-z0-9.:/_-]{1,255}$`)
	sidForm         = regexp.MustCompile(`^CarnetRevocation([0-9]{10,11})x[0-9]{1,4}$`)
)

func (d Deny) check() error {
	issuer, subject, _ := strings.Cut(d.Value, " ")
	switch {
	case d.Form == ByName && sessionNameForm.MatchString(d.Value),
		d.Form == BySubject && issuerForm.MatchString(issuer) && subjectForm.MatchString(subject),
		d.Form == All && d.Value == "":
		return nil
	}
	return fault.New(fault.Internal, fmt.Sprintf("a deny by %s can't go by %q", d.Form, clip(d.Value)))
}

// place is what two denies of a role have in common.
type place struct {
	form  Form
	value string
}

// union gives each deny once, the later cut and end of two, without those that have
// ended or that one of all keys covers, in order.
func union(now time.Time, all ...Deny) []Deny {
	found := map[place]Deny{}
	for _, d := range all {
		if !now.Before(d.Ends) {
			continue
		}
		p := place{d.Form, d.Value}
		if was, ok := found[p]; ok {
			d.Cut, d.Ends = later(d.Cut, was.Cut), later(d.Ends, was.Ends)
		}
		found[p] = d
	}
	whole := found[place{form: All}]
	out := []Deny{}
	for _, d := range found {
		if d.Form == All || d.Cut.After(whole.Cut) || d.Ends.After(whole.Ends) {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b Deny) int {
		if c := a.Cut.Compare(b.Cut); c != 0 {
			return c
		}
		return strings.Compare(string(a.Form)+" "+a.Value, string(b.Form)+" "+b.Value)
	})
	return out
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// policy and its statement are exactly what Carnet writes, and all that it reads.
type policy struct {
	Version   string
	Statement []statement
}

type statement struct {
	Sid, Effect      string
	Action, Resource []string
	Condition        map[string]map[string][]string
}

const (
	keyIssued = "aws:TokenIssueTime"
	keyUser   = "aws:userid"
	asTime    = "2006-01-02T15:04:05Z"
)

// render writes denies as a policy document: one statement for those that go by the
// same key and have the same cut. Names are literal: the forms hold no wildcard.
func render(denies []Deny) string {
	type group struct {
		key string
		cut time.Time
	}
	values, ends := map[group][]string{}, map[group]time.Time{}
	var order []group
	for _, d := range denies {
		g, value := group{cut: d.Cut}, ""
		switch d.Form {
		case ByName:
			g.key, value = keyUser, "*:"+d.Value
		case BySubject:
			issuer, subject, _ := strings.Cut(d.Value, " ")
			g.key, value = issuer+":sub", subject
		}
		if _, ok := ends[g]; !ok {
			order = append(order, g)
		}
		ends[g] = later(ends[g], d.Ends)
		if value != "" {
			values[g] = append(values[g], value)
		}
	}
	p := policy{Version: "2012-10-17"}
	for i, g := range order {
		s := statement{Sid: fmt.Sprintf("%s%010dx%d", PolicyName, ends[g].Unix(), i), Effect: "Deny", Action: []string{"*"}, Resource: []string{"*"},
			Condition: map[string]map[string][]string{"DateLessThan": {keyIssued: {g.cut.UTC().Format(asTime)}}}}
		switch g.key {
		case "":
		case keyUser:
			s.Condition["StringLike"] = map[string][]string{keyUser: values[g]}
		default:
			s.Condition["StringEquals"] = map[string][]string{g.key: values[g]}
		}
		p.Statement = append(p.Statement, s)
	}
	b, _ := json.Marshal(p) // texts, lists and maps always encode
	return string(b)
}

// forms gives the documents that say the denies, from the exact one to the shortest:
// each at its own cut, all at the latest, every older key of the role whoever's.
// Each denies all that the one before does.
func forms(denies []Deny) []string {
	var cut, ends time.Time
	for _, d := range denies {
		cut, ends = later(cut, d.Cut), later(ends, d.Ends)
	}
	same := slices.Clone(denies)
	for i := range same {
		same[i].Cut = cut
	}
	return []string{render(denies), render(same), render([]Deny{{Form: All, Cut: cut, Ends: ends}})}
}

// parse reads what render wrote. A document with anything else in it is somebody
// else's: a fault Misconfigured, and it is left as it is.
func parse(doc string) ([]Deny, error) {
	var p policy
	r := strings.NewReader(doc)
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil || p.Version != "2012-10-17" {
		return nil, foreign()
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, foreign()
	}
	var out []Deny
	for _, s := range p.Statement {
		read, ok := s.denies()
		if !ok {
			return nil, foreign()
		}
		out = append(out, read...)
	}
	return out, nil
}

func foreign() error {
	return fault.Coded(fault.Misconfigured, "revocation.foreign-policy", "the role has an inline policy "+PolicyName+" that Carnet did not write, so it is left as it is").
		WithMend("look at it, and rename or delete it")
}

func (s statement) denies() (out []Deny, ok bool) {
	sid := sidForm.FindStringSubmatch(s.Sid)
	whole := []string{"*"}
	cuts := s.Condition["DateLessThan"][keyIssued]
	if sid == nil || s.Effect != "Deny" || !slices.Equal(s.Action, whole) || !slices.Equal(s.Resource, whole) || len(s.Condition["DateLessThan"]) != 1 || len(cuts) != 1 {
		return nil, false
	}
	cut, err := time.Parse(asTime, cuts[0])
	ends, bad := strconv.ParseInt(sid[1], 10, 64)
	if err != nil || bad != nil {
		return nil, false
	}
	d := Deny{Cut: cut, Ends: time.Unix(ends, 0).UTC()}
	others := maps.Clone(s.Condition)
	delete(others, "DateLessThan")
	if len(others) == 0 {
		d.Form = All
		return []Deny{d}, true
	}
	for operator, keys := range others {
		if len(others) != 1 || len(keys) != 1 {
			return nil, false
		}
		for key, values := range keys {
			for _, v := range values {
				name, isName := strings.CutPrefix(v, "*:")
				issuer, isSubject := strings.CutSuffix(key, ":sub")
				switch {
				case operator == "StringLike" && key == keyUser && isName:
					d.Form, d.Value = ByName, name
				case operator == "StringEquals" && isSubject:
					d.Form, d.Value = BySubject, issuer+" "+v
				default:
					return nil, false
				}
				if d.check() != nil {
					return nil, false
				}
				out = append(out, d)
			}
		}
	}
	return out, len(out) > 0
}
