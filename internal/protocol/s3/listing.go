package s3

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// encodedElements are what encoding-type=url encodes in a listing (ListObjects,
// ListObjectsV2, ListObjectVersions, ListMultipartUploads, "EncodingType").
var encodedElements = []string{"Key", "Prefix", "Delimiter", "Marker", "NextMarker", "StartAfter", "KeyMarker", "NextKeyMarker"}

// WantsEncoding reports a listing whose keys the client wants URL encoded.
func (o *Operation) WantsEncoding() bool {
	switch o.Name {
	case ListObjects, ListObjectsV2, ListObjectVersions, ListMultipartUploads:
		return o.Param("encoding-type") == "url"
	}
	return false
}

// EncodeListing writes a store's listing as encoding-type=url wants it, where
// the store has not done so: not every store knows the parameter, and not every
// client looks whether it was heeded. Keys are percent-encoded but for slashes,
// and EncodingType says so. Nothing else changes.
func EncodeListing(body []byte) ([]byte, error) {
	out := make([]byte, 0, len(body)+len(body)/4)
	rest := body
	for {
		open := bytes.IndexByte(rest, '<')
		if open < 0 {
			return nil, unreadable()
		}
		end := bytes.IndexByte(rest[open:], '>')
		if end < 0 || rest[open+1] == '!' || rest[open+1] == '?' && len(out) > 0 || bytes.IndexByte(rest[open+1:open+end], '<') >= 0 {
			return nil, unreadable()
		}
		end += open + 1
		tag := string(rest[open+1 : end-1])
		if space := strings.IndexAny(tag, " \t\r\n"); space > 0 && !strings.HasSuffix(tag, "/") {
			tag = tag[:space]
		}
		out, rest = append(out, rest[:end]...), rest[end:]
		switch {
		case tag == "EncodingType" && !bytes.HasPrefix(rest, []byte("</")):
			return body, nil
		case tag == "EncodingType", tag == "/EncodingType", tag == "EncodingType/": // empty, as versitygw writes it
			out = out[:bytes.LastIndexByte(out, '<')]
			continue
		case strings.HasPrefix(tag, "/List"): // the root ends
			out = append(out[:bytes.LastIndexByte(out, '<')], "<EncodingType>url</EncodingType><"...)
			return append(append(append(out, tag...), '>'), rest...), nil
		case !slices.Contains(encodedElements, tag):
			continue
		}
		text, _, ok := bytes.Cut(rest, []byte("</"+tag+">"))
		value, valid := unescapeText(text)
		if !ok || !valid || bytes.IndexByte(text, '<') >= 0 {
			return nil, unreadable()
		}
		out, rest = sigv4.AppendEscaped(out, value, true), rest[len(text):]
	}
}

var entities = map[string]string{"amp": "&", "lt": "<", "gt": ">", "quot": `"`, "apos": "'"}

// unescapeText gives what the characters of an element stand for.
func unescapeText(text []byte) (string, bool) {
	if bytes.IndexByte(text, '&') < 0 {
		return string(text), utf8.Valid(text)
	}
	var b strings.Builder
	for i, part := range strings.Split(string(text), "&") {
		if i == 0 {
			b.WriteString(part)
			continue
		}
		name, rest, ok := strings.Cut(part, ";")
		stands, known := entities[name]
		if digits, numeric := strings.CutPrefix(name, "#"); numeric {
			base := 10
			if hex, ok := strings.CutPrefix(digits, "x"); ok {
				digits, base = hex, 16
			}
			n, err := strconv.ParseUint(digits, base, 21)
			stands, known = string(rune(n)), err == nil && utf8.ValidRune(rune(n))
		}
		if !ok || !known {
			return "", false
		}
		b.WriteString(stands + rest)
	}
	return b.String(), utf8.Valid(text)
}

func unreadable() error {
	return fault.New(fault.Unavailable, "The store's answer can't be read")
}
