package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// tally is what came of one package.
type tally struct {
	secrets, constants, files, allowed int
	bytes                              int64
	leaks                              []string
}

// mayHold are files whose purpose is to hold secrets, by the end of their path.
var mayHold = []struct{ path, why string }{
	{`/(kek|key-encryption-key)[^/]*$`, "the key-encryption key itself"},
	{`\.(key|pem)$`, "private keys of TLS, given by the operator"},
	{`/given-[^/]*$`, "what a test gives as an operator or the owner of a machine does: keys of an upstream, headers, an ID token"},
}

// keyID is an access key's id, which is read from a file as its key is, and stands in
// every request and record.
var keyID = regexp.MustCompile(`^A[KS]IA[A-Z0-9]{16}$`)

// shortest is the shortest secret that is looked for: what is shorter is a word.
const shortest = 16

// search looks for each secret of the ledger in all that lies under a folder.
func search(ledger, written, pkg, constants string) (tally, error) {
	var out tally
	noted, err := os.ReadFile(ledger)
	if err != nil && !os.IsNotExist(err) {
		return out, err
	}
	forms, seen := map[string][]form{}, map[string]bool{}
	for line := range strings.SplitSeq(string(noted), "\n") {
		b, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(b) < shortest || seen[string(b)] || keyID.Match(b) {
			continue
		}
		seen[string(b)] = true
		if strings.Contains(constants, string(b)) || repeats(string(b)) {
			out.constants++
			continue
		}
		out.secrets++
		for _, f := range formsOf(string(b)) {
			forms[f.text[:begin]] = append(forms[f.text[:begin]], f)
		}
	}
	err = filepath.WalkDir(written, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		out.files++
		out.bytes += int64(len(text))
		for _, found := range look(text, forms) {
			if slices.ContainsFunc(mayHold, func(m struct{ path, why string }) bool { return regexp.MustCompile(m.path).MatchString(path) }) {
				out.allowed++
				continue
			}
			out.leaks = append(out.leaks, fmt.Sprintf("%s: %s holds %s", pkg, strings.TrimPrefix(path, written), found))
		}
		return nil
	})
	return out, err
}

// repeats tells whether a text is one short piece four times or more: strings.Repeat in
// a test. No secret that is random looks so, nor what is sealed or signed.
func repeats(s string) bool {
	for n := 1; n <= len(s)/4; n++ {
		if s[n:] == s[:len(s)-n] {
			return true
		}
	}
	return false
}

// form is one way in which a secret may be written.
type form struct{ how, text, hint string }

// begin is how many bytes of a form are indexed.
const begin = 12

// tail is how much of a secret is looked for: its end, since the beginnings of many are
// the same, and since a page of a database may cut a long one in two.
const tail = 32

func formsOf(s string) (all []form) {
	end := s[max(0, len(s)-tail):]
	hint := fmt.Sprintf("a secret of %d letters that begins with %.6q", len(s), s)
	add := func(how, text string) {
		if len(text) >= begin && !slices.ContainsFunc(all, func(f form) bool { return f.text == text }) {
			all = append(all, form{how, text, hint})
		}
	}
	add("raw", end)
	add("URL-escaped", url.QueryEscape(end))
	add("path-escaped", url.PathEscape(end))
	add("hex", hex.EncodeToString([]byte(end)))
	add("hex in capitals", strings.ToUpper(hex.EncodeToString([]byte(end))))
	for shift := range 3 { // base64 of something in which it stands at any place
		padded := append(bytes.Repeat([]byte{'x'}, shift), end...)
		for name, e := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := e.EncodeToString(padded)
			add(name, text[4*min(1, shift):len(text)-len(text)%4-4])
		}
	}
	return all
}

// look finds forms in a text, each secret once.
func look(text []byte, forms map[string][]form) (found []string) {
	for i := 0; i+begin <= len(text); i++ {
		for _, f := range forms[string(text[i:i+begin])] {
			if !bytes.HasPrefix(text[i:], []byte(f.text)) {
				continue
			}
			if what := f.hint + ", " + f.how; !slices.Contains(found, what) {
				found = append(found, what)
			}
		}
	}
	return found
}

// sources gives all text of the source tree: a secret that stands there is a constant
// of a test.
func sources(root string) (string, error) {
	list, err := exec.Command("git", "-C", root, "ls-files", "*.go", "*.txtar", "*.yaml", "*.md").Output()
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for name := range strings.FieldsSeq(string(list)) {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return "", err
		}
		all.Write(b)
	}
	return all.String(), nil
}
