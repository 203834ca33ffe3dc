package policy

import (
	"errors"
	"fmt"
	"strings"
)

// compile cuts text into tokens. Without variables "${" is ordinary text, as
// in policies of version 2008-10-17; without wildcards so are * and ?.
func compile(text string, variables, wildcards bool) (pattern, error) {
	var out pattern
	var run strings.Builder
	flush := func() {
		if run.Len() > 0 {
			out = append(out, token{kind: literal, text: run.String()})
			run.Reset()
		}
	}
	for i := 0; i < len(text); {
		switch {
		case variables && strings.HasPrefix(text[i:], "${"):
			tok, size, err := compileVariable(text[i:])
			if err != nil {
				return nil, err
			}
			i += size
			if tok.kind == literal {
				run.WriteString(tok.text)
				continue
			}
			flush()
			out = append(out, tok)
			continue
		case wildcards && text[i] == '*':
			flush()
			if len(out) == 0 || out[len(out)-1].kind != star {
				out = append(out, token{kind: star})
			}
		case wildcards && text[i] == '?':
			flush()
			out = append(out, token{kind: single})
		default:
			run.WriteByte(text[i])
		}
		i++
	}
	flush()
	return out, nil
}

// compileVariable reads ${key}, ${key, 'default'} or an escape ${*} ${?} ${$}
// at the start of text and gives its length.
func compileVariable(text string) (token, int, error) {
	body := text[2:]
	for _, escape := range []string{"*", "?", "$"} {
		if strings.HasPrefix(body, escape+"}") {
			return token{kind: literal, text: escape}, 4, nil
		}
	}
	end := strings.IndexAny(body, ",}")
	if end < 0 {
		return token{}, 0, errors.New(`a variable "${" is not closed`)
	}
	key := strings.TrimSpace(body[:end])
	if !strings.Contains(key, ":") || strings.ContainsAny(key, "${*?'\" \t\r\n") {
		return token{}, 0, fmt.Errorf("variable ${%s} does not name a context key", clip(key))
	}
	tok := token{kind: variable, text: foldKey(key), written: key}
	if body[end] == '}' {
		return tok, 2 + end + 1, nil
	}
	rest := strings.TrimLeft(body[end+1:], " ")
	value, after, ok := strings.Cut(strings.TrimPrefix(rest, "'"), "'")
	after = strings.TrimLeft(after, " ")
	if !strings.HasPrefix(rest, "'") || !ok || !strings.HasPrefix(after, "}") {
		return token{}, 0, fmt.Errorf("the default of variable ${%s} must be in single quotes", clip(key))
	}
	tok.fallback, tok.hasFallback = value, true
	return tok, len(text) - len(after) + 1, nil
}

func compileARN(text string, variables bool) (arnPattern, error) {
	all, err := compile(text, variables, true)
	if err != nil {
		return arnPattern{}, err
	}
	if len(all) == 1 && (all[0].kind == star || all[0].kind == variable) {
		return arnPattern{whole: all}, nil
	}
	var a arnPattern
	field := 0
	for _, t := range all {
		if t.kind != literal {
			a.fields[field] = append(a.fields[field], t)
			continue
		}
		parts := []string{t.text}
		for field+len(parts)-1 < 5 {
			last := parts[len(parts)-1]
			before, after, ok := strings.Cut(last, ":")
			if !ok {
				break
			}
			parts = append(parts[:len(parts)-1], before, after)
		}
		for i, part := range parts {
			if i > 0 {
				field++
			}
			if part != "" {
				a.fields[field] = append(a.fields[field], token{kind: literal, text: part})
			}
		}
	}
	if field != 5 {
		return arnPattern{}, errNotARN
	}
	return a, nil
}

func compileResource(text string, variables bool) (resourcePattern, error) {
	if text == "*" {
		return resourcePattern{any: true}, nil
	}
	fields, last, ok := splitARN(text)
	if !ok || fields[0] != "arn" || fields[1] == "" || last == "" {
		return resourcePattern{}, errNotARN
	}
	if fields[2] == "" || strings.ContainsAny(fields[2], "*?") {
		return resourcePattern{}, errors.New("the service of an ARN has no wildcard")
	}
	head := text[:len(text)-len(last)]
	if variables && strings.Contains(head, "${") {
		return resourcePattern{}, errors.New("a variable can stand after the fifth colon only")
	}
	r := resourcePattern{}
	for i, f := range fields {
		var err error
		if r.fields[i], err = compile(f, false, true); err != nil {
			return resourcePattern{}, err
		}
	}
	if !strings.ContainsAny(head, "*?") {
		r.literalHead = head
	}
	var err error
	r.last, err = compile(last, variables, true)
	return r, err
}
