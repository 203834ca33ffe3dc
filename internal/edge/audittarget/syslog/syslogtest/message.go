package syslogtest

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Message is a message of RFC 5424.
type Message struct {
	Facility, Severity                int
	Time                              time.Time // zero: the nil value
	Host, Program, Process, MessageID string
	Structured                        map[string]map[string]string
	Text                              string
}

// header is RFC 5424's grammar up to the structured data, letter for letter.
var header = regexp.MustCompile(`^<(0|[1-9][0-9]{0,2})>1 (-|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})) ` +
	`([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) `)

// element begins a structured data element, and parameter is one of its parameters.
var (
	element   = regexp.MustCompile(`^\[([!#-<>-\\^-~]{1,32})`)
	parameter = regexp.MustCompile(`^ ([!#-<>-\\^-~]{1,32})="((?:[^"\\\]]|\\["\\\]])*)"`)
)

// Parse reads one message and admits nothing that the grammar does not.
func Parse(b []byte) (m Message, err error) {
	text := string(b)
	found := header.FindStringSubmatch(text)
	if found == nil {
		return m, fmt.Errorf("no header of RFC 5424: %q", text[:min(len(text), 200)])
	}
	pri, err := strconv.Atoi(found[1])
	if err != nil || pri > 191 {
		return m, fmt.Errorf("priority %q", found[1])
	}
	m = Message{Facility: pri / 8, Severity: pri % 8, Host: found[3], Program: found[4], Process: found[5], MessageID: found[6], Structured: map[string]map[string]string{}}
	if found[2] != "-" {
		if m.Time, err = time.Parse(time.RFC3339Nano, found[2]); err != nil {
			return m, err
		}
	}
	text = text[len(found[0]):]
	if rest, none := strings.CutPrefix(text, "-"); none {
		text = rest
	} else if text, err = m.elements(text); err != nil {
		return m, err
	}
	if text == "" {
		return m, nil
	}
	if text[0] != ' ' {
		return m, fmt.Errorf("no space before the text: %q", text[:min(len(text), 40)])
	}
	m.Text = text[1:]
	if !ascii(m.Text) && (!strings.HasPrefix(m.Text, "\ufeff") || !utf8.ValidString(m.Text)) {
		return m, errors.New("a text that is not ASCII needs a byte order mark")
	}
	return m, nil
}

func (m *Message) elements(text string) (rest string, err error) {
	for {
		begin := element.FindStringSubmatch(text)
		if begin == nil {
			if len(m.Structured) == 0 {
				return "", errors.New("no structured data, and no nil value")
			}
			return text, nil
		}
		id := begin[1]
		if m.Structured[id] != nil {
			return "", fmt.Errorf("the element %q stands twice", id)
		}
		m.Structured[id] = map[string]string{}
		for text = text[len(begin[0]):]; ; {
			p := parameter.FindStringSubmatch(text)
			if p == nil {
				break
			}
			m.Structured[id][p[1]] = strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\]`, `]`).Replace(p[2])
			text = text[len(p[0]):]
		}
		var closed bool
		if text, closed = strings.CutPrefix(text, "]"); !closed {
			return "", fmt.Errorf("the element %q does not end", id)
		}
	}
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
