//go:build vectors

package oidc

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// wycheproof is a file of C2SP/wycheproof, as far as it is read here.
type wycheproof struct {
	TestGroups []struct {
		Public  json.RawMessage `json:"public"`
		Private json.RawMessage `json:"private"`
		// Of plain signatures:
		KeyJWK       json.RawMessage `json:"keyJwk"`
		PublicKeyJWK json.RawMessage `json:"publicKeyJwk"`
		Tests        []struct {
			ID      int      `json:"tcId"`
			Comment string   `json:"comment"`
			JWS     any      `json:"jws"` // text, or an object in JSON form
			Message string   `json:"msg"`
			Sig     string   `json:"sig"`
			Result  string   `json:"result"`
			Flags   []string `json:"flags"`
		} `json:"tests"`
	} `json:"testGroups"`
}

func load(t *testing.T, name string) wycheproof {
	t.Helper()
	root := os.Getenv("CARNET_VECTORS")
	if root == "" {
		t.Fatal("CARNET_VECTORS does not name the folder of the public vectors")
	}
	raw, err := os.ReadFile(filepath.Join(root, "wycheproof", name))
	if err != nil {
		t.Fatal(err)
	}
	var w wycheproof
	if err := json.Unmarshal(raw, &w); err != nil {
		t.Fatal(err)
	}
	return w
}

// setOf gives the key set of a group: its key or its set, with the private
// parts taken away, since a provider publishes none.
func setOf(t *testing.T, raw json.RawMessage) *KeySet {
	t.Helper()
	var document map[string]any
	if err := json.Unmarshal(raw, &document); err != nil {
		t.Fatal(err)
	}
	keys, ok := document["keys"].([]any)
	if !ok {
		keys = []any{document}
	}
	for _, k := range keys {
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi"} {
			delete(k.(map[string]any), private)
		}
	}
	raw, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseKeySet(raw)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestJOSEVectors runs the JWS, JWK and JWS-with-JWK vectors. What is invalid
// must fail. What is valid must hold, unless it uses what AWS does not take;
// those are counted by reason.
func TestJOSEVectors(t *testing.T) {
	for _, name := range []string{"json_web_signature_test.json", "json_web_key_test.json", "json_web_crypto_test.json"} {
		refused, held := 0, 0
		beyond := map[string]int{}
		for _, g := range load(t, name).TestGroups {
			key := g.Public
			if key == nil {
				key = g.Private
			}
			keys := setOf(t, key)
			for _, tc := range g.Tests {
				text, compact := tc.JWS.(string)
				if !compact && tc.Result == "valid" {
					beyond["JSON form, or a JWE"]++
					continue
				}
				j, _, err := parseJWS(text)
				if err == nil {
					err = j.prove(keys, nil)
				}
				switch why := notTaken(&j, keys); {
				case err == nil && tc.Result == "invalid":
					t.Errorf("%s %d (%s): accepted", name, tc.ID, tc.Comment)
				case err == nil:
					held++
				case tc.Result == "invalid":
					refused++
				case why != "":
					beyond[why]++
				default:
					t.Errorf("%s %d (%s): %v", name, tc.ID, tc.Comment, err)
				}
			}
		}
		t.Logf("%s: %d invalid refused, %d valid held, valid but not taken here: %v", name, refused, held, beyond)
		if refused == 0 || held == 0 {
			t.Errorf("%s ran nothing", name)
		}
	}
}

// notTaken says what of a valid message AWS does not take.
func notTaken(j *jws, keys *KeySet) string {
	if _, ok := algorithmNamed(j.algorithm); !ok {
		return "algorithm " + j.algorithm
	}
	for _, k := range keys.keys {
		if k.public == nil {
			return "key without use here"
		}
		if k.algorithm != "" && k.algorithm != j.algorithm {
			return "key of algorithm " + k.algorithm
		}
	}
	if j.hasKeyID && len(keys.keys) == 1 && keys.keys[0].id != j.keyID {
		return "key of another id"
	}
	return ""
}

// TestSignatureVectors runs the plain RSA and ECDSA signatures under the
// algorithms that use them.
func TestSignatureVectors(t *testing.T) {
	for name, algorithm := range map[string]string{
		"rsa_signature_2048_sha256_test.json": "RS256", "rsa_signature_2048_sha512_test.json": "RS512",
		"ecdsa_secp256r1_sha256_p1363_test.json": "ES256", "ecdsa_secp384r1_sha384_p1363_test.json": "ES384",
	} {
		ran := map[string]int{}
		a, ok := algorithmNamed(algorithm)
		if !ok {
			t.Fatal(algorithm)
		}
		for _, g := range load(t, name).TestGroups {
			key := g.KeyJWK
			if key == nil {
				key = g.PublicKeyJWK
			}
			if key == nil {
				continue // a key that a JWK can't hold
			}
			keys := setOf(t, key)
			for _, tc := range g.Tests {
				message, err1 := hex.DecodeString(tc.Message)
				signature, err2 := hex.DecodeString(tc.Sig)
				if err1 != nil || err2 != nil {
					t.Fatal(err1, err2)
				}
				k := &keys.keys[0]
				got := a.fits(k) && a.holds(k.public, string(message), signature)
				if got != (tc.Result == "valid") && tc.Result != "acceptable" {
					t.Errorf("%s %d (%s): got %v, want %s", name, tc.ID, tc.Comment, got, tc.Result)
				}
				if got && tc.Result == "acceptable" {
					t.Logf("%s %d (%s, %v) is acceptable and held", name, tc.ID, tc.Comment, tc.Flags)
				}
				ran[tc.Result]++
			}
		}
		t.Logf("%s: %v", name, ran)
		if ran["valid"] == 0 || ran["invalid"] == 0 {
			t.Errorf("%s ran nothing", name)
		}
	}
}
