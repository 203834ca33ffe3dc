package withdrawal

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"carnet.dev/carnet/internal/core/fault"
)

func at(s int64) time.Time { return time.Unix(1_700_000_000+s, 0).UTC() }

func byName(name string, cut, ends int64) Deny {
	return Deny{Form: ByName, Value: name, Cut: at(cut), Ends: at(ends)}
}

func bySubject(subject string, cut, ends int64) Deny {
	return Deny{Form: BySubject, Value: "carnet.example.com/oidc " + subject, Cut: at(cut), Ends: at(ends)}
}

// TestPolicyText pins what AWS reads.
func TestPolicyText(t *testing.T) {
	t.Parallel()
	got := render([]Deny{byName("ann@example.com", 0, 100), bySubject("user:psn_a", 0, 100), {Form: All, Cut: at(5), Ends: at(200)}})
	want := `{"Version":"2012-10-17","Statement":[` +
		`{"Sid":"CarnetRevocation1700000100x0","Effect":"Deny","Action":["*"],"Resource":["*"],"Condition":{"DateLessThan":{"aws:TokenIssueTime":["2023-11-14T22:13:20Z"]},"StringLike":{"aws:userid":["*:ann@example.com"]}}},` +
		`{"Sid":"CarnetRevocation1700000100x1","Effect":"Deny","Action":["*"],"Resource":["*"],"Condition":{"DateLessThan":{"aws:TokenIssueTime":["2023-11-14T22:13:20Z"]},"StringEquals":{"carnet.example.com/oidc:sub":["user:psn_a"]}}},` +
		`{"Sid":"CarnetRevocation1700000200x2","Effect":"Deny","Action":["*"],"Resource":["*"],"Condition":{"DateLessThan":{"aws:TokenIssueTime":["2023-11-14T22:13:25Z"]}}}]}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestPolicyIsReadBack: what was written is what is read, in every form, and each
// form denies all that was to be denied.
func TestPolicyIsReadBack(t *testing.T) {
	t.Parallel()
	var denies []Deny
	for i := range int64(40) {
		denies = append(denies, byName(fmt.Sprintf("person-%d", i), i/7, 100+i/5), bySubject(fmt.Sprintf("user:psn_%d", i), i/3, 100))
	}
	denies = union(at(0), denies...)
	for i, text := range forms(denies) {
		read, err := parse(text)
		if err != nil {
			t.Fatalf("form %d: %v\n%s", i, err, text)
		}
		for _, d := range denies {
			if !slices.ContainsFunc(read, func(r Deny) bool {
				return (r.Form == All || r.Form == d.Form && r.Value == d.Value) && !r.Cut.Before(d.Cut) && !r.Ends.Before(d.Ends)
			}) {
				t.Errorf("form %d does not deny %v", i, d)
			}
		}
		again, err := parse(forms(union(at(0), read...))[0])
		if diff := cmp.Diff(union(at(0), read...), union(at(0), again...)); err != nil || diff != "" {
			t.Errorf("form %d changes when it is written again: %v\n%s", i, err, diff)
		}
	}
}

func TestUnion(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct{ in, want []Deny }{
		"ended ones go":                   {[]Deny{byName("a", -10, 0), byName("b", -10, 1)}, []Deny{byName("b", -10, 1)}},
		"the later cut and end":           {[]Deny{byName("a", 5, 50), byName("a", 7, 40)}, []Deny{byName("a", 7, 50)}},
		"all keys cover older names":      {[]Deny{byName("a", 5, 50), {Form: All, Cut: at(5), Ends: at(50)}}, []Deny{{Form: All, Cut: at(5), Ends: at(50)}}},
		"but not a later cut":             {[]Deny{byName("a", 6, 50), {Form: All, Cut: at(5), Ends: at(50)}}, []Deny{{Form: All, Cut: at(5), Ends: at(50)}, byName("a", 6, 50)}},
		"nor what ends later":             {[]Deny{byName("a", 4, 60), {Form: All, Cut: at(5), Ends: at(50)}}, []Deny{byName("a", 4, 60), {Form: All, Cut: at(5), Ends: at(50)}}},
		"names and subjects are not same": {[]Deny{byName("a", 1, 9), bySubject("user:psn_a", 1, 9)}, []Deny{byName("a", 1, 9), bySubject("user:psn_a", 1, 9)}},
	} {
		if diff := cmp.Diff(x.want, union(at(0), x.in...)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestAttackSessionNameWidensTheDeny: a name or subject that would mean more than
// itself in a condition is refused, and never written.
func TestAttackSessionNameWidensTheDeny(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"*", "a*", "a?b", "${aws:userid}", "a:b", "a b", `a"b`, "a\\b", "é", "a\nb", "", "a", strings.Repeat("a", 65)} {
		if byName(name, 0, 1).check() == nil {
			t.Errorf("the name %q is taken", name)
		}
		text := render([]Deny{byName(name, 0, 1)})
		if _, err := parse(text); err == nil {
			t.Errorf("a policy with the name %q is read as ours", name)
		}
	}
	for _, subject := range []string{"*", "user:psn_*", "user:*", "carnet:revocation", "user:psn_a b", "user:${saml:sub}", "user:psn_"} {
		if bySubject(subject, 0, 1).check() == nil {
			t.Errorf("the subject %q is taken", subject)
		}
	}
	for _, issuer := range []string{"", "*", "a b", "${x}", `a"`} {
		if (Deny{Form: BySubject, Value: issuer + " user:psn_a"}).check() == nil {
			t.Errorf("the issuer %q is taken", issuer)
		}
	}
}

