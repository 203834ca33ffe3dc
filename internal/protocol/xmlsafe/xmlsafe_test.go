package xmlsafe_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/beevik/etree"
	roundtrip "github.com/mattermost/xml-roundtrip-validator"

	"carnet.dev/carnet/internal/protocol/xmlsafe"
)

var limits = xmlsafe.Limits{Bytes: 1 << 16, Depth: 8, Elements: 200, Attributes: 400, PerElement: 8, Prefixes: 8, Comments: true}

func TestScanTakes(t *testing.T) {
	t.Parallel()
	for _, src := range []string{
		`<a/>`, `<a></a>`, `<a ></a >`, `<a b = 'c'/>`, `<a b="1" c='2'/>`, "<a\n\tb=\"1\"\r\n/>",
		`<?xml version="1.0"?><a/>`, `<?xml version='1.0' encoding='utf-8' ?>` + "\n<a/>\n",
		`<?xml version="1.0" encoding="UTF-8" standalone="yes"?><a/>`, `<?xml version = "1.0" standalone = "no" ?><a/>`,
		`<a>&lt;&gt;&amp;&apos;&quot;&#65;&#x1F600;&#x10FFFF;</a>`, `<a b="&quot;&#10;"/>`,
		`<a>é 日本 😀</a>`, `<a><![CDATA[<b>&x;]] ]]></a>`, `<a>]] ></a>`, `<!-- x --><a><!----><!-- - --></a><!-- y -->`,
		`<x:a xmlns:x="urn:x" x:b="1" b="2"/>`, `<a xmlns="urn:x"><b xmlns=""/></a>`, `<a xml:lang="en"/>`,
		`<a xmlns:xml="http://www.w3.org/XML/1998/namespace"/>`, `<a xmlns:b="urn:x"><b:c xmlns:b="urn:y" b:d=""/></a>`,
		`<_a.b-c9/>`, `<a><b/><b></b>text<b/></a>`,
		nested(8), "<a" + repeat(" b%d='x'", 8) + "/>",
	} {
		if err := xmlsafe.Scan([]byte(src), limits); err != nil {
			t.Errorf("%s: %v", src, err)
		}
		if _, err := xmlsafe.Parse([]byte(src), limits); err != nil {
			t.Errorf("%s: tree: %v", src, err)
		}
	}
}

func nested(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }

