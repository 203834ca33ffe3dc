//go:build interop

package policydiff

import (
	"math/rand/v2"
	"slices"
	"strings"
)

// The generator draws from small sets on purpose, so that policies meet the
// request often and every trap is met many times.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator {
	return generator{rand.New(rand.NewPCG(seed, 0))}
}

const (
	own   = "111122223333"
	other = "444455556666"
	alice = "arn:aws:sts::111122223333:assumed-role/analyst/alice"
	bob   = "arn:aws:iam::111122223333:user/bob"
	saml  = "arn:aws:iam::111122223333:saml-provider/corp"
	oidc  = "arn:aws:iam::111122223333:oidc-provider/id.example.com"
)

func pick[T any](g generator, list ...T) T { return list[g.IntN(len(list))] }

// often is true in n of 100 cases.
func (g generator) often(n int) bool { return g.IntN(100) < n }

func (g generator) some(list []string) any {
	if g.often(70) {
		return pick(g, list...)
	}
	out := []any{}
	for range 1 + g.IntN(3) {
		out = append(out, pick(g, list...))
	}
	return out
}

type key struct {
	name   string
	kind   string // of the operators that fit it
	values []string
	odd    []string // present, and not of its type
	on     string   // the action that carries it; empty for all
}

var keys = []key{
	{"aws:PrincipalTag/team", "string", []string{"blue", "Blue", "red", "", "*", "bl?e", "a/b", "${aws:userid}", "10"}, nil, ""},
	{"aws:userid", "string", []string{"AROAEXAMPLE:alice", "AIDAEXAMPLE", "blue"}, nil, ""},
	{"aws:SourceIp", "ip", []string{"10.1.2.3", "192.0.2.7", "2001:db8::1", "10.0.0.0"}, []string{"unknown", "10.1.2"}, ""},
	{"aws:SecureTransport", "bool", []string{"true", "false", "True"}, []string{"yes"}, ""},
	{"aws:MultiFactorAuthAge", "numeric", []string{"5", "10", "10.0", "10.5", "-1", "3600"}, []string{"ten", ""}, ""},
	{"aws:CurrentTime", "date", []string{"2026-03-01T08:00:00Z", "2026-03-01", "2026-03-01T09:00:00+01:00", "1772352000"}, []string{"soon"}, ""},
	{"aws:SourceArn", "arn", []string{"arn:aws:sns:us-east-1:111122223333:t", "arn:aws:sns:eu-west-1:444455556666:t/u:v", "arn:aws:s3:::sales"}, []string{"sns"}, ""},
	{"aws:TagKeys", "string", []string{"team", "cost", "Team", "*"}, nil, ""},
	{"aws:PrincipalOrgPaths", "string", []string{"o-1/r-1/ou-1/", "o-1/r-1/ou-2/"}, nil, ""},
	{"s3:prefix", "string", []string{"", "home/", "home/blue", "home/*", "home/Blue/"}, nil, "s3:ListBucket"},
	{"s3:max-keys", "numeric", []string{"5", "10", "1000"}, nil, "s3:ListBucket"},
	{"s3:x-amz-acl", "string", []string{"private", "public-read"}, nil, "s3:PutObject"},
	{"s3:RequestObjectTagKeys", "string", []string{"team", "cost"}, nil, "s3:PutObject"},
	{"s3:ExistingObjectTag/class", "string", []string{"blue", "QQ==", "secret"}, nil, "s3:GetObject"},
	{"s3:signatureAge", "numeric", []string{"5", "600000"}, nil, ""},
}

