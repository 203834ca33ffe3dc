package s3

import (
	"bytes"
	"encoding/xml"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// Tag is one tag of an object.
type Tag struct{ Key, Value string }

const maxTags = 10

// parseTagQuery reads the header form: k=v&k2=v2, URL encoded.
func parseTagQuery(v string) ([]Tag, error) {
	const form = "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates."
	tags := []Tag{}
	for part := range strings.SplitSeq(v, "&") {
		if part == "" {
			continue
		}
		rawKey, rawValue, _ := strings.Cut(part, "=")
		key, ok := sigv4.Unescape(rawKey, true)
		value, ok2 := sigv4.Unescape(rawValue, true)
		if !ok || !ok2 || rawKey == "" {
			return nil, invalid(form)
		}
		if slices.ContainsFunc(tags, func(t Tag) bool { return t.Key == key }) {
			return nil, invalid(form)
		}
		tags = append(tags, Tag{key, value})
	}
	return tags, checkTags(tags)
}

// tagQuery writes the header form, so that no store reads other tags in it than
// were decided on.
func tagQuery(tags []Tag) string {
	var b []byte
	for i, t := range tags {
		if i > 0 {
			b = append(b, '&')
		}
		b = sigv4.AppendEscaped(b, t.Key, false)
		b = append(b, '=')
		b = sigv4.AppendEscaped(b, t.Value, false)
	}
	return string(b)
}

// checkTags also refuses keys that differ in letter case alone, which S3 itself
// takes: policies ask for s3:RequestObjectTag/KEY without letter case, so that
// a second key could hide the first one's value from them.
func checkTags(tags []Tag) error {
	if len(tags) > maxTags {
		return fault.Coded(fault.Invalid, "BadRequest", "Object tags cannot be greater than 10")
	}
	return checkTagSet(tags)
}

func checkTagSet(tags []Tag) error {
	seen, exact := map[string]bool{}, map[string]bool{}
	for _, t := range tags {
		if t.Key == "" || utf8.RuneCountInString(t.Key) > 128 || !utf8.ValidString(t.Key) || strings.HasPrefix(t.Key, "aws:") {
			return fault.Coded(fault.Invalid, "InvalidTag", "The TagKey you have provided is invalid")
		}
		if utf8.RuneCountInString(t.Value) > 256 || !utf8.ValidString(t.Value) {
			return fault.Coded(fault.Invalid, "InvalidTag", "The TagValue you have provided is invalid")
		}
		folded := strings.ToLower(t.Key)
		if exact[t.Key] {
			return fault.Coded(fault.Invalid, "InvalidTag", "Cannot provide multiple Tags with the same key")
		}
		if exact[t.Key] = true; seen[folded] {
			return fault.Coded(fault.Invalid, "InvalidTag", "Cannot provide multiple Tags with the same key, letter case aside")
		}
		seen[folded] = true
	}
	return nil
}

// tagContext gives s3:RequestObjectTag/KEY and s3:RequestObjectTagKeys.
func tagContext(tags []Tag) []Value {
	out := make([]Value, 0, len(tags)+1)
	keys := make([]string, 0, len(tags))
	for _, t := range tags {
		out = append(out, Value{"s3:RequestObjectTag/" + t.Key, []string{t.Value}})
		keys = append(keys, t.Key)
	}
	return append(out, Value{"s3:RequestObjectTagKeys", keys})
}

type tagging struct {
	XMLName xml.Name `xml:"Tagging"`
	TagSet  struct {
		Tags []Tag `xml:"Tag"`
	} `xml:"TagSet"`
}

// ReadTagging reads the body of PutObjectTagging, adds its checks to o, and
// gives the document to send upstream.
func (o *Operation) ReadTagging(body []byte) ([]byte, error) {
	var t tagging
	if err := decodeXML(body, &t); err != nil {
		return nil, err
	}
	if err := checkTags(t.TagSet.Tags); err != nil {
		return nil, err
	}
	c := o.mainCheck("s3:PutObjectTagging")
	c.Context = append(c.Context, tagContext(t.TagSet.Tags)...)
	o.Checks = []Check{c}
	return xml.Marshal(t)
}

const maxBucketTags = 50

// readBucketTagging reads the body of PutBucketTagging.
func (o *Operation) readBucketTagging(body []byte) ([]byte, error) {
	var t tagging
	if err := decodeXML(body, &t); err != nil {
		return nil, err
	}
	context, err := bucketTags(t.TagSet.Tags)
	if err != nil {
		return nil, err
	}
	o.Checks = []Check{{Action: "s3:PutBucketTagging", Bucket: o.Bucket, Context: context}}
	return xml.Marshal(t)
}

// bucketTags checks the tags of a bucket and gives aws:RequestTag/KEY and
// aws:TagKeys.
func bucketTags(tags []Tag) ([]Value, error) {
	if len(tags) > maxBucketTags {
		return nil, fault.Coded(fault.Invalid, "BadRequest", "Bucket tag count cannot be greater than 50")
	}
	if err := checkTagSet(tags); err != nil {
		return nil, err
	}
	out := make([]Value, 0, len(tags)+1)
	keys := make([]string, 0, len(tags))
	for _, t := range tags {
		out = append(out, Value{"aws:RequestTag/" + t.Key, []string{t.Value}})
		keys = append(keys, t.Key)
	}
	return append(out, Value{"aws:TagKeys", keys}), nil
}

// atMostTags refuses a document with more tags than it has a use for, before
// anything is built of them: a body of a few megabytes could be millions.
func atMostTags(body []byte, most int) error {
	if bytes.Count(body, []byte("<")) > most {
		return malformedXML()
	}
	return nil
}

// decodeXML reads a small document: no DTD, no processing instruction but the
// XML declaration, nothing after the root.
func decodeXML(body []byte, into any) error {
	d := xml.NewDecoder(bytes.NewReader(body))
	d.Strict = true
	scan := xml.NewDecoder(bytes.NewReader(body))
	depth, roots := 0, 0
	for {
		t, err := scan.RawToken()
		if err == io.EOF {
			break
		}
		if err != nil {
			return malformedXML()
		}
		switch t := t.(type) {
		case xml.Directive:
			return malformedXML()
		case xml.ProcInst:
			if t.Target != "xml" || roots > 0 {
				return malformedXML()
			}
		case xml.StartElement:
			if depth == 0 {
				roots++
			}
			if depth++; depth > 8 {
				return malformedXML()
			}
		case xml.EndElement:
			depth--
		case xml.CharData:
			if depth == 0 && len(bytes.TrimSpace(t)) > 0 {
				return malformedXML()
			}
		}
	}
	if roots != 1 || d.Decode(into) != nil {
		return malformedXML()
	}
	return nil
}

func malformedXML() error {
	return fault.Coded(fault.Invalid, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema.")
}

// ReadTags reads an upstream's answer to GetObjectTagging or GetBucketTagging.
// A key that stands twice is an error: nobody could say which value counts.
func ReadTags(body []byte) (map[string]string, error) {
	var t tagging
	if err := decodeXML(body, &t); err != nil {
		return nil, err
	}
	tags := make(map[string]string, len(t.TagSet.Tags))
	for _, tag := range t.TagSet.Tags {
		if _, twice := tags[tag.Key]; twice {
			return nil, malformedXML()
		}
		tags[tag.Key] = tag.Value
	}
	return tags, nil
}

// HasTags reads an upstream's answer to GetObjectTagging.
func HasTags(body []byte) (bool, error) {
	var t tagging
	if err := decodeXML(body, &t); err != nil {
		return false, err
	}
	return len(t.TagSet.Tags) > 0, nil
}
