package oidc

import (
	"reflect"
	"testing"
)

// plainly reads src by the plain reader alone.
func plainly(src string) (object, bool) { return (&plain{src}).object() }

// TestPlainReadsAsTheDecoder: what the plain reader takes is what the decoder
// reads, and what is not so plain is left to it.
func TestPlainReadsAsTheDecoder(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]bool{
		`{"alg":"RS256","kid":"k1","typ":"JWT"}`:                      true,
		`{"iss":"https://id.example","sub":"a b~!","exp":1790000000}`: true,
		`{"":""}`:                              true,
		`{"a":1,"A":2}`:                        true,
		`{"a":["b"]}`:                          false,
		`{"a":{"b":"c"}}`:                      false,
		`}`:                                    false,
		`{"a":1}}`:                             false,
		`{"a":123456789012345678901234567890}`: true,
		`{}`:                                   false,
		`{"a":{}}`:                             false,
		`{"a":[]}`:                             false,
		`{"a":true}`:                           false,
		`{"a":null}`:                           false,
		`{"a":0}`:                              false,
		`{"a":01}`:                             false,
		`{"a":1.5}`:                            false,
		`{"a":1e3}`:                            false,
		`{"a":-1}`:                             false,
		`{"a":"\u0041"}`:                       false,
		`{"a":"é"}`:                            false,
		"{\"a\":\"\t\"}":                       false,
		"{\"a\":\"\x7f\"}":                     false,
		`{"a": 1}`:                             false,
		`{"a":1,}`:                             false,
		`{"a":1}{"b":2}`:                       false,
		`{"a":1} `:                             false,
		`{"a":1,"a":2}`:                        false,
		`{"a":{"b":1,"b":2}}`:                  false,
		`{"a":1`:                               false,
		`{"a":"b`:                              false,
		`{"a`:                                  false,
		`{a:1}`:                                false,
		`{,"a":1}`:                             false,
		`["a"]`:                                false,
		`"a"`:                                  false,
		``:                                     false,
	} {
		got, ok := plainly(src)
		if ok != want {
			t.Errorf("%s: %v", src, ok)
		}
		if decoded, err := decodeObject([]byte(src)); ok && (err != nil || !reflect.DeepEqual(got, decoded)) {
			t.Errorf("%s is read as %v, by the decoder as %v, %v", src, got, decoded, err)
		}
	}
}

// FuzzPlain holds the plain reader to the decoder: no bytes may have two readings.
func FuzzPlain(f *testing.F) {
	for _, s := range []string{
		`{"alg":"RS256","kid":"k1","typ":"JWT"}`, `{"iss":"https://id.example","exp":1790000000}`, `{"aud":["a","b"]}`, `}`, `{"a":1,"a":2}`, `{"a":1.5e3}`, `{"a":"\u0041"}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		got, ok := plainly(src)
		if !ok {
			return
		}
		if decoded, err := decodeObject([]byte(src)); err != nil || !reflect.DeepEqual(got, decoded) {
			t.Errorf("%q is read as %v, by the decoder as %v, %v", src, got, decoded, err)
		}
	})
}
