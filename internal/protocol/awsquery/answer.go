package awsquery

import (
	"bytes"
	"encoding/xml"

	"carnet.dev/carnet/internal/core/fault"
)

// Field is one element of an answer: text, or further fields.
type Field struct {
	Name   string
	Text   string
	Fields []Field
	// Always writes the element even when it is empty, as lists are.
	Always bool
}

// List makes a list: NAME with one <member> for each item's fields. An empty
// one is written too: clients look it up by name.
func List[T any](name string, items []T, fields func(T) []Field) Field {
	list := Field{Name: name, Always: true}
	for _, item := range items {
		list.Fields = append(list.Fields, Field{Name: "member", Fields: fields(item), Always: true})
	}
	return list
}

// Texts makes a list of texts: NAME with one <member> for each.
func Texts(name string, items []string) Field {
	list := Field{Name: name, Always: true}
	for _, item := range items {
		list.Fields = append(list.Fields, Field{Name: "member", Text: item, Always: true})
	}
	return list
}

// Answer writes the answer to an operation of STS; see API.Answer.
func Answer(operation string, fields []Field, requestID string) []byte {
	return STS.Answer(operation, fields, requestID)
}

// Error writes an error document of STS; see API.Error.
func Error(status int, code, message, requestID string) []byte {
	return STS.Error(status, code, message, requestID)
}

// Answer writes the answer to an operation:
// <OpResponse><OpResult>…</OpResult><ResponseMetadata>…. Fields without text
// and fields are left out. Nil fields stand for an operation without a result,
// whose answer has no OpResult.
func (a API) Answer(operation string, fields []Field, requestID string) []byte {
	all := Field{Name: operation + "Response", Fields: []Field{
		{Name: operation + "Result", Fields: fields, Always: fields != nil},
		{Name: "ResponseMetadata", Fields: []Field{{Name: "RequestId", Text: requestID}}},
	}}
	return a.document(all)
}

// Error writes an error document. Senders' errors and ours are told apart by
// the status.
func (a API) Error(status int, code, message, requestID string) []byte {
	kind := "Sender"
	if status >= 500 {
		kind = "Receiver"
	}
	return a.document(Field{Name: "ErrorResponse", Fields: []Field{
		{Name: "Error", Fields: []Field{{Name: "Type", Text: kind}, {Name: "Code", Text: code}, {Name: "Message", Text: message}}},
		{Name: "RequestId", Text: requestID, Always: true},
	}})
}

// document writes a field as the whole of an answer, in one piece of memory.
func (a API) document(f Field) []byte {
	const attribute = ` xmlns=""`
	b := make([]byte, 0, size(&f)+len(attribute)+len(a.Namespace))
	b = append(append(append(b, '<'), f.Name...), ` xmlns="`...)
	b = append(append(b, a.Namespace...), `">`...)
	for i := range f.Fields {
		b = write(b, &f.Fields[i])
	}
	return closing(b, f.Name)
}

// size is the room that a field takes unless it has to be escaped.
func size(f *Field) int {
	n := 2*len(f.Name) + len("<></>") + len(f.Text)
	for i := range f.Fields {
		n += size(&f.Fields[i])
	}
	return n
}

func write(b []byte, f *Field) []byte {
	if f.Text == "" && len(f.Fields) == 0 && !f.Always {
		return b
	}
	b = append(append(append(b, '<'), f.Name...), '>')
	if isPlain(f.Text) {
		b = append(b, f.Text...)
	} else {
		// EscapeText replaces what XML can't hold; a Buffer never fails.
		var escaped bytes.Buffer
		_ = xml.EscapeText(&escaped, []byte(f.Text))
		b = append(b, escaped.Bytes()...)
	}
	for i := range f.Fields {
		b = write(b, &f.Fields[i])
	}
	return closing(b, f.Name)
}

func closing(b []byte, name string) []byte {
	return append(append(append(b, "</"...), name...), '>')
}

// isPlain reports whether XML holds a text as it is, as it does nearly all that
// is answered.
func isPlain(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c > '~', c == '&', c == '<', c == '>', c == '"', c == '\'':
			return false
		}
	}
	return true
}

// ErrorOf maps a fault to STS's status, code and message: the one place where
// kinds meet STS's codes (STS API Reference, "Common errors" and the errors of
// each operation). A fault with a code that STS has keeps it.
func ErrorOf(f *fault.Fault) (status int, code, message string) {
	message = f.Public
	if f.Mend != "" {
		message += " (" + f.Mend + ")"
	}
	if status, ok := statusOf(f.Code); ok {
		return status, f.Code, message
	}
	switch f.Kind {
	case fault.Invalid, fault.NotFound, fault.Conflict:
		return 400, "ValidationError", message
	case fault.Unauthenticated:
		return 403, "InvalidClientTokenId", message
	case fault.Denied, fault.Revoked:
		return 403, "AccessDenied", message
	case fault.Expired:
		return 403, "ExpiredToken", message
	case fault.TooLarge:
		return 413, "RequestEntityTooLarge", message
	case fault.Limited:
		return 400, "Throttling", message
	case fault.Unavailable:
		return 503, "ServiceUnavailable", message
	case fault.Unsupported:
		return 400, "InvalidAction", message
	case fault.Misconfigured, fault.Internal:
	}
	return 500, "InternalFailure", "Carnet failed on this request; give the request id to your administrator."
}

func statusOf(code string) (int, bool) {
	switch code {
	case "ExpiredTokenException", "InvalidIdentityToken", "MalformedPolicyDocument", "PackedPolicyTooLarge",
		"ValidationError", "InvalidAction", "MissingAction", "MissingParameter", "InvalidParameterValue",
		"InvalidParameterCombination", "IncompleteSignature", "Throttling", "IDPCommunicationError":
		return 400, true
	case "AccessDenied", "IDPRejectedClaim", "RegionDisabledException", "InvalidClientTokenId", "SignatureDoesNotMatch",
		"ExpiredToken", "MissingAuthenticationToken":
		return 403, true
	case "MalformedQueryString":
		return 404, true
	case "RequestEntityTooLarge":
		return 413, true
	case "ServiceUnavailable":
		return 503, true
	}
	return 0, false
}
