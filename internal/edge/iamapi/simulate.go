package iamapi

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/awsquery"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/service/iam"
)

func simulateOperations() map[string]operation {
	return map[string]operation{
		"SimulateCustomPolicy": simulateCustom, "SimulatePrincipalPolicy": simulatePrincipal,
		"GetContextKeysForCustomPolicy": customKeys, "GetContextKeysForPrincipalPolicy": principalKeys,
	}
}

// The forms of a simulation's parameters.
var (
	actionText   = rule{least: 3, most: 128}
	resourceText = rule{least: 1, most: 2048}
	keyText      = rule{least: 5, most: 256}
	valueText    = rule{most: 2048}
	handlingText = rule{least: 1, most: 64}
)

// mostSimulated bounds actions times resources of one call: each costs a
// decision.
const mostSimulated = 2000

// mostWork bounds pairs of action and resource times characters of the policies
// that are sent along: every statement is looked at for every pair.
const mostWork = 256 << 20

// scenario is what a simulation's parameters say beside the policies.
type scenario struct {
	policy.Simulation
	inputs, boundaries []string
	resourcePolicy     string
	page               page
}

// scenario reads what both simulations take.
func (c *call) scenario(least int) *scenario {
	s := &scenario{page: c.page()}
	s.inputs = c.in.texts("PolicyInputList", documentText, least, 100)
	s.boundaries = c.in.texts("PermissionsBoundaryPolicyInputList", documentText, 0, 1)
	s.Actions = c.in.texts("ActionNames", actionText, 1, 1000)
	s.Resources = c.in.texts("ResourceArns", resourceText, 0, 1000)
	s.resourcePolicy, _ = c.in.maybe("ResourcePolicy", documentText)
	s.Principal = policy.Principal{Account: c.caller.Account, ARN: "arn:" + c.partition() + ":iam::" + c.caller.Account + ":root"}
	if caller, ok := c.in.maybe("CallerArn", resourceText); ok {
		c.simulatedCaller(s, caller)
	} else if s.resourcePolicy != "" {
		c.in.fails(fault.Coded(fault.Invalid, "InvalidInput", "CallerArn is required when ResourcePolicy is used."))
	}
	if owner, ok := c.in.maybe("ResourceOwner", resourceText); ok {
		a, err := arn.Parse(owner)
		if err != nil || a.Account == "" {
			c.in.fails(fault.Coded(fault.Invalid, "InvalidInput", "ResourceOwner must be the ARN of an account, such as arn:aws:iam::111122223333:root."))
		}
		s.ResourceAccount = a.Account
	}
	if _, ok := c.in.maybe("ResourceHandlingOption", handlingText); ok {
		c.in.fails(fault.Coded(fault.Invalid, "InvalidInput", "ResourceHandlingOption is for simulations of Amazon EC2, which Carnet has none of."))
	}
	c.contextEntries(&s.Context)
	characters, pairs := 0, len(s.Actions)*max(1, len(s.Resources))
	for _, text := range slices.Concat(s.inputs, s.boundaries, []string{s.resourcePolicy}) {
		characters += len(text)
	}
	if characters*pairs > mostWork {
		c.in.fails(fault.Coded(fault.Invalid, "InvalidInput", "Policies this long can't be simulated for that many actions and resources at once: send fewer of them in each call."))
	}
	if pairs > mostSimulated {
		c.in.fails(fault.Coded(fault.Invalid, "InvalidInput", fmt.Sprintf("More than %d pairs of action and resource.", mostSimulated)))
	}
	return s
}

func (c *call) simulatedCaller(s *scenario, caller string) {
	a, err := arn.Parse(caller)
	if err != nil || a.Account == "" {
		c.in.fails(fault.Coded(fault.Invalid, "InvalidInput", "CallerArn must be the ARN of a user or role."))
		return
	}
	s.Principal = policy.Principal{Account: a.Account, ARN: caller}
}

func (c *call) contextEntries(into *policy.Context) {
	types := words("string", "stringList", "numeric", "numericList", "boolean", "booleanList", "ip", "ipList", "binary", "binaryList", "date", "dateList")
	for i, m := range c.in.members("ContextEntries", 0, 256, "ContextKeyName", "ContextKeyType", "ContextKeyValues.") {
		at := fmt.Sprintf("contextEntries.%d.member.", i+1)
		name, _ := m.Get("ContextKeyName")
		kind, _ := m.Get("ContextKeyType")
		c.in.hold(name, at+"contextKeyName", keyText)
		c.in.hold(kind, at+"contextKeyType", types)
		members, err := m.Members("ContextKeyValues")
		if err != nil {
			c.in.fails(err)
			return
		}
		var values []string
		for _, v := range members {
			value, _ := v.Get("")
			c.in.hold(value, at+"contextKeyValues", valueText)
			values = append(values, value)
		}
		if len(values) > 1 && !strings.HasSuffix(kind, "List") {
			c.in.fails(fault.Coded(fault.Invalid, "InvalidInput", fmt.Sprintf("Context key %s has several values and the type %s.", name, kind)))
		}
		into.Set(name, values...)
	}
}

