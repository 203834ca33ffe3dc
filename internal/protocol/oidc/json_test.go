package oidc

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
)

// FuzzParseObject holds our reader to the standard library's: what both read
// is the same, and what only ours refuses has a reason of ours.
func FuzzParseObject(f *testing.F) {
	for _, seed := range []string{
		`{"iss":"https://id.example","exp":1772352000,"aud":["a","b"],"x":{"y":[true,false,null,-1.5e3]}}`,
		`{"a":"\u00e9\n\"\\","b":"\ud83d\ude00"}`, ` { "a" : [ ] , "b" : { } } `, `{"a":1,"\u0061":2}`, `{"a":"\ud800"}`, `[]`, `{"a":`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		got, err := parseObject(src)
		if err != nil {
			return
		}
		d := json.NewDecoder(bytes.NewReader(src))
		d.UseNumber()
		var want map[string]any
		if err := d.Decode(&want); err != nil {
			t.Fatalf("the standard library refuses it: %v", err)
		}
		if !reflect.DeepEqual(map[string]any(got), want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}
