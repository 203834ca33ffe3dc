package audit

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"carnet.dev/carnet/internal/core/event"
)

// encode writes an event as encoding/json does, letter for letter, without its
// reflection: it is a good part of what a record costs.
func encode(e *event.Event) []byte {
	b := append(make([]byte, 0, 1024), `{"at":"`...)
	b = append(e.At.AppendFormat(b, time.RFC3339Nano), `","action":`...)
	b = append(quote(b, e.Action), `,"outcome":`...)
	b = quote(b, string(e.Outcome))
	for _, f := range [...]struct{ name, value string }{
		{"code", e.Code}, {"person", string(e.Person)}, {"user_name", e.UserName}, {"identity_provider", string(e.IdP)},
		{"login_session", string(e.LoginSession)}, {"request", string(e.Request)}, {"source", e.Source}, {"account", e.Account},
		{"role", e.Role}, {"access_key_id", e.AccessKeyID},
		{"principal", e.Principal}, {"service_principal", string(e.ServicePrincipal)}, {"delegation", string(e.Delegation)},
		{"gateway_key", string(e.GatewayKey)}, {"cluster", e.Cluster},
		{"node", string(e.Node)}, {"attachment", string(e.Attachment)}, {"process_owner", e.ProcessOwner}, {"target", e.Target},
	} {
		if f.value != "" {
			b = append(append(append(b, `,"`...), f.name...), `":`...)
			b = quote(b, f.value)
		}
	}
	if len(e.Detail) == 0 {
		return append(b, '}')
	}
	b = append(b, `,"detail":`...)
	next := byte('{')
	for _, name := range slices.Sorted(maps.Keys(e.Detail)) {
		b = append(quote(append(b, next), name), ':')
		b = quote(b, e.Detail[name])
		next = ','
	}
	return append(b, "}}"...)
}

// Quote gives a text as it stands in a record's body.
func Quote(s string) string { return string(quote(nil, s)) }

// quote writes one text.
func quote(b []byte, s string) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			escaped, _ := json.Marshal(s) // a text always has a form
			return append(b, escaped...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
