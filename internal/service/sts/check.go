package sts

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
)

// The longest parameters (STS API Reference).
const (
	maxPolicy     = 2048 // characters, managed policies' ARNs included
	maxPolicyARNs = 10
)

func invalid(format string, args ...any) error {
	return fault.Coded(fault.Invalid, "ValidationError", fmt.Sprintf(format, args...))
}

// deny is the text of a denial to whoever comes with an identity provider's
// word; why is for the log.
func deny(action, why string) error {
	return fault.Coded(fault.Denied, "AccessDenied", "Not authorized to perform "+action).WithCause(errors.New(why))
}

// checks gathers what is wrong with the parameters, in AWS's words: all of it is
// told at once.
type checks struct{ wrong []string }

func (c *checks) add(value, name, constraint string) {
	at := "Value at"
	if value != "" {
		at = "Value '" + value + "' at"
	}
	c.wrong = append(c.wrong, at+" '"+name+"' failed to satisfy constraint: Member must "+constraint)
}

// given holds a parameter that must be there. An empty one counts as absent.
func (c *checks) given(name, value string, least, most int) {
	if value == "" {
		c.wrong = append(c.wrong, "Value null at '"+name+"' failed to satisfy constraint: Member must not be null")
		return
	}
	c.length(name, value, least, most)
}

// givenName is given for a name of a session.
func (c *checks) givenName(name, value string, least, most int) {
	if c.given(name, value, 0, arn.MaxLength); value != "" {
		c.pattern(name, value, least, most, nameCharacters)
	}
}

func (c *checks) length(name, value string, least, most int) bool {
	n := utf8.RuneCountInString(value)
	switch {
	case n < least && n == 0:
		c.add("", name, fmt.Sprintf("have length greater than or equal to %d", least))
	case n < least:
		c.add(clip(value), name, fmt.Sprintf("have length greater than or equal to %d", least))
	case n > most:
		c.add("", name, fmt.Sprintf("have length less than or equal to %d", most))
	default:
		return true
	}
	return false
}

// pattern holds a value to a length and to characters of a class of ASCII.
func (c *checks) pattern(name, value string, least, most int, extra string) {
	if c.length(name, value, least, most) && !within(value, extra) {
		c.add(clip(value), name, `satisfy regular expression pattern: [\w`+extra+`]*`)
	}
}

// within reports whether a value has letters, digits, _ and the extra
// characters alone.
func within(value, extra string) bool {
	for i := range len(value) {
		c := value[i]
		word := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
		if !word && strings.IndexByte(extra, c) < 0 {
			return false
		}
	}
	return true
}

// What names of sessions, and external ids, may hold beside \w.
const (
	nameCharacters     = "+=,.@-"
	externalCharacters = "+=,.@:/-"
)

func (c *checks) duration(l *Limits, least, most time.Duration) {
	seconds := int64(l.Duration / time.Second)
	if l.HasDuration && l.Duration < least {
		c.add(fmt.Sprint(seconds), "durationSeconds", fmt.Sprintf("have value greater than or equal to %d", int64(least/time.Second)))
	}
	if l.HasDuration && l.Duration > most {
		c.add(fmt.Sprint(seconds), "durationSeconds", fmt.Sprintf("have value less than or equal to %d", int64(most/time.Second)))
	}
}

func (c *checks) policies(l *Limits) {
	if l.HasPolicy {
		c.length("policy", l.Policy, 1, maxPolicy)
	}
	for i, a := range l.PolicyARNs {
		c.length(fmt.Sprintf("policyArns.%d.member.arn", i+1), a, 20, arn.MaxLength)
	}
	if len(l.PolicyARNs) > maxPolicyARNs {
		c.add("", "policyArns", fmt.Sprintf("have length less than or equal to %d", maxPolicyARNs))
	}
}

func (c *checks) mfa(m *MFA) {
	if m.HasSerialNumber {
		c.pattern("serialNumber", m.SerialNumber, 9, 256, nameCharacters+"/:")
	}
	if m.HasTokenCode && (len(m.TokenCode) != 6 || strings.Trim(m.TokenCode, "0123456789") != "") {
		c.add("", "tokenCode", `satisfy regular expression pattern: [\d]{6}`)
	}
}

func (c *checks) err() error {
	switch len(c.wrong) {
	case 0:
		return nil
	case 1:
		return invalid("1 validation error detected: %s", c.wrong[0])
	}
	return invalid("%d validation errors detected: %s", len(c.wrong), strings.Join(c.wrong, "; "))
}

// tags holds session tags that came as parameters to their rules.
func (c *checks) tags(tags []sessiontoken.Tag, transitive []string) {
	if len(tags) > maxTags {
		c.add("", "tags", fmt.Sprintf("have length less than or equal to %d", maxTags))
	}
	if len(transitive) > maxTags {
		c.add("", "transitiveTagKeys", fmt.Sprintf("have length less than or equal to %d", maxTags))
	}
	for i, t := range tags {
		at := fmt.Sprintf("tags.%d.member.", i+1)
		if c.length(at+"key", t.Key, 1, maxTagKey) && !tagText(t.Key) {
			c.add(clip(t.Key), at+"key", `satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+`)
		}
		if c.length(at+"value", t.Value, 0, maxTagValue) && !tagText(t.Value) {
			c.add(clip(t.Value), at+"value", `satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]*`)
		}
	}
}

// uniqueTags refuses what only tags together can have wrong.
func uniqueTags(tags []sessiontoken.Tag, transitive []string) error {
	seen := map[string]bool{}
	for _, t := range tags {
		switch folded := strings.ToLower(t.Key); {
		case strings.HasPrefix(folded, "aws:"):
			return invalid("System tags cannot be modified by end users: %q", clip(t.Key))
		case seen[folded]:
			return fault.Coded(fault.Invalid, "InvalidParameterValue", "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		default:
			seen[folded] = true
		}
	}
	again := map[string]bool{}
	for _, key := range transitive {
		folded := strings.ToLower(key)
		if !seen[folded] || again[folded] {
			return invalid("The specified transitive tag key must be included in the requested tags.")
		}
		again[folded] = true
	}
	return nil
}

// sizes holds what AWS bounds together, after each parameter had its own shape.
func (l *Limits) sizes() error {
	all := utf8.RuneCountInString(l.Policy)
	for _, a := range l.PolicyARNs {
		all += len(a)
	}
	if all > maxPolicy {
		return fault.Coded(fault.TooLarge, "PackedPolicyTooLarge",
			fmt.Sprintf("The session policy and the ARNs of managed session policies have more than %d characters together.", maxPolicy))
	}
	return nil
}

func roleARN(text string) (arn.Role, error) {
	role, err := arn.ParseRole(text)
	if err != nil {
		return role, invalid("Request ARN is invalid: %s", err)
	}
	return role, nil
}

// validSourceIdentity holds the rule that no source identity begins as AWS's own.
func validSourceIdentity(s string) bool {
	return identity.ValidSessionName(s) && !strings.HasPrefix(strings.ToLower(s), "aws:")
}

func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
