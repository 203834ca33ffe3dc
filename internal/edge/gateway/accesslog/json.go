package accesslog

import (
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"carnet.dev/carnet/internal/edge/gateway"
)

// line is a JSON object that is being written. Empty texts are left out.
type line struct{ b []byte }

func (l *line) text(name, value string) {
	if value != "" {
		l.name(name)
		l.b = quote(l.b, value)
	}
}

func (l *line) number(name string, n int64) {
	l.name(name)
	l.b = strconv.AppendInt(l.b, n, 10)
}

// millis writes a time in milliseconds, to the microsecond.
func (l *line) millis(name string, d time.Duration) {
	l.name(name)
	l.b = strconv.AppendFloat(l.b, float64(d.Microseconds())/1000, 'f', -1, 64)
}

func (l *line) name(name string) {
	l.b = append(append(append(l.b, `,"`...), name...), `":`...)
}

// appendJSON writes the lines of one request: one, and in a batch one for each
// key beside it. docs/operations/observe.md lists the fields.
func appendJSON(b []byte, r *gateway.Record) []byte {
	l := &line{b}
	l.request(r)
	l.text("operation", clip(string(r.Operation), 64))
	l.text("bucket", clip(r.Bucket, mostHost))
	l.text("key", r.Key)
	l.text("version_id", clip(r.VersionID, mostText))
	if r.Copied != nil {
		l.text("source_bucket", r.Copied.Bucket)
		l.text("source_key", r.Copied.Key)
	}
	l.number("status", int64(r.Status))
	if l.text("error", r.Code); r.Code != "" {
		l.text("error_class", r.Kind.String())
	}
	if r.Cause != nil {
		l.text("cause", clip(r.Cause.Error(), mostText))
	}
	l.number("sent", r.Sent)
	l.number("received", r.Received)
	if r.Size >= 0 {
		l.number("size", r.Size)
	}
	l.millis("total_ms", r.Total)
	if r.Status != 0 {
		l.millis("first_byte_ms", r.FirstByte)
	}
	l.store(r)
	l.connection(r)
	l.b = append(l.b, "}\n"...)
	for _, k := range r.Batch {
		l.request(r)
		l.text("operation", "DeleteObject")
		l.text("batch", "DeleteObjects")
		l.text("bucket", clip(r.Bucket, mostHost))
		l.text("key", k.Key)
		l.text("version_id", k.VersionID)
		l.number("status", int64(k.Status))
		l.text("error", k.Code)
		l.b = append(l.b, "}\n"...)
	}
	return l.b
}

// request writes what is the same in all lines of a request: when, which, who.
func (l *line) request(r *gateway.Record) {
	l.b = append(l.b, `{"time":"`...)
	l.b = r.Began.UTC().AppendFormat(l.b, "2006-01-02T15:04:05.000Z07:00")
	l.b = append(l.b, `","level":"INFO","msg":"s3"`...)
	l.text("request_id", string(r.Request))
	if r.Source.IsValid() {
		l.name("source")
		l.b = append(r.Source.AppendTo(append(l.b, '"')), '"')
	}
	l.text("access_key_id", clip(r.AccessKeyID, 128))
	c := r.Caller
	if c == nil {
		return
	}
	l.text("principal", clip(c.ARN, 2*mostText))
	l.text("account", c.Account)
	if c.Role.Name != "" {
		l.text("role", c.Role.String())
	}
	l.text("person", string(c.Person))
	l.text("login_session", string(c.LoginSession))
	l.text("service_principal", string(c.ServicePrincipal))
	l.text("delegation", string(c.Delegation))
	l.text("source_identity", clip(c.SourceIdentity, 128))
	l.text("gateway_key", r.GatewayKey)
	l.text("cluster", r.Cluster)
	l.text("node", string(r.Node))
	l.text("attachment", string(r.Attachment))
	l.text("process_owner", r.ProcessOwner)
}

func (l *line) store(r *gateway.Record) {
	l.text("bucket_account", r.Place.Account)
	l.text("upstream", r.Place.Upstream)
	if r.StoreStatus != 0 {
		l.number("store_status", int64(r.StoreStatus))
		l.millis("store_ms", r.Upstream)
	}
	l.text("store_request_id", clip(r.StoreRequest, 256))
}

func (l *line) connection(r *gateway.Record) {
	l.text("authentication", r.Authentication)
	l.text("method", clip(r.Method, 32))
	l.text("uri", clip(r.Target, mostTarget))
	l.text("protocol", clip(r.Protocol, 32))
	l.text("host", clip(r.Host, mostHost))
	l.text("tls", tlsVersion(r.TLSVersion))
	l.text("cipher", cipher(r.TLSCipher))
	l.text("referer", clip(r.Referer, mostText))
	l.text("user_agent", clip(r.UserAgent, mostText))
	l.text("traceparent", clip(r.Trace, 64))
}

// quote writes one text. What can't be seen is escaped, so that a terminal shows
// what there is; what isn't UTF-8 becomes the replacement character.
func quote(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0 // of what needs no escape
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[from:i]...)
		r, n := utf8.DecodeRuneInString(s[i:])
		i += n
		from = i
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case unicode.IsPrint(r) && r != utf8.RuneError:
			b = utf8.AppendRune(b, r)
		case r > 0xffff:
			r -= 0x10000
			b = escape(escape(b, 0xd800+r>>10), 0xdc00+r&0x3ff)
		default:
			b = escape(b, r)
		}
	}
	return append(append(b, s[from:]...), '"')
}

const hex = "0123456789abcdef"

func escape(b []byte, r rune) []byte {
	return append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

// The most bytes of what a client sends at will.
const (
	mostText   = 1024
	mostTarget = 4096 // a key of 1,024 bytes, escaped, and parameters
	mostHost   = 255
)

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:most]
}
