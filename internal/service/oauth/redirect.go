package oauth

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

const maxRedirectURI = 512

// loopbacks are the hosts of this machine, as they stand in addresses. The name
// is admitted beside RFC 8252's addresses, since most command lines use it.
func loopbacks() []string { return []string{"127.0.0.1", "[::1]", "localhost"} }

// checkRedirectURI holds an address to what may be registered: https, http on
// loopback, or a scheme of a program's own, which has a dot (RFC 8252 section
// 7.1). No fragment, no user, and nothing that two readers could read apart.
func checkRedirectURI(text string) error {
	wrong := func(why string) error {
		return fault.New(fault.Invalid, "the redirect URI "+quoted(text)+" "+why).
			WithMend("give the whole address, such as https://app.example.com/callback, http://127.0.0.1/callback or com.example.app:/callback")
	}
	for i := range len(text) {
		if c := text[i]; c <= 0x20 || c >= 0x7f || strings.IndexByte("\\\"<>^`{|}*#", c) >= 0 {
			return wrong("has the character " + strconv.QuoteRune(rune(c)))
		}
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || len(text) > maxRedirectURI || u.Scheme == "":
		return wrong("is no absolute address of at most " + strconv.Itoa(maxRedirectURI) + " characters")
	case u.User != nil || strings.Contains(u.Host, "@"):
		return wrong("names a user")
	case u.Scheme != strings.ToLower(u.Scheme) || !strings.HasPrefix(text, u.Scheme+":"):
		return wrong("has a scheme in capitals")
	case slices.Contains(strings.Split(u.Path, "/"), ".."):
		return wrong("has a step back in its path")
	case u.Scheme == "https":
		if u.Hostname() == "" || u.Opaque != "" || u.Path == "" {
			return wrong("has no host or no path")
		}
	case u.Scheme == "http":
		if _, _, ok := splitLoopback(text); !ok {
			return wrong("is plain http to another machine, or has no path")
		}
	case !strings.Contains(u.Scheme, "."):
		return wrong("has a scheme that any program could claim")
	case u.Host != "":
		return wrong("has a host in a program's own scheme")
	}
	return nil
}

// splitLoopback takes http://HOST[:PORT]REST apart, by its letters alone: no
// parser stands between what is compared and what a browser is given.
func splitLoopback(text string) (host, rest string, ok bool) {
	after, found := strings.CutPrefix(text, "http://")
	if !found {
		return "", "", false
	}
	for _, host := range loopbacks() {
		rest, found := strings.CutPrefix(after, host)
		if !found {
			continue
		}
		if port, there := strings.CutPrefix(rest, ":"); there {
			end := strings.IndexByte(port, '/')
			if end < 1 || end > 5 {
				return "", "", false
			}
			if n, err := strconv.ParseUint(port[:end], 10, 16); err != nil || n == 0 {
				return "", "", false
			}
			rest = port[end:]
		}
		return host, rest, strings.HasPrefix(rest, "/")
	}
	return "", "", false
}

// admits reports whether the client registered this address: letter for letter,
// but for the port of a loopback address (RFC 8252 section 7.3).
func (c Client) admits(redirectURI string) bool {
	if redirectURI == "" || len(redirectURI) > maxRedirectURI {
		return false
	}
	if slices.Contains(c.RedirectURIs, redirectURI) {
		return true
	}
	host, rest, ok := splitLoopback(redirectURI)
	return ok && slices.ContainsFunc(c.RedirectURIs, func(registered string) bool {
		h, r, ok := splitLoopback(registered)
		return ok && h == host && r == rest
	})
}

// leadBack adds an answer to a redirect URI that was proven. What the address
// has in its query already stays.
func leadBack(redirectURI string, answer url.Values) string {
	by := "?"
	if strings.Contains(redirectURI, "?") {
		by = "&"
	}
	return redirectURI + by + answer.Encode()
}
