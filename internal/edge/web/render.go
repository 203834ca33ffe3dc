package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
)

//go:embed templates static
var files embed.FS

// asset is one file that every page shares.
type asset struct {
	content     []byte
	contentType string
	version     string // of the content; in its address, so that it can be kept forever
}

// pages holds the templates, one set per page, and the shared files.
type pages struct {
	byName map[string]*template.Template
	assets map[string]asset
}

func newPages() (*pages, error) {
	p := &pages{byName: map[string]*template.Template{}, assets: map[string]asset{}}
	names, err := fs.Glob(files, "static/*")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		b, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(b)
		p.assets[path.Base(name)] = asset{b, mime.TypeByExtension(path.Ext(name)), hex.EncodeToString(sum[:6])}
	}
	frame, err := template.New("frame.html").Funcs(template.FuncMap{"asset": p.address, "sentence": sentence, "sentenceCase": upperFirst}).
		ParseFS(files, "templates/frame.html", "templates/part-*.html")
	if err != nil {
		return nil, err
	}
	names, err = fs.Glob(files, "templates/*.html")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if path.Base(name) == "frame.html" || strings.HasPrefix(path.Base(name), "part-") {
			continue
		}
		t, err := template.Must(frame.Clone()).ParseFS(files, name)
		if err != nil {
			return nil, err
		}
		p.byName[strings.TrimSuffix(path.Base(name), ".html")] = t
	}
	return p, nil
}

// address gives the address of a shared file, its version in it.
func (p *pages) address(file string) (string, error) {
	a, ok := p.assets[file]
	if !ok {
		return "", fmt.Errorf("web: no static file %q", file)
	}
	return "/static/" + file + "?v=" + a.version, nil
}

// sentence ends a text of a fault as a sentence of the page.
func sentence(s string) string {
	if s == "" || strings.HasSuffix(s, ".") || strings.HasSuffix(s, "?") || strings.HasSuffix(s, "!") {
		return upperFirst(s)
	}
	return upperFirst(s) + "."
}

// upperFirst begins a text with a capital; a mend is written in lower case,
// for use after a semicolon.
func upperFirst(s string) string {
	if s == "" {
		return ""
	}
	c, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(c)) + s[n:]
}

// frame is what every page is set in.
type frame struct {
	Title string
	// Who is signed in; empty: nobody.
	Who           string
	Administrator bool
	// Manages: a person who manages a cluster, and is no administrator.
	Manages bool
	// Here marks one entry of the navigation: "access", "sign-ins", "managed", "sso", "oidc",
	// "people", "clusters", "gateway-keys", "denials", "audit" or none.
	Here string
	// Left: the caller has just signed out, so nobody is signed in.
	Left bool
	// Script is one more shared file that the page runs.
	Script string
	// Page is the data of the page itself.
	Page any
}

// show renders a page in full before the first byte goes out.
func (web *Web) show(w http.ResponseWriter, r *http.Request, status int, name string, f frame) error {
	if s := httpd.CallerOf(r).Session; s.ID != "" && !f.Left {
		f.Who, f.Administrator = displayName(s), s.Administrator
		f.Manages = !s.Administrator && len(web.managed(s)) > 0
	}
	var b bytes.Buffer
	if err := web.pages.byName[name].ExecuteTemplate(&b, "frame.html", f); err != nil {
		return fault.Wrap(err, fault.Internal, "The page could not be written")
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = b.WriteTo(w)
	return nil
}

// static serves a shared file. Its address changes with its content.
func (web *Web) static(w http.ResponseWriter, r *http.Request) error {
	a, ok := web.pages.assets[r.PathValue("file")]
	if !ok {
		return fault.Coded(fault.NotFound, "route.unknown", "There is nothing at this address")
	}
	if r.URL.Query().Get("v") == a.version {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	w.Header().Set("Content-Type", a.contentType)
	_, _ = w.Write(a.content)
	return nil
}