// parse compiles the policies of the call into the set. Errors:
// InvalidInput, as AWS answers a policy that doesn't parse here.
func (s *scenario) parse(set *policy.Set) error {
	for i, text := range s.inputs {
		d, err := parsed(policy.Identity, fmt.Sprintf("PolicyInputList.%d", i+1), text)
		if err != nil {
			return err
		}
		set.Identity = append(set.Identity, d)
	}
	for i, text := range s.boundaries {
		d, err := parsed(policy.Boundary, fmt.Sprintf("PermissionsBoundaryPolicyInputList.%d", i+1), text)
		if err != nil {
			return err
		}
		set.Boundary = d
	}
	if s.resourcePolicy != "" {
		d, err := parsed(policy.Resource, "ResourcePolicy", s.resourcePolicy)
		if err != nil {
			return err
		}
		set.Resource = d
	}
	return nil
}

func parsed(kind policy.Kind, name, text string) (*policy.Document, error) {
	d, err := policy.Parse(kind, name, []byte(text))
	if err != nil {
		return nil, fault.Of(err).WithCode("InvalidInput")
	}
	return d, nil
}

func simulateCustom(c *call) ([]awsquery.Field, error) {
	s := c.scenario(1)
	levels := c.organizationLevels()
	if err := c.in.err(); err != nil {
		return nil, err
	}
	if err := c.may("*"); err != nil {
		return nil, err
	}
	if err := s.parse(&s.Set); err != nil {
		return nil, err
	}
	for i, level := range levels {
		var documents []*policy.Document
		for j, text := range level {
			d, err := parsed(policy.Guardrail, fmt.Sprintf("OrderedOrganizationPolicyInputList.%d.%d", i+1, j+1), text)
			if err != nil {
				return nil, err
			}
			documents = append(documents, d)
		}
		s.Set.Guardrails = append(s.Set.Guardrails, documents)
	}
	return s.answer(), nil
}

// organizationLevels reads the service control policies of each level, from
// the organisation's root to the account.
func (c *call) organizationLevels() (levels [][]string) {
	for _, m := range c.in.members("OrderedOrganizationPolicyInputList", 0, 7, "ServiceControlPolicyInputList.") {
		members, err := m.Members("ServiceControlPolicyInputList")
		if err != nil {
			c.in.fails(err)
			return nil
		}
		var level []string
		for i, d := range members {
			text, _ := d.Get("")
			c.in.hold(text, fmt.Sprintf("serviceControlPolicyInputList.%d.member", i+1), documentText)
			level = append(level, text)
		}
		levels = append(levels, level)
	}
	return levels
}

func simulatePrincipal(c *call) ([]awsquery.Field, error) {
	source := c.in.text("PolicySourceArn", arnText)
	s := c.scenario(0)
	left := c.exclusions()
	p, v, err := see(c, c.principalNamed(source))
	if err != nil {
		return nil, err
	}
	if _, given := c.in.parameters.Get("CallerArn"); !given && p.kind.word != "group" {
		s.Principal = policy.Principal{Account: c.caller.Account, ARN: p.arn, UniqueID: p.id}
	}
	if err := c.stand(&s.Set, v, p, left); err != nil {
		return nil, err
	}
	if err := s.parse(&s.Set); err != nil {
		return nil, err
	}
	if !left.kind("scp") {
		snapshot, err := c.snapshot()
		if err != nil {
			return nil, err
		}
		s.Set.Guardrails, _ = snapshot.Guardrails(c.caller.Account)
	}
	return s.answer(), nil
}

// principalNamed gives the finder of a user, group or role by ARN.
func (c *call) principalNamed(source string) finder[bearer] {
	return func(v *iam.View) (bearer, string, error) {
		if err := c.may(source); err != nil {
			return bearer{}, source, err
		}
		a, err := arn.Parse(source)
		if err != nil || a.Service != "iam" || a.Account == "" {
			return bearer{}, source, fault.Coded(fault.Invalid, "InvalidInput", "Invalid Entity Arn: "+clip(source)+" does not clearly define entity type and name.")
		}
		for _, k := range bearerKinds() {
			if !strings.HasPrefix(a.Resource, k.word+"/") {
				continue
			}
			name := source[strings.LastIndexByte(source, '/')+1:]
			if b, ok := c.bearerOf(v, k, name); ok && b.arn == source {
				return b, source, nil
			}
			return bearer{}, source, noSuch("The %s with name %s cannot be found.", k.word, name)
		}
		return bearer{}, source, fault.Coded(fault.Invalid, "InvalidInput", "Invalid Entity Arn: "+clip(source)+" does not clearly define entity type and name.")
	}
}