// TestAttackPolicyOfAnother: a policy that Carnet did not write exactly so is no
// Carnet's, whatever it is called.
func TestAttackPolicyOfAnother(t *testing.T) {
	t.Parallel()
	ours := render([]Deny{byName("ann", 0, 100)})
	for name, text := range map[string]string{
		"an Allow":          strings.Replace(ours, `"Deny"`, `"Allow"`, 1),
		"another Sid":       strings.Replace(ours, "CarnetRevocation1", "Theirs1", 1),
		"no Sid":            strings.Replace(ours, `"Sid":"CarnetRevocation1700000100x0",`, "", 1),
		"less is denied":    strings.Replace(ours, `"Action":["*"]`, `"Action":["s3:*"]`, 1),
		"another resource":  strings.Replace(ours, `"Resource":["*"]`, `"Resource":["arn:aws:s3:::x"]`, 1),
		"a further key":     strings.Replace(ours, `"Condition":{`, `"Condition":{"Bool":{"aws:SecureTransport":["true"]},`, 1),
		"another key":       strings.Replace(ours, "aws:userid", "aws:username", 1),
		"another operator":  strings.Replace(ours, "StringLike", "StringNotLike", 1),
		"no time":           strings.Replace(ours, `"DateLessThan":{"aws:TokenIssueTime":["2023-11-14T22:13:20Z"]},`, "", 1),
		"a further element": strings.Replace(ours, `"Effect"`, `"NotAction":["iam:*"],"Effect"`, 1),
		"another statement": strings.Replace(ours, `]}`, `]},{"Sid":"X","Effect":"Allow","Action":["*"],"Resource":["*"]}`, 1),
		"text behind":       ours + "{}",
		"another version":   strings.Replace(ours, "2012-10-17", "2008-10-17", 1),
		"no policy":         "x",
	} {
		if text == ours {
			t.Errorf("%s: the test changes nothing", name)
		}
		if _, err := parse(text); fault.KindOf(err) != fault.Misconfigured {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
}

// FuzzPolicy: whatever an account's policy says, it is read as nothing or as denies
// that Carnet could have written, and written again it says the same.
func FuzzPolicy(f *testing.F) {
	f.Add(render([]Deny{byName("ann@example.com", 0, 100), bySubject("user:psn_a", 3, 100), {Form: All, Cut: at(5), Ends: at(200)}}))
	f.Add(`{"Version":"2012-10-17","Statement":[]}`)
	f.Add(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		read, err := parse(text)
		if err != nil {
			return
		}
		for _, d := range read {
			if d.check() != nil {
				t.Fatalf("%q is read as %v", text, d)
			}
		}
		same, err := parse(render(union(time.Time{}, read...)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(union(time.Time{}, read...), union(time.Time{}, same...)); diff != "" {
			t.Fatal(diff)
		}
		if !json.Valid([]byte(render(read))) {
			t.Fatal("no JSON")
		}
	})
}
