package audit

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"carnet.dev/carnet/internal/core/event"
)

// DocumentVersion is the version of Document: fields are only ever added within one.
const DocumentVersion = "1.0"

// Document is a record as search and export show it, with names like those of AWS
// CloudTrail where it has the same thing. docs/operations/audit.md describes it.
type Document struct {
	EventVersion string        `json:"eventVersion"`
	EventID      string        `json:"eventID"` // chain and number: aud_…-17
	EventTime    time.Time     `json:"eventTime"`
	EventName    string        `json:"eventName"` // sign-in, exchange, person.add, s3.GetObject, …
	Outcome      event.Outcome `json:"outcome"`   // done, denied, failed
	ErrorCode    string        `json:"errorCode,omitempty"`
	UserIdentity UserIdentity  `json:"userIdentity"`
	SourceIP     string        `json:"sourceIPAddress,omitempty"`
	// RequestID stands in the answer that the client got, too.
	RequestID string `json:"requestID,omitempty"`
	Account   string `json:"recipientAccountId,omitempty"`
	Cluster   string `json:"cluster,omitempty"`
	// Of what acts on a node: the node, the attachment, and the owner of the
	// processes as the node's agent read it, such as 1000(alice).
	Node         string `json:"node,omitempty"`
	Attachment   string `json:"attachment,omitempty"`
	ProcessOwner string `json:"processOwner,omitempty"`
	// Target is what was acted on.
	Target string            `json:"target,omitempty"`
	Detail map[string]string `json:"additionalEventData,omitempty"`
	Chain  Link              `json:"chain"`
}

// UserIdentity is who acted.
type UserIdentity struct {
	// Type is person, service-principal, aws-principal, provisioning-system, host or
	// nobody.
	Type             string `json:"type"`
	Person           string `json:"personId,omitempty"`
	UserName         string `json:"userName,omitempty"`
	IdentityProvider string `json:"identityProvider,omitempty"`
	ServicePrincipal string `json:"servicePrincipal,omitempty"`
	ARN              string `json:"arn,omitempty"`
	Role             string `json:"roleArn,omitempty"`
	AccessKeyID      string `json:"accessKeyId,omitempty"`
	LoginSession     string `json:"loginSession,omitempty"`
	Delegation       string `json:"delegation,omitempty"`
	GatewayKey       string `json:"gatewayKey,omitempty"`
}

// Link is a record's place in its chain.
type Link struct {
	Writer string `json:"writer"`
	Seq    int64  `json:"seq"`
	Hash   string `json:"hash"` // SHA-256, hex
}

// Document gives a record as it is shown. A body that can't be read any more gives
// what the columns say, with the outcome "unreadable": it is never left out.
func (r Record) Document() Document {
	d := Document{EventVersion: DocumentVersion, EventID: r.Writer + "-" + strconv.FormatInt(r.Seq, 10), EventTime: r.At, EventName: r.Action,
		Chain: Link{Writer: r.Writer, Seq: r.Seq, Hash: hex.EncodeToString(r.Hash[:])}}
	var e event.Event
	if err := json.Unmarshal([]byte(r.Body), &e); err != nil {
		d.Outcome, d.UserIdentity = "unreadable", UserIdentity{Type: "nobody", Person: r.Person}
		return d
	}
	d.EventTime, d.EventName, d.Outcome, d.ErrorCode = e.At, e.Action, e.Outcome, e.Code
	d.SourceIP, d.RequestID, d.Account, d.Cluster, d.Target, d.Detail = e.Source, string(e.Request), e.Account, e.Cluster, e.Target, e.Detail
	d.Node, d.Attachment, d.ProcessOwner = string(e.Node), string(e.Attachment), e.ProcessOwner
	d.UserIdentity = UserIdentity{Type: kindOf(&e), Person: string(e.Person), UserName: e.UserName, IdentityProvider: string(e.IdP),
		ServicePrincipal: string(e.ServicePrincipal), ARN: e.Principal, Role: e.Role, AccessKeyID: e.AccessKeyID,
		LoginSession: string(e.LoginSession), Delegation: string(e.Delegation), GatewayKey: string(e.GatewayKey)}
	return d
}

func kindOf(e *event.Event) string {
	switch {
	case e.Detail["actor"] == "host":
		return "host"
	case strings.HasPrefix(e.Detail["credential"], "crd_") && e.Person == "":
		return "provisioning-system"
	case e.Person != "" || e.UserName != "":
		return "person"
	case e.ServicePrincipal != "":
		return "service-principal"
	case e.Principal != "":
		return "aws-principal"
	}
	return "nobody"
}

// MarshalJSON writes a document so that it can be shown as it is: what would drive a
// terminal or turn the writing around is escaped, as JSON may escape anything.
func (d Document) MarshalJSON() ([]byte, error) {
	type plain Document
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(plain(d)); err != nil {
		return nil, err
	}
	return shown(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// shown escapes what can't be shown in a JSON document; only texts hold such signs.
func shown(document []byte) []byte {
	odd := func(c rune) bool { return c >= 0x7f && !strconv.IsPrint(c) }
	if bytes.IndexFunc(document, odd) < 0 {
		return document
	}
	out := make([]byte, 0, len(document)+64)
	for _, c := range string(document) {
		if !odd(c) {
			out = append(out, string(c)...)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, c) {
			out = fmt.Appendf(out, "\\u%04x", unit)
		}
	}
	return out
}

// Who names the one who acted, in few words.
func (d Document) Who() string {
	u := d.UserIdentity
	for _, name := range [...]string{u.UserName, u.ARN, u.ServicePrincipal, u.Person, d.Detail["os_user"], d.Detail["credential"]} {
		if name != "" {
			return name
		}
	}
	return "nobody"
}
