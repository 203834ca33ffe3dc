package identity

// NewIAMID makes the unique id of an IAM entity, shaped as AWS's: a prefix
// that says the kind (IAM User Guide, "Understanding unique ID
// prefixes": AGPA group, ANPA managed policy, AIPA instance profile, AKIA
// long-term access key), then 17 letters or digits; 16 for an access key.
func NewIAMID(prefix string) string {
	n := 17
	if prefix == "AKIA" {
		n = 16
	}
	return prefix + upper.EncodeToString(random(16))[:n]
}
