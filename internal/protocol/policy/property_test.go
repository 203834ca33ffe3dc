package policy_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/protocol/policy"
	"pgregory.net/rapid"
)

// The generators draw from small sets on purpose, so that statements meet the
// request often.

type object = map[string]any

var (
	drawAction    = rapid.SampledFrom([]string{"s3:GetObject", "s3:Get*", "s3:*", "*", "s3:PutObject", "s3:?etObject", "ec2:*"})
	drawResource  = rapid.SampledFrom([]string{"*", "arn:aws:s3:::sales/*", "arn:aws:s3:::sales/2026/a.csv", "arn:aws:s3:::hr/*", "arn:aws:s3:::s*", "arn:aws:s3:::sales/${aws:userid}/*", "arn:aws:s3:::sales/${aws:userid, '2026'}/*", "arn:*:s3:::sales/*"})
	drawValue     = rapid.SampledFrom([]string{"a", "b", "10", "true", "10.0.0.1", "2026-03-01", "*", "", "QQ==", "arn:aws:iam::111122223333:role/x"})
	drawKey       = rapid.SampledFrom([]string{"aws:userid", "aws:SourceIp", "aws:PrincipalTag/t", "aws:TagKeys"})
	drawPrincipal = rapid.SampledFrom([]any{"*", object{"AWS": "*"}, object{"AWS": "111122223333"}, object{"AWS": "444455556666"}, object{"AWS": "arn:aws:iam::111122223333:role/data/analyst"}, object{"AWS": "arn:aws:sts::111122223333:assumed-role/analyst/alice"}})
	drawEffect    = rapid.SampledFrom([]string{"Allow", "Allow", "Allow", "Deny"})
	drawOperator  = rapid.SampledFrom([]string{"StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIgnoreCase", "NumericLessThan", "NumericNotEquals", "DateGreaterThan", "Bool", "BinaryEquals", "IpAddress", "NotIpAddress", "ArnLike", "ArnNotLike", "Null"})
)

// operand gives a value that the operator takes.
func operand(t *rapid.T, operator string) string {
	fits := []struct{ word, value string }{
		{"Numeric", "10"}, {"Date", "2026-03-01"}, {"Bool", "true"}, {"Null", "true"},
		{"Binary", "QQ=="}, {"Ip", "10.0.0.0/8"}, {"Arn", "arn:aws:iam::111122223333:role/*"},
	}
	for _, f := range fits {
		if strings.Contains(operator, f.word) {
			return f.value
		}
	}
	return rapid.SampledFrom([]string{"a", "b", "a*", "*", "${aws:userid}", "${aws:PrincipalTag/t}", "${*}"}).Draw(t, "operand")
}

func drawStatement(t *rapid.T, kind policy.Kind) object {
	s := object{"Effect": drawEffect.Draw(t, "effect")}
	s[rapid.SampledFrom([]string{"Action", "Action", "NotAction"}).Draw(t, "a")] = drawAction.Draw(t, "action")
	s[rapid.SampledFrom([]string{"Resource", "Resource", "NotResource"}).Draw(t, "r")] = []any{drawResource.Draw(t, "r1"), drawResource.Draw(t, "r2")}
	if kind == policy.Resource {
		name := "Principal"
		if s["Effect"] == "Deny" && rapid.Bool().Draw(t, "not") {
			name = "NotPrincipal"
		}
		s[name] = drawPrincipal.Draw(t, "principal")
	}
	if rapid.Bool().Draw(t, "conditional") {
		operator := drawOperator.Draw(t, "operator")
		full := operator
		if operator != "Null" {
			full = rapid.SampledFrom([]string{"", "", "ForAllValues:", "ForAnyValue:"}).Draw(t, "prefix") + operator +
				rapid.SampledFrom([]string{"", "", "IfExists"}).Draw(t, "suffix")
		}
		s["Condition"] = object{full: object{drawKey.Draw(t, "key"): operand(t, operator)}}
	}
	return s
}

func drawDocument(t *rapid.T, kind policy.Kind) *policy.Document {
	return document(t, kind, drawStatements(t, kind))
}

func drawStatements(t *rapid.T, kind policy.Kind) []object {
	n := rapid.IntRange(1, 4).Draw(t, "statements")
	var list []object
	for range n {
		list = append(list, drawStatement(t, kind))
	}
	return list
}

func document(t *rapid.T, kind policy.Kind, statements []object) *policy.Document {
	src, err := json.Marshal(object{"Version": "2012-10-17", "Statement": statements})
	if err != nil {
		t.Fatal(err)
	}
	d, err := policy.Parse(kind, "p", src)
	if err != nil {
		t.Fatalf("%v\n%s", err, src)
	}
	return d
}

