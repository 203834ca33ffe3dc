package awsquery_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/awsquery"
)

func TestMembers(t *testing.T) {
	t.Parallel()
	p := parse(t, "Tags.member.2.Key=b&Tags.member.1.Key=a&Tags.member.1.Value=&N.member.1=x&Empty=&Also.member=&C.member.1.Values.member.1=v&C.member.1.Values.member.2=w&Tagsx=1")
	tags, err := p.Members("Tags")
	if err != nil || len(tags) != 2 {
		t.Fatal(tags, err)
	}
	first, ok := tags[0].Get("Key")
	if _, valued := tags[0].Get("Value"); first != "a" || !ok || !valued || !slices.Equal(tags[1].Names(), []string{"Key"}) {
		t.Errorf("%v", tags)
	}
	plain, err := p.Members("N")
	if v, _ := plain[0].Get(""); err != nil || v != "x" {
		t.Errorf("%v %v", plain, err)
	}
	for _, name := range []string{"Empty", "Also"} {
		if empty, err := p.Members(name); err != nil || empty == nil || len(empty) != 0 {
			t.Errorf("%s: %v %v", name, empty, err)
		}
	}
	if none, err := p.Members("None"); err != nil || none != nil {
		t.Errorf("%v %v", none, err)
	}
	c, err := p.Members("C")
	if err != nil {
		t.Fatal(err)
	}
	inner, err := c[0].Members("Values")
	if v, _ := inner[1].Get(""); err != nil || v != "w" {
		t.Errorf("%v %v", inner, err)
	}
	for _, bad := range []string{
		"T.member.2=a", "T.member.0=a", "T.member.01=a", "T.member.+1=a", "T.member.x=a", "T.1=a", "T.entry.1=a", "T=a", "T.member=a", "T.member.1=a&T.member.3=b",
		"T.member.1=a&T.member.1.=b", "T.member.99999999999999999999=a",
	} {
		if got, err := parse(t, bad).Members("T"); err == nil {
			t.Errorf("%s: %v", bad, got)
		}
	}
}

// FuzzMembers holds that a list that is read is written back as the same one,
// and that nothing of another name gets into it.
func FuzzMembers(f *testing.F) {
	seeds, err := filepath.Glob("testdata/requests/*")
	if err != nil || len(seeds) == 0 {
		f.Fatal("no seeds:", err)
	}
	for _, s := range seeds {
		b, err := os.ReadFile(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(strings.TrimSpace(string(b)), "Tags")
	}
	f.Add("Tags.member.1.Key=a&Tags.member.1.Value=b&Tags.member.2.Key=c&Tags.member.2.Value=", "Tags")
	f.Add("ContextEntries.member.1.ContextKeyName=aws:SourceIp&ContextEntries.member.1.ContextKeyValues.member.1=10.0.0.1", "ContextEntries")
	f.Fuzz(func(t *testing.T, body, prefix string) {
		p, err := awsquery.Parse("POST", "", form, []byte(body))
		if err != nil {
			return
		}
		members, err := p.Members(prefix)
		if err != nil {
			return
		}
		for i, m := range members {
			if len(m.Names()) == 0 {
				t.Fatalf("member %d of %q is nothing", i+1, body)
			}
			for _, name := range m.Names() {
				v, _ := m.Get(name)
				full := prefix + ".member." + strconv.Itoa(i+1)
				if name != "" {
					full += "." + name
				}
				got, ok := p.Get(full)
				if !ok && name == "" {
					continue // written with a last dot
				}
				if !ok || got != v {
					t.Fatalf("%q of %q is not what was sent", full, body)
				}
			}
		}
	})
}

// TestIAMErrors holds IAM's codes to the statuses of its model, and every kind
// of fault to an answer.
func TestIAMErrors(t *testing.T) {
	t.Parallel()
	for _, k := range fault.Kinds() {
		status, code, message := awsquery.IAMErrorOf(fault.New(k, "public text"))
		ours := k == fault.Internal || k == fault.Misconfigured
		if (status == 500) != ours || code == "" || ours == strings.Contains(message, "public text") || ours && code != "ServiceFailure" {
			t.Errorf("%s: %d %s %q", k, status, code, message)
		}
	}
	for code, status := range map[string]int{
		"NoSuchEntity": 404, "EntityAlreadyExists": 409, "DeleteConflict": 409, "LimitExceeded": 409, "ConcurrentModification": 409,
		"InvalidInput": 400, "MalformedPolicyDocument": 400, "UnmodifiableEntity": 400, "AccessDenied": 403, "ValidationError": 400, "InvalidClientTokenId": 403,
	} {
		if got, gotCode, _ := awsquery.IAMErrorOf(fault.Coded(fault.Internal, code, "x")); got != status || gotCode != code {
			t.Errorf("%s: %d %s", code, got, gotCode)
		}
	}
	answer := string(awsquery.IAM.Answer("DeleteUser", nil, "R1"))
	if answer != `<DeleteUserResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ResponseMetadata><RequestId>R1</RequestId></ResponseMetadata></DeleteUserResponse>` {
		t.Error(answer)
	}
	list := string(awsquery.IAM.Answer("ListX", []awsquery.Field{awsquery.Texts("A", nil), awsquery.Texts("B", []string{"", "b"}), {Name: "C"}}, "R1"))
	if !strings.Contains(list, "<ListXResult><A></A><B><member></member><member>b</member></B></ListXResult>") {
		t.Error(list)
	}
}