func repeat(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func TestScanRefuses(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]xmlsafe.Reason{
		"": xmlsafe.Malformed, " \n": xmlsafe.Malformed, "x": xmlsafe.Trailing, "<a/>x": xmlsafe.Trailing, "<a/><b/>": xmlsafe.Trailing,
		"<a/></a>": xmlsafe.Trailing, "<a>": xmlsafe.Malformed, "<a": xmlsafe.Malformed, "<a/": xmlsafe.Malformed, "<": xmlsafe.Malformed,
		"<a></b>": xmlsafe.Malformed, "<a></a": xmlsafe.Malformed, "<a></a b='c'>": xmlsafe.Malformed, "</a>": xmlsafe.Malformed,
		"<a / >": xmlsafe.Malformed, "<a /b>": xmlsafe.Malformed, "< a/>": xmlsafe.Malformed, "<1a/>": xmlsafe.Malformed, "<é/>": xmlsafe.Malformed,
		"<a:/>": xmlsafe.Malformed, "<:a/>": xmlsafe.Malformed, "<a:b:c/>": xmlsafe.Malformed, "<x:a/>": xmlsafe.Namespaced,
		"<a x:b=''/>": xmlsafe.Namespaced, "<xmlns:a/>": xmlsafe.Namespaced, "<a b/>": xmlsafe.Malformed, "<a b=/>": xmlsafe.Malformed, "<a b=c/>": xmlsafe.Malformed,
		"<a b='1'c='2'/>": xmlsafe.Malformed, "<a b='<'/>": xmlsafe.Malformed, "<a b='/>": xmlsafe.Malformed, "<a b='1' b='2'/>": xmlsafe.Malformed,
		"<a b='&x;'/>": xmlsafe.Malformed, "<a>&x;</a>": xmlsafe.Malformed, "<a>&</a>": xmlsafe.Malformed, "<a>& amp;</a>": xmlsafe.Malformed, "<a>&amp</a>": xmlsafe.Malformed,
		"<a>&#0;</a>": xmlsafe.Malformed, "<a>&#xFFFE;</a>": xmlsafe.Malformed, "<a>&#xD800;</a>": xmlsafe.Malformed, "<a>&#x110000;</a>": xmlsafe.Malformed,
		"<a>&#X41;</a>": xmlsafe.Malformed, "<a>&#;</a>": xmlsafe.Malformed, "<a>&#x;</a>": xmlsafe.Malformed, "<a>&#-1;</a>": xmlsafe.Malformed, "<a>&#99999999;</a>": xmlsafe.Malformed,
		"<a>\x00</a>": xmlsafe.Malformed, "<a>\x1b</a>": xmlsafe.Malformed, "<a>\ufffe</a>": xmlsafe.Malformed, "<a>\xff</a>": xmlsafe.NotUTF8, "<a>\xed\xa0\x80</a>": xmlsafe.NotUTF8,
		"<a>]]></a>": xmlsafe.Malformed, "<a><![CDATA[</a>": xmlsafe.Malformed, "<a><![CDATA[]]></a>": xmlsafe.Malformed, "<![CDATA[x]]><a/>": xmlsafe.Declared, "<a/><![CDATA[]]>": xmlsafe.Declared,
		"<!DOCTYPE a><a/>": xmlsafe.Declared, "<a><!ENTITY x 'y'></a>": xmlsafe.Declared, "<a/><!DOCTYPE a>": xmlsafe.Declared, "<!a><a/>": xmlsafe.Declared,
		"<?x?><a/>": xmlsafe.Instructed, "<a><?x y?></a>": xmlsafe.Instructed, "<a/><?x?>": xmlsafe.Instructed, " <?xml version='1.0'?><a/>": xmlsafe.Instructed,
		"<?xml?><a/>": xmlsafe.Instructed, "<?xml ?><a/>": xmlsafe.Malformed, "<?xml version='1.1'?><a/>": xmlsafe.Malformed, "<?xml version='1.0' encoding='latin1'?><a/>": xmlsafe.Malformed,
		"<?xml encoding='utf-8'?><a/>": xmlsafe.Malformed, "<?xml version='1.0'encoding='utf-8'?><a/>": xmlsafe.Malformed, "<?xml version='1.0' version='1.0'?><a/>": xmlsafe.Malformed,
		"<?xml version='1.0' standalone='no' encoding='utf-8'?><a/>": xmlsafe.Malformed, "<?xml version='1.0": xmlsafe.Malformed, "<?xml version?><a/>": xmlsafe.Malformed,
		"<?xml version=1.0?><a/>": xmlsafe.Malformed, "<?xml version=\"1.0'?><a/>": xmlsafe.Malformed, "<?xml version='1.0' encoding='utf-8\"?><a/>": xmlsafe.Malformed,
		"<?xml version='1.0' encoding='UTF-8'standalone='no'?><a/>": xmlsafe.Malformed, "<?xml version='1.0?><a/>": xmlsafe.Malformed, "<?xml version='1.0' x='y'?><a/>": xmlsafe.Malformed,
		"<a><!-- -- --></a>": xmlsafe.Malformed, "<a><!-- --->": xmlsafe.Malformed, "<a><!--": xmlsafe.Malformed, "<a><!--\x01--></a>": xmlsafe.Malformed,
		"\xef\xbb\xbf<a/>":       xmlsafe.Trailing,
		"<a xmlns:b=''/>":        xmlsafe.Namespaced,
		"<a xmlns:b='x'/>":       xmlsafe.Namespaced,
		"<a xmlns='x'/>":         xmlsafe.Namespaced,
		"<a xmlns:b=':x'/>":      xmlsafe.Namespaced,
		"<a xmlns:b='u:&amp;'/>": xmlsafe.Namespaced,
		"<a xmlns:b='u: x'/>":    xmlsafe.Namespaced,
		"<a xmlns:b='é:x'/>":     xmlsafe.Namespaced,
		"<a xmlns:xml='urn:x'/>": xmlsafe.Namespaced,
		"<a xmlns:xmlns='u:x'/>": xmlsafe.Namespaced,
		"<a xmlns:b='http://www.w3.org/XML/1998/namespace'/>":                                   xmlsafe.Namespaced,
		"<a xmlns='http://www.w3.org/2000/xmlns/'/>":                                            xmlsafe.Namespaced,
		"<a xmlns:b='u:x' xmlns:c='u:x' b:d='' c:d=''/>":                                        xmlsafe.Malformed,
		"<a><b xmlns:c='u:x'/><c:d/></a>":                                                       xmlsafe.Namespaced,
		nested(9):                                                                               xmlsafe.TooMany,
		"<a" + repeat(" b%d='x'", 9) + "/>":                                                     xmlsafe.TooMany,
		"<a>" + strings.Repeat("<b/>", 200) + "</a>":                                            xmlsafe.TooMany,
		"<a>" + strings.Repeat("<b c='' d='' e=''/>", 150) + "</a>":                             xmlsafe.TooMany,
		"<a" + repeat(" xmlns:b%d='u:x'", 5) + "><a" + repeat(" xmlns:c%d='u:x'", 5) + "/></a>": xmlsafe.TooMany,
		"<a>" + strings.Repeat("x", 1<<16) + "</a>":                                             xmlsafe.TooLarge,
	} {
		var e *xmlsafe.Error
		if err := xmlsafe.Scan([]byte(src), limits); !errors.As(err, &e) {
			t.Errorf("%.60q: %v, want %q", src, err, want)
		} else if e.Reason != want {
			t.Errorf("%.60q: %v, want %q", src, err, want)
		}
	}
}

func TestCommentsAreRefusedWhereNotAdmitted(t *testing.T) {
	t.Parallel()
	l := limits
	l.Comments = false
	for _, src := range []string{"<!----><a/>", "<a><!-- x --></a>", "<a/><!-- x -->"} {
		var e *xmlsafe.Error
		if err := xmlsafe.Scan([]byte(src), l); !errors.As(err, &e) || e.Reason != xmlsafe.Commented {
			t.Errorf("%s: %v", src, err)
		}
	}
}

