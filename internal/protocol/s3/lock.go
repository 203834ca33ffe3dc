package s3

import (
	"encoding/xml"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

const (
	lockMode      = "X-Amz-Object-Lock-Mode"
	lockUntil     = "X-Amz-Object-Lock-Retain-Until-Date"
	lockLegalHold = "X-Amz-Object-Lock-Legal-Hold"
	bypassLock    = "X-Amz-Bypass-Governance-Retention"
)

// lockHeaders holds the lock that a new object is given to its form and returns
// the condition keys that it brings. The date goes on as it was understood.
func (o *Operation) lockHeaders(now time.Time) ([]Value, error) {
	mode, moded := o.Header[lockMode]
	until, dated := o.Header[lockUntil]
	hold, held := o.Header[lockLegalHold]
	if moded != dated {
		return nil, invalid("x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied.")
	}
	var out []Value
	if moded {
		values, date, err := retention(mode[0], until[0], now)
		if err != nil {
			return nil, err
		}
		o.Header[lockUntil] = []string{date}
		out = values
	}
	if held {
		if hold[0] != "ON" && hold[0] != "OFF" {
			return nil, invalid("Legal Hold must be either of 'ON' or 'OFF'")
		}
		out = append(out, Value{"s3:object-lock-legal-hold", hold})
	}
	return out, nil
}

// retention checks mode and date and gives their condition keys. A started day
// counts as a whole one.
func retention(mode, until string, now time.Time) ([]Value, string, error) {
	if mode != "GOVERNANCE" && mode != "COMPLIANCE" {
		return nil, "", invalid("Unknown wormMode directive.")
	}
	t, err := time.Parse(time.RFC3339Nano, until)
	if err != nil || t.Year() < 1970 || t.Year() > 9999 {
		return nil, "", fault.Coded(fault.Invalid, "InvalidArgument", "The retain until date must be provided in ISO 8601 format").
			With("ArgumentName", "x-amz-object-lock-retain-until-date").With("ArgumentValue", until)
	}
	if !t.After(now) {
		return nil, "", invalid("The retain until date must be in the future!")
	}
	const day = 24 * 60 * 60
	seconds := t.Unix() - now.Unix() // a Duration ends after 292 years
	date := t.UTC().Format(time.RFC3339Nano)
	return []Value{
		{"s3:object-lock-mode", []string{mode}},
		{"s3:object-lock-retain-until-date", []string{date}},
		{"s3:object-lock-remaining-retention-days", []string{strconv.FormatInt((seconds+day-1)/day, 10)}},
	}, date, nil
}

// lockChecks are the permissions of their own that a lock on a new object needs.
func (o *Operation) lockChecks(context []Value) {
	if _, ok := o.Header[lockMode]; ok {
		o.Checks = append(o.Checks, Check{"s3:PutObjectRetention", o.Bucket, o.Key, context})
	}
	if _, ok := o.Header[lockLegalHold]; ok {
		o.Checks = append(o.Checks, Check{"s3:PutObjectLegalHold", o.Bucket, o.Key, context})
	}
}

// locks reports whether the operation gives the new object a lock.
func (o *Operation) locks() bool { return o.Header[lockMode] != nil || o.Header[lockLegalHold] != nil }

// readBypass reads x-amz-bypass-governance-retention: a request that carries it
// asks for s3:BypassGovernanceRetention, whatever the object's lock turns out
// to be.
func (o *Operation) readBypass(h headers) error {
	v, ok := o.Header[bypassLock]
	if _, given := h[bypassLock]; given && !ok {
		return invalid("x-amz-bypass-governance-retention has no meaning for " + string(o.Name))
	}
	switch {
	case !ok:
	case strings.EqualFold(v[0], "true"):
		o.Header[bypassLock] = []string{"true"}
		o.bypass = true
	case strings.EqualFold(v[0], "false"):
		delete(o.Header, bypassLock)
	default:
		return invalid("x-amz-bypass-governance-retention must be true or false")
	}
	return nil
}

// bypassCheck is the permission to lift a lock in governance mode.
func bypassCheck(of Check) Check {
	of.Action = "s3:BypassGovernanceRetention"
	return of
}

type retentionDocument struct {
	XMLName xml.Name `xml:"Retention"`
	Mode    *string  `xml:"Mode"`
	Until   *string  `xml:"RetainUntilDate"`
}

// readRetention reads the body of PutObjectRetention. Both elements absent
// takes the retention away, which the store allows in governance mode only.
func (o *Operation) readRetention(body []byte, now time.Time) ([]byte, error) {
	var d retentionDocument
	if _, err := rewrite("Retention", body, &d); err != nil {
		return nil, err
	}
	if (d.Mode == nil) != (d.Until == nil) {
		return nil, malformedXML()
	}
	c := o.mainCheck("s3:PutObjectRetention")
	if d.Mode != nil {
		if *d.Mode != "GOVERNANCE" && *d.Mode != "COMPLIANCE" {
			return nil, malformedXML()
		}
		values, date, err := retention(*d.Mode, *d.Until, now)
		if err != nil {
			return nil, err
		}
		d.Until = &date
		c.Context = append(c.Context, values...)
	}
	o.Checks = append(o.Checks, c)
	if o.bypass {
		o.Checks = append(o.Checks, bypassCheck(c))
	}
	return marshal("Retention", &d)
}

type legalHoldDocument struct {
	XMLName xml.Name `xml:"LegalHold"`
	Status  string   `xml:"Status"`
}

func (o *Operation) readLegalHold(body []byte) ([]byte, error) {
	var d legalHoldDocument
	out, err := rewrite("LegalHold", body, &d)
	if err != nil {
		return nil, err
	}
	if d.Status != "ON" && d.Status != "OFF" {
		return nil, malformedXML()
	}
	c := o.mainCheck("s3:PutObjectLegalHold")
	c.Context = append(c.Context, Value{"s3:object-lock-legal-hold", []string{d.Status}})
	o.Checks = append(o.Checks, c)
	return out, nil
}

type lockConfiguration struct {
	XMLName xml.Name `xml:"ObjectLockConfiguration"`
	Enabled *string  `xml:"ObjectLockEnabled"`
	Rule    *struct {
		Retention *struct {
			Mode  *string `xml:"Mode"`
			Days  *int32  `xml:"Days"`
			Years *int32  `xml:"Years"`
		} `xml:"DefaultRetention"`
	} `xml:"Rule"`
}

func readLockConfiguration(body []byte) ([]byte, error) {
	var d lockConfiguration
	out, err := rewrite("ObjectLockConfiguration", body, &d)
	if err != nil {
		return nil, err
	}
	if d.Enabled != nil && *d.Enabled != "Enabled" {
		return nil, malformedXML()
	}
	if d.Rule == nil {
		return out, nil
	}
	r := d.Rule.Retention
	if r == nil || r.Mode == nil || *r.Mode != "GOVERNANCE" && *r.Mode != "COMPLIANCE" || (r.Days == nil) == (r.Years == nil) {
		return nil, malformedXML()
	}
	if r.Days != nil && *r.Days <= 0 || r.Years != nil && *r.Years <= 0 {
		return nil, fault.Coded(fault.Invalid, "InvalidArgument", "Default retention period must be a positive integer value.")
	}
	return out, nil
}
