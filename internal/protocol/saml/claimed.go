package saml

// ClaimedRequest reads which request a message says it answers, unverified:
// the InResponseTo of its root. Empty: it answers none. It serves to find what
// to verify with, and for nothing else.
func ClaimedRequest(raw []byte, limit int) (string, error) {
	root, err := parseTree(raw, responseLimits(limit))
	if err != nil {
		return "", err
	}
	return attrValue(root, "InResponseTo"), nil
}
