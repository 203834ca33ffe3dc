package sessiontoken

import (
	"encoding/binary"
	"errors"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/secret"
)

// The claims as bytes: fields of uvarint number, uvarint length, content. A
// number is never given a second meaning; a reader refuses one that it does
// not know, since an unread claim could be a limit.
const (
	fRole = 1 + iota
	fRoleID
	fSessionName
	fSecretKey
	fIssuedAt
	fExpires
	fEpoch
	fPerson
	fLoginSession
	fCluster
	fDelegation
	fSourceIdentity
	fTagKey // followed at once by its fTagValue
	fTagValue
	fTransitiveTagKey
	fProvider
	fSubject
	fSubjectType
	fNameQualifier
	fSessionPolicy
	fSessionPolicyARN
	fKind // absent for a role session
	fChained
	fUser
	fUserID
	fFederatedName
	fAudience
	fMethod
	fServicePrincipal
	fAttachment
	fNode
	fOwner
	fLast = fOwner
)

var errCodec = errors.New("sessiontoken: malformed claims")

// texts are the claims that are one text each.
func (c *Claims) texts() [19]textClaim {
	return [...]textClaim{
		{fRoleID, (*string)(&c.RoleID)}, {fSessionName, &c.SessionName}, {fPerson, (*string)(&c.Person)},
		{fLoginSession, (*string)(&c.LoginSession)}, {fCluster, (*string)(&c.Cluster)}, {fDelegation, (*string)(&c.Delegation)},
		{fSourceIdentity, &c.SourceIdentity}, {fProvider, &c.Provider}, {fSubject, &c.Subject}, {fSubjectType, &c.SubjectType},
		{fNameQualifier, &c.NameQualifier}, {fSessionPolicy, &c.SessionPolicy},
		{fUserID, (*string)(&c.UserID)}, {fFederatedName, &c.FederatedName}, {fAudience, &c.Audience},
		{fServicePrincipal, (*string)(&c.ServicePrincipal)},
		{fAttachment, (*string)(&c.Attachment)}, {fNode, (*string)(&c.Node)}, {fOwner, &c.Owner},
	}
}

type textClaim struct {
	n  uint64
	at *string
}

func encode(c *Claims) []byte {
	b := make([]byte, 0, 768)
	text := func(n uint64, s string) {
		if s != "" {
			b = field(b, n, s)
		}
	}
	number := func(n, v uint64) { b = field(b, n, binary.AppendUvarint(make([]byte, 0, binary.MaxVarintLen64), v)) }
	text(fRole, c.Role.String())
	text(fUser, c.User.String())
	text(fSecretKey, c.SecretKey.Reveal())
	number(fIssuedAt, uint64(c.IssuedAt.Unix()))
	number(fExpires, uint64(c.Expires.Unix()))
	number(fEpoch, c.Epoch)
	for _, t := range c.texts() {
		text(t.n, *t.at)
	}
	for _, t := range c.Tags {
		b = field(field(b, fTagKey, t.Key), fTagValue, t.Value)
	}
	for _, k := range c.TransitiveTagKeys {
		b = field(b, fTransitiveTagKey, k)
	}
	for _, a := range c.SessionPolicyARNs {
		b = field(b, fSessionPolicyARN, a)
	}
	for _, m := range c.Methods {
		b = field(b, fMethod, m)
	}
	if c.Kind != RoleSession {
		number(fKind, uint64(c.Kind))
	}
	if c.Chained {
		number(fChained, 1)
	}
	return b
}

func field[T string | []byte](b []byte, n uint64, s T) []byte {
	return append(binary.AppendUvarint(binary.AppendUvarint(b, n), uint64(len(s))), s...)
}

func decode(b []byte) (Claims, error) {
	var c Claims
	var seen uint64 // bit n: field n was read
	pendingTag := false
	for len(b) > 0 {
		n, content, rest, err := next(b)
		if err != nil {
			return Claims{}, err
		}
		b = rest
		repeats := n == fTagKey || n == fTagValue || n == fTransitiveTagKey || n == fSessionPolicyARN || n == fMethod
		if n > fLast || !repeats && seen&(1<<n) != 0 || pendingTag != (n == fTagValue) {
			return Claims{}, errCodec
		}
		seen |= 1 << n
		pendingTag = n == fTagKey
		if err := c.set(n, content); err != nil {
			return Claims{}, err
		}
	}
	if pendingTag || !c.Kind.fits(seen) {
		return Claims{}, errCodec
	}
	return c, nil
}

// fits reports whether a kind has the fields that it needs, and none that
// another kind is told by.
func (k Kind) fits(seen uint64) bool {
	const (
		all  = 1<<fSecretKey | 1<<fIssuedAt | 1<<fExpires | 1<<fEpoch
		role = 1<<fRole | 1<<fRoleID | 1<<fSessionName | 1<<fChained | 1<<fAttachment | 1<<fNode | 1<<fOwner
		user = 1<<fUser | 1<<fUserID
		name = 1 << fFederatedName
	)
	need, never := uint64(all), uint64(0)
	switch k {
	case RoleSession:
		need, never = all|1<<fRole, user|name
	case UserSession:
		need, never = all|user, role|name
	case FederatedUser:
		need, never = all|user|name, role
	default:
		return false
	}
	return seen&need == need && seen&never == 0
}

func next(b []byte) (n uint64, content string, rest []byte, err error) {
	n, i := binary.Uvarint(b)
	if i <= 0 {
		return 0, "", nil, errCodec
	}
	size, j := binary.Uvarint(b[i:])
	if j <= 0 || size > uint64(len(b)-i-j) {
		return 0, "", nil, errCodec
	}
	b = b[i+j:]
	return n, string(b[:size]), b[size:], nil
}

func (c *Claims) set(n uint64, s string) (err error) {
	switch n {
	case fRole:
		c.Role, err = arn.ParseRole(s)
	case fUser:
		c.User, err = arn.ParseUser(s)
	case fSecretKey:
		c.SecretKey = secret.New(s)
	case fIssuedAt, fExpires, fEpoch, fKind, fChained:
		return c.setNumber(n, s)
	case fTagKey:
		c.Tags = append(c.Tags, Tag{Key: s})
	case fTagValue:
		c.Tags[len(c.Tags)-1].Value = s
	case fTransitiveTagKey:
		c.TransitiveTagKeys = append(c.TransitiveTagKeys, s)
	case fSessionPolicyARN:
		c.SessionPolicyARNs = append(c.SessionPolicyARNs, s)
	case fMethod:
		c.Methods = append(c.Methods, s)
	default:
		for _, t := range c.texts() {
			if t.n == n {
				*t.at = s
				return nil
			}
		}
		return errCodec
	}
	return err
}

func (c *Claims) setNumber(n uint64, s string) error {
	v, i := binary.Uvarint([]byte(s))
	if i != len(s) || len(s) == 0 {
		return errCodec
	}
	switch n {
	case fIssuedAt:
		c.IssuedAt = time.Unix(int64(v), 0).UTC()
	case fExpires:
		c.Expires = time.Unix(int64(v), 0).UTC()
	case fKind:
		if v == 0 || v >= uint64(kinds) {
			return errCodec
		}
		c.Kind = Kind(v)
	case fChained:
		if v != 1 {
			return errCodec
		}
		c.Chained = true
	default:
		c.Epoch = v
	}
	return nil
}
