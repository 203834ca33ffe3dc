package policy

import (
	"fmt"
	"slices"
	"strings"
)

// ConsoleAudience is the SAML audience of AWS's own console sign-in.
const ConsoleAudience = "https://signin.aws.amazon.com/saml"

// Lint says in plain sentences what a valid policy most likely allows that its
// writer does not want: wildcards, a trust in whoever the provider signs for,
// the console beside the data, a Deny that some callers walk around. It decides nothing. samlURL is the audience
// that a SAML trust should name; empty leaves that check out. A document that
// Parse refuses has no findings.
func Lint(kind Kind, src []byte, samlURL string) []string {
	if _, err := Parse(kind, "", src); err != nil {
		return nil
	}
	root, err := parseJSON(src)
	if err != nil {
		return nil
	}
	var out []string
	for i, s := range root.member("Statement").list() {
		name := s.member("Sid").text
		if name == "" {
			name = fmt.Sprint(i + 1)
		}
		var found []string
		switch {
		case s.member("Effect").text == "Deny":
			found = lintDenial(s, root.member("Version").text == "2012-10-17")
		case kind == Trust:
			found = lintTrust(s, samlURL)
		default:
			found = lintGrant(s)
		}
		for _, f := range found {
			out = append(out, "statement "+name+" "+f)
		}
	}
	return out
}

func (n node) member(name string) node {
	for _, m := range n.members {
		if m.name == name {
			return m.value
		}
	}
	return node{}
}

// texts gives the strings of a list or bare string.
func (n node) texts() (out []string) {
	if n.kind != jsonString && n.kind != jsonList {
		return nil
	}
	for _, v := range n.list() {
		out = append(out, v.text)
	}
	return out
}

func lintGrant(s node) (out []string) {
	for _, a := range s.member("Action").texts() {
		if strings.HasSuffix(a, "*") && (a == "*" || strings.HasSuffix(a, ":*")) {
			out = append(out, fmt.Sprintf("allows every action %s: name the actions that are needed", a))
		}
	}
	for _, r := range s.member("Resource").texts() {
		if r == "*" || strings.HasPrefix(r, "arn:") && strings.HasSuffix(r, ":::*") {
			out = append(out, fmt.Sprintf("covers every resource %s: name the buckets", r))
		}
	}
	for _, element := range []string{"NotAction", "NotResource"} {
		if s.member(element).kind != jsonNull {
			out = append(out, "allows all but what "+element+" lists, and so whatever AWS adds later")
		}
	}
	return out
}

// lintDenial finds what makes a Deny deny nothing without a word: a variable
// that has no value fits no resource and no value, and so does an absent key
// under an operator that is not negated.
func lintDenial(s node, variables bool) (out []string) {
	if !variables {
		return nil
	}
	hollow := func(where, text string) {
		p, err := compile(text, true, true)
		for i := range p {
			if err == nil && p[i].kind == variable && !p[i].hasFallback {
				out = append(out, fmt.Sprintf("denies nothing to a caller without %s, which %s asks for: give the variable a default, or deny by Null too", p[i].written, where))
			}
		}
	}
	for _, r := range s.member("Resource").texts() {
		hollow("its Resource", r)
	}
	for _, operator := range s.member("Condition").members {
		if strings.Contains(operator.name, "Not") {
			continue
		}
		for _, key := range operator.value.members {
			for _, v := range key.value.texts() {
				hollow("its condition on "+key.name, v)
			}
		}
	}
	return out
}

func lintTrust(s node, samlURL string) (out []string) {
	actions := s.member("Action").texts()
	does := func(action string) bool {
		return slices.ContainsFunc(actions, func(a string) bool { return a == "*" || strings.EqualFold(a, "sts:*") || strings.EqualFold(a, action) })
	}
	principal := s.member("Principal")
	if principal.text == "*" || slices.Contains(principal.member("AWS").texts(), "*") && s.member("Condition").kind == jsonNull {
		out = append(out, "trusts everybody: name the provider or the account")
	}
	switch {
	case does("sts:AssumeRoleWithSAML"):
		return append(out, lintAudiences(s.audiences(func(key string) bool { return strings.EqualFold(key, "saml:aud") }), samlURL)...)
	case does("sts:AssumeRoleWithWebIdentity"):
		if len(s.audiences(func(key string) bool { return strings.HasSuffix(strings.ToLower(key), ":sub") })) == 0 {
			out = append(out, "trusts everybody whom the OIDC provider signs a token for: add a condition on its :sub key")
		}
	}
	return out
}

// audiences gives the values of the conditions on the keys that fit.
func (n node) audiences(fits func(key string) bool) (out []string) {
	for _, operator := range n.member("Condition").members {
		for _, key := range operator.value.members {
			if fits(key.name) && !strings.HasPrefix(strings.ToLower(operator.name), "stringnot") && !strings.EqualFold(operator.name, "Null") {
				out = append(out, key.value.texts()...)
			}
		}
	}
	return out
}

func lintAudiences(audiences []string, samlURL string) (out []string) {
	if len(audiences) == 0 {
		return []string{"takes an assertion made for any service provider: add the condition StringEquals SAML:aud with Carnet's SAML URL"}
	}
	for _, a := range audiences {
		switch {
		case strings.Contains(a, "signin.aws.amazon.com/saml") || strings.Contains(a, "signin.amazonaws.cn/saml") || strings.Contains(a, "signin.amazonaws-us-gov.com/saml"):
			out = append(out, "also admits the sign-in to the AWS console ("+a+"): keep roles for data apart from roles for the console")
		case strings.ContainsAny(a, "*?"):
			out = append(out, "has a wildcard in its audience "+a)
		case samlURL != "" && a != samlURL:
			out = append(out, "admits assertions for "+a+", which is not Carnet's SAML URL "+samlURL)
		}
	}
	if samlURL != "" && !slices.Contains(audiences, samlURL) {
		out = append(out, "does not admit Carnet: add its SAML URL "+samlURL+" to SAML:aud")
	}
	return out
}
