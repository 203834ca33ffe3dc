package syslog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/service/audit"
)

// The severities that are used (RFC 5424, table 2).
const (
	critical = 2
	failure  = 3
	warning  = 4
	info     = 6
)

func severity(outcome event.Outcome) int {
	switch outcome {
	case event.Done:
		return info
	case event.Denied:
		return warning
	case event.Failed:
		return failure
	}
	return critical // a record that can't be read any more
}

// message gives the message of a record: its document as JSON. most bounds its length
// in bytes, 0: nothing does.
func (s *Sender) message(d audit.Document, most int) []byte {
	head := s.header(d)
	for _, form := range [...]any{d, brief(d), shortest(d)} {
		m := append(head[:len(head):len(head)], plain(form)...)
		if most == 0 || len(m) <= most {
			return m
		}
	}
	return append(head, plain(shortest(d))...) // under 1024 bytes, the least that most may be
}

// shortened is a document that lacks something, and says so.
type shortened struct{ audit.Document }

// MarshalJSON adds that to what the document writes of itself.
func (s shortened) MarshalJSON() ([]byte, error) {
	text, err := s.Document.MarshalJSON()
	return append(bytes.TrimSuffix(text, []byte{'}'}), `,"shortened":true}`...), err
}

// brief leaves out what belongs to this kind of event.
func brief(d audit.Document) shortened {
	d.Detail = nil
	return shortened{d}
}

// shortest leaves all that names the record, and its place in the chain.
func shortest(d audit.Document) shortened {
	return shortened{audit.Document{
		EventVersion: d.EventVersion, EventID: clip(d.EventID, 64), EventTime: d.EventTime, EventName: clip(d.EventName, 32), Outcome: event.Outcome(clip(string(d.Outcome), 16)),
		UserIdentity: audit.UserIdentity{Type: clip(d.UserIdentity.Type, 32), Person: clip(d.UserIdentity.Person, 40)}, RequestID: clip(d.RequestID, 40),
		Chain: audit.Link{Writer: clip(d.Chain.Writer, 40), Seq: d.Chain.Seq, Hash: clip(d.Chain.Hash, 64)},
	}}
}

// clip cuts text to most characters that take one byte each in the message.
func clip(text string, most int) string {
	return strings.NewReplacer(`"`, "_", `\`, "_").Replace(printable(text, most, ""))
}

// header is all before the message's text. The local socket wants the older form.
func (s *Sender) header(d audit.Document) []byte {
	pri := s.Facility*8 + severity(d.Outcome)
	process := printable(d.Chain.Writer, 40, "-")
	if s.Network == Unix {
		return fmt.Appendf(nil, "<%d>%s carnet[%s]: ", pri, d.EventTime.Local().Format(time.Stamp), process)
	}
	return fmt.Appendf(nil, `<%d>1 %s %s carnet %s %s [origin software="carnet" swVersion="%s"][meta sequenceId="%d"] `,
		pri, timestamp(d.EventTime), printable(s.Host, 128, "-"), process, printable(d.EventName, 32, "-"), parameter(s.Version), sequence(d.Chain.Seq))
}

func timestamp(t time.Time) string {
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		return "-"
	}
	return t.Format("2006-01-02T15:04:05.000Z")
}

// sequence counts from 1 again beyond what the field holds.
func sequence(seq int64) int64 {
	const most = 1<<31 - 1
	return (max(seq, 1)-1)%most + 1
}

// printable keeps visible ASCII, at most so much of it.
func printable(text string, most int, empty string) string {
	kept := strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, text)
	if kept = kept[:min(len(kept), most)]; kept == "" {
		return empty
	}
	return kept
}

// parameter is the value of a structured data parameter: 32 characters at most here.
func parameter(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`).Replace(printable(text, 32, "-"))
}

// plain gives JSON in ASCII alone, so that no byte order mark belongs before it, on
// one line.
func plain(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return []byte(strconv.QuoteToASCII(err.Error())) // a time beyond year 9999
	}
	text := bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		text = text[n:]
		switch {
		case r < utf8.RuneSelf && r != 0x7f:
			out = append(out, byte(r))
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}