// TestErrorsNeverRepeatTheInput: the input may be a credential.
func TestErrorsNeverRepeatTheInput(t *testing.T) {
	t.Parallel()
	for _, src := range []string{"<a>SECRET&SECRET;</a>", "<a SECRET></a>", "SECRET", "<a></SECRET>", "<!DOCTYPE SECRET>"} {
		if err := xmlsafe.Scan([]byte(src), limits); err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", src, err)
		}
	}
}

// FuzzScan holds that what passes the scan passes the round-trip validator,
// builds a tree, and comes out of that tree as a document that means the same.
func FuzzScan(f *testing.F) {
	seeds, err := filepath.Glob("testdata/seeds/*.xml")
	if err != nil || len(seeds) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, name := range seeds {
		src, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Fuzz(checkPassed)
}

// checkPassed holds what everybody relies on, for a document that passes.
func checkPassed(t *testing.T, src []byte) {
	if xmlsafe.Scan(src, limits) != nil {
		return
	}
	// The validator's encoder binds a prefix of its own to the xml prefix and
	// then stumbles over it: no difference between readers, so left out here.
	// The tree's own round trip below covers these documents too.
	if !bytes.Contains(src, []byte("xml:")) {
		if err := roundtrip.Validate(bytes.NewReader(src)); err != nil {
			t.Fatalf("the round-trip validator stops what passed: %v\n%q", err, src)
		}
	}
	root, err := xmlsafe.Parse(src, limits)
	if err != nil {
		t.Fatalf("no tree: %v\n%q", err, src)
	}
	first := write(t, root)
	again := etree.NewDocument()
	if err := again.ReadFromBytes(first); err != nil {
		t.Fatalf("the tree writes what can't be read: %v\n%q", err, src)
	}
	if second := write(t, again.Root()); !bytes.Equal(first, second) {
		t.Fatalf("changed by a round trip:\n%s\n%s", first, second)
	}
}

// TestPiecesOfXML holds the same for documents put together at random from the
// pieces at which XML readers differ: random bytes rarely are XML.
func TestPiecesOfXML(t *testing.T) {
	t.Parallel()
	pieces := []string{
		"<a", "<x:a", "<b", "</a>", "</x:a>", "</b>", ">", ">", "/>", " ", "\n", "\r", "\r\n", "\t", " c='", " x:c='", " c=\"", " xml:lang='", " xmlns='", " xmlns:x='",
		" xmlns:y='", " y:c='", "'", "'", "\"", "urn:x", "urn:y", "http://www.w3.org/XML/1998/namespace", "&amp;", "&lt;", "&#13;", "&#10;", "&#x9;", "&quot;", "&apos;", "&gt;",
		"<!--", "-->", "-", "<![CDATA[", "]]>", "]", "]]", ">", "é", "\u2028", "😀", "text", ":", "=", ";", "&", "<?x?>", "<!DOCTYPE a>",
	}
	rng := rand.New(rand.NewPCG(1, 2))
	passed := 0
	for range 400_000 {
		var doc []byte
		doc = append(doc, "<a xmlns:x='urn:x'"...)
		for range rng.IntN(12) {
			doc = append(doc, pieces[rng.IntN(len(pieces))]...)
		}
		doc = append(doc, "</a>"...)
		if xmlsafe.Scan(doc, limits) == nil {
			passed++
			checkPassed(t, doc)
		}
	}
	if passed < 1000 {
		t.Errorf("only %d documents passed the scan: the test shows nothing", passed)
	}
	t.Logf("%d documents passed", passed)
}

func write(t *testing.T, root *etree.Element) []byte {
	t.Helper()
	doc := etree.NewDocument()
	doc.WriteSettings = etree.WriteSettings{CanonicalAttrVal: true, CanonicalEndTags: true, CanonicalText: true}
	doc.SetRoot(root.Copy())
	out, err := doc.WriteToBytes()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// BenchmarkScan prints its cost beside the round-trip validator's, which it
// stands in for, and the tree's.
func BenchmarkScan(b *testing.B) {
	src, err := os.ReadFile("testdata/seeds/response.xml")
	if err != nil {
		b.Fatal(err)
	}
	l := xmlsafe.Limits{Bytes: 1 << 20, Depth: 24, Elements: 4096, Attributes: 16384, PerElement: 24, Prefixes: 32}
	b.Run("scan", func(b *testing.B) {
		b.SetBytes(int64(len(src)))
		b.ReportAllocs()
		for b.Loop() {
			if err := xmlsafe.Scan(src, l); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("round-trip validator", func(b *testing.B) {
		b.SetBytes(int64(len(src)))
		for b.Loop() {
			if err := roundtrip.Validate(bytes.NewReader(src)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("scan and tree", func(b *testing.B) {
		b.SetBytes(int64(len(src)))
		for b.Loop() {
			if _, err := xmlsafe.Parse(src, l); err != nil {
				b.Fatal(err)
			}
		}
	})
}
