package s3

import (
	"bytes"
	"encoding/xml"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// FormAnswer is how a form wants to be answered once its object is stored.
type FormAnswer struct {
	Status   int    // 200, 201 or 204
	Redirect string // where the browser goes instead; empty for none
}

// FormBucket gives the bucket that a form is sent to: that of the address. No
// field of the form ever names another.
func FormBucket(host string, t sigv4.Target, domains []string) (string, error) {
	bucket, key, err := address(&Request{Host: host, Target: t}, domains)
	if err != nil {
		return "", err
	}
	if bucket == "" || key != "" || len(t.Query) > 0 {
		return "", fault.Coded(fault.Unsupported, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	}
	return bucket, nil
}

// Missing names the first field of a credential that a form which has one of
// them lacks; anonymous says that it has none.
func (f *Form) Missing() (name string, anonymous bool) {
	has := 0
	for _, n := range []string{"x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature", "policy"} {
		if _, given := f.fields[n]; given {
			has++
		} else if name == "" {
			name = n
		}
	}
	return name, has == 0 && f.fields["signature"] == "" && f.fields["awsaccesskeyid"] == ""
}

// uncovered are the fields that a policy need not speak of (POST Object: "each
// form field, except …").
func uncovered(name string) bool {
	switch name {
	case "policy", "x-amz-signature", "bucket":
		return true // bucket is asked of the address
	}
	return strings.HasPrefix(name, "x-ignore-")
}

// credentialField reports the fields in which ${filename} is just text.
func credentialField(name string) bool {
	switch name {
	case "policy", "x-amz-signature", "x-amz-credential", "x-amz-algorithm", "x-amz-date", "x-amz-security-token":
		return true
	}
	return false
}

// Operation holds a form, whose signature was verified, to its policy, and gives
// what it asks for: an upload to the bucket of the request.
func (f *Form) Operation(bucket string, now time.Time) (*Operation, *FormPolicy, error) {
	if _, ok := f.fields["key"]; !ok {
		return nil, nil, invalid("Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.")
	}
	if err := f.expand(); err != nil {
		return nil, nil, err
	}
	policy, err := ParseFormPolicy(f.fields["policy"])
	if err != nil {
		return nil, nil, err
	}
	names := []string{"bucket"}
	for _, name := range f.names {
		if !uncovered(name) {
			names = append(names, name)
		}
	}
	if named, ok := f.fields["bucket"]; ok && named != bucket {
		return nil, nil, againstPolicy("the form is for another bucket than its address")
	}
	field := func(name string) (string, bool) {
		if name == "bucket" {
			return bucket, true
		}
		v, ok := f.fields[name]
		return v, ok
	}
	if err := policy.Check(names, field, now); err != nil {
		return nil, nil, err
	}
	op, err := f.upload(bucket, now)
	return op, policy, err
}

// expand puts the file's name into the fields that ask for it: the part behind
// the last slash or backslash, as it came. With it they must not have more bytes
// than a form may.
func (f *Form) expand() error {
	const asked = "${filename}"
	name := f.fileName[strings.LastIndexAny(f.fileName, `/\`)+1:]
	spent := 0
	for _, field := range f.names {
		if credentialField(field) {
			continue
		}
		value := f.fields[field]
		if spent += len(value) + strings.Count(value, asked)*len(name); spent > maxFormFields {
			return tooManyFields()
		}
		f.fields[field] = strings.ReplaceAll(value, asked, name)
	}
	return nil
}

func (f *Form) upload(bucket string, now time.Time) (*Operation, error) {
	key := f.fields["key"]
	if key == "" {
		return nil, fault.Coded(fault.Invalid, "UserKeyMustBeSpecified", "The bucket POST must contain the specified field name. If it is specified, check the order of the fields.")
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	h, err := f.headers()
	if err != nil {
		return nil, err
	}
	o, err := formRow.operation(bucket, key, h, &Request{Now: now})
	if err != nil {
		return nil, err
	}
	o.Form = f.answer()
	return o, nil
}

// headers gives what the fields say of the object in the words of PutObject. A
// field that is none of these means nothing; a policy covers it all the same.
func (f *Form) headers() (headers, error) {
	h := make(headers, len(f.names))
	for _, name := range f.names {
		value := f.fields[name]
		header, err := formHeader(name)
		if err != nil {
			return nil, err
		}
		if name == "tagging" {
			if value, err = formTagging(value); err != nil {
				return nil, err
			}
		}
		if header == "" {
			continue
		}
		if strings.ContainsFunc(value, control) || !token(header) {
			return nil, invalid("The form field " + clip(name) + " can't stand for a header")
		}
		if _, given := h[header]; given {
			return nil, twice(header)
		}
		h[header] = strings.Trim(value, " \t")
	}
	return h, nil
}

// formHeader gives the header that a field stands for, "" for none. An x-amz-*
// field that PutObject would not know is refused.
func formHeader(name string) (string, error) {
	switch name {
	case "acl":
		return "X-Amz-Acl", nil
	case "tagging":
		return "X-Amz-Tagging", nil
	case "cache-control", "content-type", "content-disposition", "content-encoding", "content-language", "content-md5", "expires":
		return textproto.CanonicalMIMEHeaderKey(name), nil
	}
	if name == "if-match" || name == "if-none-match" {
		return "", notImplemented("the form field " + name)
	}
	if credentialField(name) || !isAmz(name) || name == "x-amz-checksum-algorithm" {
		return "", nil
	}
	header := textproto.CanonicalMIMEHeaderKey(name)
	use, known := headerUses[header]
	known = known && (use&(useCreate|useContent|useCustomerKey) != 0 || header == "X-Amz-Acl" || header == "X-Amz-Expected-Bucket-Owner")
	if !known && !strings.HasPrefix(header, metaPrefix) {
		return "", refuseHeader(name)
	}
	return header, nil
}

// formTagging turns the field's document into the form that the header has.
func formTagging(document string) (string, error) {
	var t tagging
	if err := decodeXML([]byte(document), &t); err != nil {
		return "", err
	}
	var b []byte
	for i, tag := range t.TagSet.Tags {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(sigv4.AppendEscaped(b, tag.Key, false), '=')
		b = sigv4.AppendEscaped(b, tag.Value, false)
	}
	return string(b), nil
}

// answer reads how the form wants to be answered. What it asks for and can't
// have is as if it had not asked, as on S3.
func (f *Form) answer() *FormAnswer {
	a := &FormAnswer{Status: 204}
	switch f.fields["success_action_status"] {
	case "200":
		a.Status = 200
	case "201":
		a.Status = 201
	}
	to := f.fields["success_action_redirect"]
	if to == "" {
		to = f.fields["redirect"]
	}
	u, err := url.Parse(to)
	if err == nil && u.Host != "" && u.User == nil && (u.Scheme == "http" || u.Scheme == "https") && !strings.ContainsFunc(to, control) {
		a.Redirect = to
	}
	return a
}

// To gives where a browser goes: the redirect's address with bucket, key and
// ETag as parameters.
func (a *FormAnswer) To(bucket, key, etag string) string {
	u, err := url.Parse(a.Redirect)
	if err != nil {
		return ""
	}
	b := []byte(u.RawQuery)
	for _, p := range []sigv4.Param{{Name: "bucket", Value: bucket}, {Name: "key", Value: key}, {Name: "etag", Value: etag}} {
		if len(b) > 0 {
			b = append(b, '&')
		}
		b = append(append(b, p.Name...), '=')
		b = sigv4.AppendEscaped(b, p.Value, false)
	}
	u.RawQuery = string(b)
	return u.String()
}

// PostedXML is the answer of status 201.
func PostedXML(location, bucket, key, etag string) []byte {
	var b bytes.Buffer
	b.WriteString(xml.Header + "<PostResponse>")
	element(&b, "Location", location)
	element(&b, "Bucket", bucket)
	element(&b, "Key", key)
	element(&b, "ETag", etag)
	b.WriteString("</PostResponse>")
	return b.Bytes()
}