var operators = map[string][]string{
	"string":  {"StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "BinaryEquals"},
	"ip":      {"IpAddress", "NotIpAddress"},
	"bool":    {"Bool"},
	"numeric": {"NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals"},
	"date":    {"DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals"},
	"arn":     {"ArnEquals", "ArnNotEquals", "ArnLike", "ArnNotLike"},
}

// operands are the values that a policy may give an operator, by a word in it.
var operands = []struct {
	word   string
	values []string
}{
	{"Binary", []string{"QQ==", "YmxhY2s="}},
	{"Numeric", []string{"5", "10", "10.5", "-1", "600000"}},
	{"Date", []string{"2026-03-01T08:00:00Z", "2026-03-01", "2020-01-01T00:00:00Z", "2030-01-01T00:00:00+02:00", "1772352000"}},
	{"Bool", []string{"true", "false"}},
	{"Ip", []string{"10.0.0.0/8", "10.1.2.3", "0.0.0.0/0", "2001:db8::/32", "192.0.2.0/24"}},
	{"Arn", []string{"arn:aws:sns:us-east-1:111122223333:t", "arn:aws:sns:*:*:*", "arn:aws:s3:::sales", "arn:aws:sns:us-east-1:111122223333:?", "arn:*:*:*:*:*", "*", "arn:aws:sns:us-east-1:111122223333:${aws:PrincipalTag/team}", "arn:aws:sns:*:444455556666:t/*"}},
	{"String", []string{"blue", "Blue", "red", "", "*", "bl*", "b?ue", "home/*", "home/${aws:PrincipalTag/team}", "home/${aws:PrincipalTag/team}*", "${aws:PrincipalTag/team}", "${aws:PrincipalTag/none, 'blue'}", "${aws:PrincipalTag/none}", "${*}", "${$}{aws:userid}", "bl${?}e", "team", "cost", "AROAEXAMPLE:*", "o-1/r-1/*", "private", "10"}},
}

var (
	actions = map[string][]string{
		"s3":  {"s3:GetObject", "s3:getobject", "s3:Get*", "s3:*", "*", "s3:PutObject", "s3:List*", "s3:?etObject", "s3:*Object", "S3:ListBucket", "sqs:*", "sts:*"},
		"sqs": {"sqs:SendMessage", "sqs:*", "*", "SQS:sendmessage", "sqs:Send*", "s3:*"},
		"iam": {"iam:GetRole", "iam:*", "*", "iam:Get*", "s3:*"},
	}
	resources = map[string][]string{
		"s3": {"*", "arn:aws:s3:::sales/*", "arn:aws:s3:::sales", "arn:aws:s3:::sales/2026/a.csv", "arn:aws:s3:::hr/*", "arn:aws:s3:::s*", "arn:aws:s3:::sales/${aws:PrincipalTag/team}/*",
			"arn:aws:s3:::sales/${aws:PrincipalTag/none, 'blue'}/*", "arn:aws:s3:::sales/${aws:PrincipalTag/none}/*", "arn:aws:s3:::sales/b?ue/*", "arn:aws:s3:::sales/${*}/x", "arn:aws:s3:::*/x", "arn:*:s3:::sales/*", "arn:aws:s3:::SALES/*"},
		"sqs": {"*", "arn:aws:sqs:us-east-1:111122223333:jobs", "arn:aws:sqs:*:*:jobs", "arn:aws:sqs:us-east-1:*:j*", "arn:aws:sqs:eu-west-1:111122223333:jobs", "arn:aws:sqs:us-east-1:111122223333:${aws:PrincipalTag/team}", "arn:aws:sqs:us-east-1:444455556666:*"},
		"iam": {"*", "arn:aws:iam::111122223333:role/analyst", "arn:aws:iam::*:role/*", "arn:aws:iam::444455556666:role/analyst", "arn:aws:iam::111122223333:*"},
	}
	principals = []any{
		"*", object{"AWS": "*"}, object{"AWS": own}, object{"AWS": "arn:aws:iam::111122223333:root"}, object{"AWS": other},
		object{"AWS": "arn:aws:iam::111122223333:role/analyst"}, object{"AWS": alice}, object{"AWS": bob},
		object{"AWS": []any{"arn:aws:iam::111122223333:role/other", alice}}, object{"AWS": []any{own, "arn:aws:iam::111122223333:role/analyst"}},
		object{"AWS": []any{own, bob}}, object{"AWS": []any{own, "arn:aws:iam::111122223333:role/analyst", alice}},
		object{"Service": "ec2.amazonaws.com"}, object{"Federated": saml},
	}
)

// draw makes one case.
func (g generator) draw() Case {
	if g.often(10) {
		return g.drawTrust()
	}
	c := Case{Principal: pick(g, alice, alice, alice, bob), Account: pick(g, own, own, own, other)}
	c.Action = pick(g, "s3:GetObject", "s3:GetObject", "s3:GetObject", "s3:PutObject", "s3:ListBucket", "S3:GETOBJECT", "sqs:SendMessage", "iam:GetRole")
	service, _, _ := strings.Cut(strings.ToLower(c.Action), ":")
	switch {
	case service == "sqs":
		c.Resource = "arn:aws:sqs:us-east-1:" + c.Account + ":" + pick(g, "jobs", "blue")
	case service == "iam":
		c.Account = own
		c.Resource = "arn:aws:iam::" + own + ":role/analyst"
	case c.Action == "s3:ListBucket":
		c.Resource = "arn:aws:s3:::" + pick(g, "sales", "sales", "hr")
	default:
		c.Resource = "arn:aws:s3:::sales/" + pick(g, "2026/a.csv", "blue/x", "red/x", "a/b/x", "2026/ü b", "a//x", "x:y", "${aws:userid}/x")
		if g.often(2) {
			c.Resource = "arn:aws:s3:::sales/" + pick(g, "bl*e/x", "*/x")
		}
	}
	c.Context = g.context(c.Action)
	for range pick(g, 0, 1, 1, 1, 2) {
		c.Identity = append(c.Identity, g.document(service, "identity", c.Action))
	}
	if service != "iam" && (g.often(40) || c.Account == other && g.often(70)) {
		c.Bucket = g.document(service, "resource", c.Action)
	}
	if g.often(25) {
		c.Boundary = g.document(service, "identity", c.Action)
	}
	if c.Principal == alice && g.often(25) {
		c.Session = g.document(service, "identity", c.Action)
	}
	if g.often(20) {
		for range 1 + g.IntN(2) {
			level := []object{g.document(service, "guardrail", c.Action)}
			if g.often(60) {
				level = append(level, object{"Version": "2012-10-17", "Statement": []any{object{"Effect": "Allow", "Action": "*", "Resource": "*"}}})
			}
			c.Service = append(c.Service, level)
		}
	}
	if service != "iam" && g.often(15) {
		c.Resources = [][]object{{g.document(service, "control", c.Action)}}
	}
	return c
}

// drawTrust asks a role trust policy, as STS does for a federated caller.
func (g generator) drawTrust() Case {
	c := Case{Principal: saml, Action: "sts:AssumeRoleWithSAML", Resource: "arn:aws:iam::" + own + ":role/analyst", Account: own, Context: map[string][]string{}}
	audience := "SAML:aud"
	if g.often(40) {
		c.Principal, c.Action, audience = oidc, "sts:AssumeRoleWithWebIdentity", "accounts.google.com:aud" // the simulator knows no keys of other providers
	}
	subject := strings.Replace(audience, "aud", "sub", 1)
	for _, k := range []key{
		{name: audience, values: []string{"https://a", "https://b"}}, {name: subject, values: []string{"alice", "bob", "*"}},
		{name: "sts:RoleSessionName", values: []string{"alice", "bob"}}, {name: "aws:PrincipalTag/team", values: []string{"blue", "red"}},
	} {
		if g.often(80) {
			c.Context[k.name] = []string{pick(g, k.values...)}
		}
	}
	statements := []any{}
	for range 1 + g.IntN(2) {
		s := object{
			"Effect":    pick(g, "Allow", "Allow", "Allow", "Deny"),
			"Principal": pick[any](g, object{"Federated": saml}, object{"Federated": oidc}, object{"Federated": c.Principal}, object{"Federated": []any{saml, oidc}}, "*", object{"AWS": own}),
			"Action":    g.some([]string{"sts:AssumeRoleWithSAML", "sts:AssumeRoleWithWebIdentity", "sts:AssumeRole*", "sts:*", "sts:TagSession", "sts:assumerolewithsaml"}),
		}
		if g.often(60) {
			s["Condition"] = pick(g,
				object{"StringEquals": object{audience: g.some([]string{"https://a", "https://b"})}},
				object{"StringLike": object{subject: pick(g, "a*", "*", "bob", "${sts:RoleSessionName}")}},
				object{"StringEquals": object{subject: "alice", audience: "https://a"}},
				object{"StringNotEquals": object{subject: "bob"}},
				object{"StringEqualsIfExists": object{"sts:RoleSessionName": "alice"}},
				object{"Null": object{"sts:RoleSessionName": pick(g, "true", "false")}})
		}
		statements = append(statements, s)
	}
	c.Trust = object{"Version": "2012-10-17", "Statement": statements}
	return c
}

func (g generator) context(action string) map[string][]string {
	out := map[string][]string{}
	for _, k := range keys {
		if k.on != "" && !strings.EqualFold(k.on, action) || !g.often(55) {
			continue
		}
		if k.name == "s3:signatureAge" && !strings.HasPrefix(strings.ToLower(action), "s3:") {
			continue
		}
		if len(k.odd) > 0 && g.often(4) {
			out[k.name] = []string{pick(g, k.odd...)}
			continue
		}
		out[k.name] = []string{pick(g, k.values...)}
		if slices.Contains(multivalued, k.name) {
			for range g.IntN(3) {
				out[k.name] = append(out[k.name], pick(g, k.values...))
			}
		}
	}
	return out
}

func (g generator) document(service, kind, action string) object {
	d := object{"Version": "2012-10-17"}
	if kind != "control" && g.often(5) {
		d["Version"] = "2008-10-17"
	}
	statements := []any{}
	for range 1 + g.IntN(2) {
		statements = append(statements, g.statement(service, kind, action))
	}
	if kind == "identity" && g.often(40) {
		statements = append(statements, object{"Effect": "Allow", "Action": "*", "Resource": "*"})
	}
	d["Statement"] = statements
	if len(statements) == 1 && g.often(20) {
		d["Statement"] = statements[0]
	}
	return d
}

func (g generator) statement(service, kind, action string) object {
	s := object{"Effect": "Allow"}
	if g.often(25) || kind == "control" || kind == "guardrail" && g.often(30) {
		s["Effect"] = "Deny"
	}
	a, r := "Action", "Resource"
	if g.often(15) && kind != "control" {
		a = "NotAction"
	}
	if g.often(15) {
		r = "NotResource"
	}
	s[a], s[r] = g.some(actions[service]), g.some(resources[service])
	if kind == "control" { // AWS takes no lone * here
		s[a] = pick[any](g, service+":*", action, []any{service + ":Get*", service + ":*"})
	} else if a == "Action" && g.often(50) {
		s[a] = pick(g, "*", service+":*")
	}
	if r == "Resource" && g.often(40) {
		s[r] = "*"
	}
	switch kind {
	case "resource":
		name := "Principal"
		if s["Effect"] == "Deny" && g.often(30) {
			name = "NotPrincipal"
		}
		s[name] = pick(g, principals...)
	case "control":
		s["Principal"] = "*"
	}
	if g.often(55) {
		condition := object{}
		for range pick(g, 1, 1, 2) {
			operator, test := g.test(action)
			condition[operator] = test
		}
		s["Condition"] = condition
	}
	return s
}

// test gives one operator with one key and its values.
func (g generator) test(action string) (string, object) {
	k := keys[g.IntN(len(keys))]
	for k.on != "" && !strings.EqualFold(k.on, action) || strings.HasPrefix(k.name, "s3:") && !strings.HasPrefix(strings.ToLower(action), "s3:") {
		k = keys[g.IntN(len(keys))]
	}
	name := k.name
	if g.often(10) {
		name = strings.ToUpper(name[:1]) + name[1:]
	}
	if g.often(10) {
		return "Null", object{name: pick(g, "true", "false")}
	}
	kind := k.kind
	if g.often(10) {
		kind = "string"
	}
	operator := pick(g, operators[kind]...)
	var values []string
	for _, o := range operands {
		if strings.Contains(operator, o.word) {
			values = o.values
			break
		}
	}
	prefix := ""
	if slices.Contains(multivalued, k.name) && g.often(85) || g.often(8) {
		prefix = pick(g, "ForAllValues:", "ForAnyValue:")
	}
	return prefix + operator + pick(g, "", "", "", "IfExists"), object{name: g.some(values)}
}