func drawRequest(t *rapid.T) policy.Request {
	r := defaultRequest()
	r.Resource = rapid.SampledFrom([]string{"arn:aws:s3:::sales/2026/a.csv", "arn:aws:s3:::hr/x", "arn:aws:s3:::sales", "arn:aws:s3:::sales/*/x"}).Draw(t, "resource")
	r.ResourceAccount = rapid.SampledFrom([]string{"111122223333", "444455556666"}).Draw(t, "account")
	for range rapid.IntRange(0, 3).Draw(t, "keys") {
		r.Context.Set(drawKey.Draw(t, "ckey"), rapid.SliceOfN(drawValue, 0, 2).Draw(t, "cvalues")...)
	}
	return r
}

func drawSet(t *rapid.T) policy.Set {
	s := policy.Set{Identity: []*policy.Document{drawDocument(t, policy.Identity)}}
	if rapid.Bool().Draw(t, "bucket") {
		s.Resource = drawDocument(t, policy.Resource)
	}
	if rapid.Bool().Draw(t, "boundary") {
		s.Boundary = drawDocument(t, policy.Boundary)
	}
	if rapid.Bool().Draw(t, "session") {
		s.Session = []*policy.Document{drawDocument(t, policy.Session)}
	}
	if rapid.Bool().Draw(t, "guardrail") {
		s.Guardrails = [][]*policy.Document{{drawDocument(t, policy.Guardrail)}}
	}
	return s
}

func TestExplainEqualsDecide(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		set, r := drawSet(t), drawRequest(t)
		v, e := set.Decide(&r), set.Explain(&r)
		if v != e.Verdict {
			t.Fatalf("Decide %+v, Explain %+v", v, e.Verdict)
		}
		denies := 0
		for _, f := range e.Findings {
			if f.Applies && f.Deny {
				denies++
			}
		}
		if e.Explicit != (denies > 0) || e.Explicit && e.Allow {
			t.Fatalf("%+v with %d denies", e.Verdict, denies)
		}
	})
}

func TestAddingADenyNeverAllowsMore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		set, r := drawSet(t), drawRequest(t)
		statements := drawStatements(t, policy.Identity)
		base := set
		base.Identity = append(base.Identity[:1:1], document(t, policy.Identity, statements))
		extra := drawStatement(t, policy.Identity)
		extra["Effect"] = "Deny"
		more := set
		more.Identity = append(more.Identity[:1:1], document(t, policy.Identity, append(statements, extra)))
		if more.Decide(&r).Allow && !base.Decide(&r).Allow {
			t.Fatalf("a Deny allowed: %v", extra)
		}
	})
}

func TestSessionPolicyAndBoundaryNeverWiden(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		set, r := drawSet(t), drawRequest(t)
		set.Session, set.Boundary, set.Guardrails = nil, nil, nil
		limited := set
		limited.Session = []*policy.Document{drawDocument(t, policy.Session)}
		if limited.Decide(&r).Allow && !set.Decide(&r).Allow {
			t.Fatal("a session policy widened")
		}
		limited = set
		limited.Boundary = drawDocument(t, policy.Boundary)
		if limited.Decide(&r).Allow && !set.Decide(&r).Allow {
			t.Fatal("a boundary widened")
		}
		limited = set
		limited.Guardrails = [][]*policy.Document{{drawDocument(t, policy.Guardrail)}}
		if limited.Decide(&r).Allow && !set.Decide(&r).Allow {
			t.Fatal("a guardrail widened")
		}
	})
}

// TestUnitingChangesNothing but the document that a verdict comes from.
func TestUnitingChangesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		set, r := drawSet(t), drawRequest(t)
		for range rapid.IntRange(1, 3).Draw(t, "more") {
			set.Identity = append(set.Identity, drawDocument(t, policy.Identity))
		}
		one := set
		one.Identity = []*policy.Document{policy.Unite(set.Identity)}
		a, b := set.Decide(&r), one.Decide(&r)
		if a.Allow != b.Allow || a.Explicit != b.Explicit || a.By != b.By {
			t.Fatalf("apart %+v, united %+v", a, b)
		}
		x, y := set.Explain(&r), one.Explain(&r)
		if !slices.Equal(x.Determining, y.Determining) || len(x.Findings) != len(y.Findings) {
			t.Fatalf("apart %q, united %q", x.Determining, y.Determining)
		}
	})
}

func TestLetterCaseOfActionsIsIrrelevant(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		set, r := drawSet(t), drawRequest(t)
		other := r
		other.Action = strings.ToUpper(r.Action)
		if set.Decide(&r) != set.Decide(&other) {
			t.Fatal("letter case changed the decision")
		}
	})
}