// stand puts the policies that a principal has into a set, each under the name
// that AWS gives it in a simulation.
func (c *call) stand(set *policy.Set, v *iam.View, p bearer, left exclusions) error {
	all := []bearer{p}
	if p.kind.word == "user" {
		u, _ := v.User(c.caller.Account, p.name)
		for _, g := range v.GroupsOf(u) {
			all = append(all, c.groupBearer(bearerKinds()[1], g))
		}
	}
	for _, b := range all {
		for _, x := range b.inline {
			if left.inline(b, x.Name) {
				continue
			}
			d, err := policy.Parse(policy.Identity, b.kind.word+"_"+b.name+"_"+x.Name, []byte(x.Document))
			if err != nil {
				return err
			}
			set.Identity = append(set.Identity, d)
		}
		for _, m := range c.attachedTo(v, b, "/") {
			if left.managed(m) {
				continue
			}
			d, err := policy.Parse(policy.Identity, m.name, []byte(m.text()))
			if err != nil {
				return err
			}
			set.Identity = append(set.Identity, d)
		}
	}
	return c.bounded(set, v, p, left)
}

func (c *call) bounded(set *policy.Set, v *iam.View, p bearer, left exclusions) (err error) {
	if p.boundary == nil || left.kind("permission-boundary") {
		return nil
	}
	name, text := p.boundary.Name, p.boundary.Document
	if m, ok := c.managedOf(v, p.boundary.ARN); ok {
		name, text = m.name, m.text()
	}
	set.Boundary, err = policy.Parse(policy.Boundary, name, []byte(text))
	return err
}

// text is the document in force.
func (m managed) text() string {
	v, _ := m.version(m.inForce)
	return v.Document
}

// answer simulates and writes one page.
func (s *scenario) answer() []awsquery.Field {
	results := policy.Simulate(s.Simulation)
	places := make([]int, len(results))
	for i := range places {
		places[i] = i
	}
	return part("EvaluationResults", s.page, places, func(i int) string { return fmt.Sprintf("%06d", i) },
		func(i int) []awsquery.Field { return evaluation(results[i]) })
}

func evaluation(r policy.Simulated) []awsquery.Field {
	matched := awsquery.List("MatchedStatements", r.Matched, statementFields)
	missing := awsquery.Texts("MissingContextValues", r.Missing)
	fields := []awsquery.Field{
		text("EvalActionName", r.Action), text("EvalResourceName", r.Resource), text("EvalDecision", string(r.Decision)), matched, missing,
	}
	var limits []awsquery.Field
	if r.Details != nil {
		var entries [][2]string
		for _, by := range slices.Sorted(maps.Keys(r.Details)) {
			entries = append(entries, [2]string{by, string(r.Details[by])})
		}
		limits = append(limits, mapField("EvalDecisionDetails", entries))
	}
	if r.AllowedByBoundary != nil {
		limits = append(limits, group("PermissionsBoundaryDecisionDetail", truth("AllowedByPermissionsBoundary", *r.AllowedByBoundary)))
	}
	if r.AllowedByOrganizations != nil {
		fields = append(fields, group("OrganizationsDecisionDetail", truth("AllowedByOrganizations", *r.AllowedByOrganizations)))
	}
	fields = append(fields, limits...)
	specific := []policy.Simulated{r}
	if r.Resource == "*" {
		specific = nil
	}
	return append(fields, awsquery.List("ResourceSpecificResults", specific, func(policy.Simulated) []awsquery.Field {
		own := []awsquery.Field{text("EvalResourceName", r.Resource), text("EvalResourceDecision", string(r.Decision)), matched, missing}
		return append(own, limits...)
	}))
}

func statementFields(m policy.MatchedStatement) []awsquery.Field {
	at := func(name string, p policy.Position) awsquery.Field {
		return group(name, text("Line", strconv.Itoa(p.Line)), text("Column", strconv.Itoa(p.Column)))
	}
	return []awsquery.Field{
		text("SourcePolicyId", m.SourcePolicyID), text("SourcePolicyType", m.SourcePolicyType), at("StartPosition", m.Start), at("EndPosition", m.End),
	}
}

func customKeys(c *call) ([]awsquery.Field, error) {
	s := &scenario{inputs: c.in.texts("PolicyInputList", documentText, 1, 100)}
	if err := c.in.err(); err != nil {
		return nil, err
	}
	if err := c.may("*"); err != nil {
		return nil, err
	}
	return s.keys(&policy.Set{})
}

func principalKeys(c *call) ([]awsquery.Field, error) {
	source := c.in.text("PolicySourceArn", arnText)
	s := &scenario{inputs: c.in.texts("PolicyInputList", documentText, 0, 100)}
	p, v, err := see(c, c.principalNamed(source))
	if err != nil {
		return nil, err
	}
	var set policy.Set
	if err := c.stand(&set, v, p, exclusions{}); err != nil {
		return nil, err
	}
	return s.keys(&set)
}

// keys lists the condition keys of a set and of the call's policies.
func (s *scenario) keys(set *policy.Set) ([]awsquery.Field, error) {
	if err := s.parse(set); err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for _, d := range set.Identity {
		for _, k := range d.ContextKeys() {
			all[k] = true
		}
	}
	return []awsquery.Field{awsquery.Texts("ContextKeyNames", slices.Sorted(maps.Keys(all)))}, nil
}
