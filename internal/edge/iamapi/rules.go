package iamapi

import "regexp"

// rule is the form of one parameter (IAM API Reference; lengths in characters).
type rule struct {
	least, most int
	pattern     string // as AWS's texts show it
	form        *regexp.Regexp
	oneOf       []string
}

func patterned(least, most int, pattern string) rule {
	return rule{least: least, most: most, pattern: pattern, form: compiled(pattern)}
}

// compiled anchors a pattern as AWS means it.
func compiled(pattern string) *regexp.Regexp {
	return regexp.MustCompile(`\A(?:` + pattern + `)\z`)
}

func words(values ...string) rule { return rule{least: 0, most: 64, oneOf: values} }

// The rules of the API model.
var (
	roleName       = patterned(1, 64, `[\w+=,.@-]+`)
	userName       = patterned(1, 64, `[\w+=,.@-]+`)
	anyUserName    = patterned(1, 128, `[\w+=,.@-]+`) // of one that may exist
	groupName      = patterned(1, 128, `[\w+=,.@-]+`)
	policyName     = patterned(1, 128, `[\w+=,.@-]+`)
	profileName    = patterned(1, 128, `[\w+=,.@-]+`)
	samlName       = patterned(1, 128, `[\w._-]+`)
	samlMetadata   = rule{least: 1000, most: 10_000_000}
	encryptionMode = words("Required", "Allowed")
	privateKey     = patterned(1, 16384, `[\x09\x0A\x0D\x{20}-\x{FF}]+`)
	privateKeyID   = patterned(22, 64, `[A-Z0-9]+`)
	issuerURL      = rule{least: 1, most: 255}
	clientID       = rule{least: 1, most: 255}
	thumbprint     = rule{least: 40, most: 40}
	documentText   = rule{least: 1, most: 131072, pattern: `[\u0009\u000A\u000D\u0020-\u00FF]+`, form: compiled(`[\x09\x0A\x0D\x{20}-\x{FF}]+`)}
	pathText       = rule{least: 1, most: 512, pattern: `(\u002F)|(\u002F[\u0021-\u007E]+\u002F)`, form: compiled(`/|/[!-~]+/`)}
	pathPrefix     = rule{least: 1, most: 512, pattern: `\u002F[\u0021-\u007E]*`, form: compiled(`/[!-~]*`)}
	policyPath     = patterned(1, 512, `((/[A-Za-z0-9\.,\+@=_-]+)*)/`)
	arnText        = rule{least: 20, most: 2048}
	tagKey         = patterned(1, 128, `[\p{L}\p{Z}\p{N}_.:/=+\-@]+`)
	tagValue       = patterned(0, 256, `[\p{L}\p{Z}\p{N}_.:/=+\-@]*`)
	versionID      = patterned(1, 32, `v[1-9][0-9]*(\.[A-Za-z0-9-]*)?`)
	description    = patterned(0, 1000, `[\x{9}\x{A}\x{D}\x{20}-\x{7E}\x{A1}-\x{FF}]*`)
	keyID          = patterned(16, 128, `[\w]+`)
	keyStatus      = words("Active", "Inactive")
	aliasText      = rule{least: 3, most: 63, pattern: `^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$`, form: compiled(`[a-z0-9](-?[a-z0-9])*`)}
	markerText     = patterned(1, 2048, `[\x{20}-\x{FF}]+`)
)
