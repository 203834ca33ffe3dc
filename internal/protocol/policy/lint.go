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
// the console beside the data. It decides nothing. samlURL is the audience
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
		if s.member("Effect").text != "Allow" {
			continue
		}
		name := s.member("Sid").text
		if name == "" {
			name = fmt.Sprint(i + 1)
		}
		var found []string
		if kind == Trust {
			found = lintTrust(s, samlURL)
		} else {
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