// TestSubstitutedTextIsNeverAWildcard puts hostile text into a variable: only
// the resource with exactly that text may be reached.
func TestSubstitutedTextIsNeverAWildcard(t *testing.T) {
	t.Parallel()
	for _, element := range []string{
		`"Resource":"arn:aws:s3:::sales/${aws:userid}/x"`,
		`"Resource":"*","Condition":{"StringLike":{"s3:prefix":"${aws:userid}/x"}}`,
		`"Resource":"*","Condition":{"StringLike":{"s3:prefix":"${aws:nothing, 'y'}/x"},"ArnLike":{"aws:SourceArn":"arn:aws:x:::${aws:userid}/x"}}`,
	} {
		d := mustParse(t, policy.Identity, "p", []byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*",`+element+`}}`))
		set := policy.Set{Identity: []*policy.Document{d}}
		rapid.Check(t, func(t *rapid.T) {
			hostile := rapid.StringOfN(rapid.SampledFrom([]rune("*?${}ay/:'")), 0, 8, -1).Draw(t, "value")
			asked := rapid.StringOfN(rapid.SampledFrom([]rune("*?${}ay/:'")), 0, 8, -1).Draw(t, "asked")
			r := defaultRequest()
			r.Resource = "arn:aws:s3:::sales/" + asked + "/x"
			r.Context.Set("aws:userid", hostile)
			r.Context.Set("s3:prefix", asked+"/x")
			r.Context.Set("aws:SourceArn", "arn:aws:x:::"+asked+"/x")
			if set.Decide(&r).Allow && hostile != asked {
				t.Fatalf("%q reached %q", hostile, asked)
			}
		})
	}
}

// TestGlobEqualsItsDefinition holds the matcher equal to the plain recursive
// definition of * and ?.
func TestGlobEqualsItsDefinition(t *testing.T) {
	t.Parallel()
	var matches func(p, s []rune) bool
	matches = func(p, s []rune) bool {
		switch {
		case len(p) == 0:
			return len(s) == 0
		case p[0] == '*':
			return matches(p[1:], s) || len(s) > 0 && matches(p, s[1:])
		case len(s) == 0:
			return false
		}
		return (p[0] == '?' || p[0] == s[0]) && matches(p[1:], s[1:])
	}
	letters := rapid.SampledFrom([]rune("ab*?é€"))
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SliceOfN(letters, 1, 8).Draw(t, "pattern")
		s := rapid.SliceOfN(letters, 0, 10).Draw(t, "text")
		src, err := json.Marshal(object{"Version": "2012-10-17", "Statement": object{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": object{"StringLike": object{"aws:x": string(p)}}}})
		if err != nil {
			t.Fatal(err)
		}
		d, err := policy.Parse(policy.Identity, "p", src)
		if err != nil {
			t.Fatal(err)
		}
		r := defaultRequest()
		r.Context.Set("aws:x", string(s))
		set := policy.Set{Identity: []*policy.Document{d}}
		if got, want := set.Decide(&r).Allow, matches(p, s); got != want {
			t.Fatalf("%q on %q: got %v, want %v", string(p), string(s), got, want)
		}
	})
}

// TestJSONRoundTripChangesNothing: a policy that was decoded and encoded again,
// with other white space, order of names and escapes, decides as before.
func TestJSONRoundTripChangesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		statements := drawStatements(t, policy.Identity)
		first, err := json.Marshal(object{"Version": "2012-10-17", "Statement": statements})
		if err != nil {
			t.Fatal(err)
		}
		var decoded any
		if err := json.Unmarshal(first, &decoded); err != nil {
			t.Fatal(err)
		}
		second, err := json.MarshalIndent(decoded, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		a, errA := policy.Parse(policy.Identity, "p", first)
		b, errB := policy.Parse(policy.Identity, "p", []byte(strings.ReplaceAll(string(second), "s3:", `\u0073\u0033:`)))
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		r := drawRequest(t)
		x, y := (&policy.Set{Identity: []*policy.Document{a}}).Explain(&r), (&policy.Set{Identity: []*policy.Document{b}}).Explain(&r)
		x.Document, y.Document = nil, nil
		if x.Verdict != y.Verdict || !slices.Equal(x.Determining, y.Determining) {
			t.Fatalf("%+v became %+v", x, y)
		}
	})
}

// TestLetterCaseOfPolicyActionsIsIrrelevant: so too in the policy.
func TestLetterCaseOfPolicyActionsIsIrrelevant(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		statements := drawStatements(t, policy.Identity)
		a := document(t, policy.Identity, statements)
		for _, s := range statements {
			for _, name := range []string{"Action", "NotAction"} {
				if text, ok := s[name].(string); ok {
					s[name] = strings.ToUpper(text)
				}
			}
		}
		b := document(t, policy.Identity, statements)
		r := drawRequest(t)
		v, w := (&policy.Set{Identity: []*policy.Document{a}}).Decide(&r), (&policy.Set{Identity: []*policy.Document{b}}).Decide(&r)
		if v.Allow != w.Allow || v.Explicit != w.Explicit || v.Statement != w.Statement {
			t.Fatalf("%+v became %+v", v, w)
		}
	})
}
