package syslog

import "carnet.dev/carnet/internal/service/audit"

// Message lets tests see a message.
func (s *Sender) Message(d audit.Document, most int) []byte { return s.message(d, most) }
