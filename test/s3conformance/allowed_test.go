package s3conformance

import (
	_ "embed"
	"reflect"
	"strings"
	"testing"
)

//go:embed allowed.tsv
var allowedText string

// TestAllowedIsWellFormed holds the list itself: each line has a reason.
func TestAllowedIsWellFormed(t *testing.T) {
	list, err := parseAllowed(allowedText)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(list); i++ {
		if list[i].name == list[i-1].name && (len(list[i].lanes) == 0 || len(list[i-1].lanes) == 0) {
			t.Errorf("%s stands in the list twice", list[i].name)
		}
	}
	for text, want := range map[string]string{
		"A_case\tall\n":                      "want case, where and reason",
		"A_case\tall\tno\n":                  "want case, where and reason",
		"A_case\tmoon\tit fails there\n":     "no lane",
		"B\tall\ta reason\nA\tall\ta reason": "keep the lines sorted",
	} {
		if _, err := parseAllowed(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestJudge(t *testing.T) {
	list, err := parseAllowed("# a comment\nAllowed\tall\ta good reason\nElsewhere\tembedded\ta good reason\nShaky\tstatic,flaky\ta good reason\nStale\tall\ta good reason")
	if err != nil {
		t.Fatal(err)
	}
	pass, fail := outcome{Status: "pass"}, outcome{Status: "fail"}
	straight := map[string]outcome{"Allowed": pass, "Elsewhere": pass, "Shaky": pass, "Stale": pass, "Good": pass, "Both": fail, "Better": fail, "Lost": pass}
	through := map[string]outcome{"Allowed": fail, "Elsewhere": fail, "Shaky": pass, "Stale": pass, "Good": pass, "Both": fail, "Better": pass, "Lost": {Status: "timeout"}}
	got := judge("static", straight, through, list)
	want := judgement{
		passed: 4, straight: 6, broken: []string{"Elsewhere", "Lost"}, allowed: []string{"Allowed"}, stale: []string{"Stale"}, better: []string{"Better"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}
