package s3

import (
	"bytes"
	"encoding/xml"
	"slices"
	"time"

	"carnet.dev/carnet/internal/core/fault"
)

// ReadDocument reads the body of an operation that has a small one, and gives
// the document to send upstream, written anew. Checks that depend on the body
// are added to o: it comes before any decision. The body of DeleteObjects,
// CreateBucket and CompleteMultipartUpload is read by its own function.
func (o *Operation) ReadDocument(body []byte, now time.Time) ([]byte, error) {
	if _, ok := settings[o.Name]; len(body) == 0 && (ok || o.Name == PutObjectLockConfiguration || o.Name == PutBucketVersioning) {
		return nil, fault.Coded(fault.Invalid, "MissingRequestBodyError", "Request Body is empty")
	}
	switch o.Name {
	case PutObjectTagging:
		return o.ReadTagging(body)
	case PutBucketTagging:
		return o.readBucketTagging(body)
	case PutObjectRetention:
		return o.readRetention(body, now)
	case PutObjectLegalHold:
		return o.readLegalHold(body)
	case PutObjectLockConfiguration:
		return readLockConfiguration(body)
	case PutBucketVersioning:
		return readVersioning(body)
	case PutBucketEncryption:
		return o.readBucketEncryption(body)
	case PutBucketAcl, PutObjectAcl:
		return o.readACL(body)
	}
	if setting, ok := settings[o.Name]; ok {
		return setting.read(body)
	}
	return body, nil
}

// rewrite reads a document that sets something, and writes it anew. What the
// type has no place for (an unknown element, one given twice) would be lost on
// the way, so it is refused: nobody may believe in a setting that nobody made.
func rewrite(root string, body []byte, into any) ([]byte, error) {
	if err := decodeXML(body, into); err != nil {
		return nil, err
	}
	out, err := marshal(root, into)
	if err != nil || elements(out) != elements(body) {
		return nil, malformedXML()
	}
	return out, nil
}

// marshal writes a document under S3's namespace.
func marshal(root string, v any) ([]byte, error) {
	var b bytes.Buffer
	e := xml.NewEncoder(&b)
	if err := e.EncodeElement(v, xml.StartElement{Name: xml.Name{Space: namespace, Local: root}}); err != nil {
		return nil, malformedXML()
	}
	return b.Bytes(), nil
}

// elements counts the elements of a document that was read already.
func elements(document []byte) int {
	n := 0
	for d := xml.NewDecoder(bytes.NewReader(document)); ; {
		t, err := d.RawToken()
		if err != nil {
			return n
		}
		if _, ok := t.(xml.StartElement); ok {
			n++
		}
	}
}

type versioningDocument struct {
	XMLName   xml.Name `xml:"VersioningConfiguration"`
	Status    *string  `xml:"Status"`
	MFADelete *string  `xml:"MfaDelete"`
}

func readVersioning(body []byte) ([]byte, error) {
	var d versioningDocument
	out, err := rewrite("VersioningConfiguration", body, &d)
	switch {
	case err != nil:
		return nil, err
	case d.MFADelete != nil && *d.MFADelete == "Enabled":
		return nil, notImplemented("MFA delete")
	case d.MFADelete != nil && *d.MFADelete != "Disabled", d.Status != nil && *d.Status != "Enabled" && *d.Status != "Suspended":
		return nil, malformedXML()
	case d.Status == nil:
		return nil, fault.Coded(fault.Invalid, "IllegalVersioningConfigurationException", "The Versioning element must be specified")
	}
	return out, nil
}

type encryptionDocument struct {
	XMLName xml.Name `xml:"ServerSideEncryptionConfiguration"`
	Rules   []struct {
		Default *struct {
			Algorithm string  `xml:"SSEAlgorithm"`
			KeyID     *string `xml:"KMSMasterKeyID"`
		} `xml:"ApplyServerSideEncryptionByDefault"`
		BucketKey *bool `xml:"BucketKeyEnabled"`
		Blocked   *struct {
			Types []string `xml:"EncryptionType"`
		} `xml:"BlockedEncryptionTypes"`
	} `xml:"Rule"`
}

// readBucketEncryption also notes the kinds that the document names, for
// CheckOffered.
func (o *Operation) readBucketEncryption(body []byte) ([]byte, error) {
	var d encryptionDocument
	out, err := rewrite("ServerSideEncryptionConfiguration", body, &d)
	if err != nil {
		return nil, err
	}
	if len(d.Rules) != 1 || d.Rules[0].Default == nil {
		return nil, malformedXML()
	}
	switch r := d.Rules[0].Default; r.Algorithm {
	case "AES256":
		if o.Encryption |= EncryptAES256; r.KeyID != nil {
			return nil, invalid("a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse")
		}
	case "aws:kms", "aws:kms:dsse":
		o.Encryption |= EncryptKMS
	default:
		return nil, malformedXML()
	}
	return out, nil
}

// setting is a document that says how a bucket is to be, where the gateway
// knows one way only: what says the same is accepted and needs no store, all
// else is refused by name.
type setting struct {
	root string
	is   func(body []byte, root string) (same bool, err error)
	not  string // what the refusal names
}

func (s setting) read(body []byte) ([]byte, error) {
	same, err := s.is(body, s.root)
	if err != nil {
		return nil, err
	}
	if !same {
		return nil, notImplemented(s.not)
	}
	var d child
	return rewrite(s.root, body, &d) // for AWS; other stores are not told
}

var settings = map[Name]setting{
	PutBucketOwnershipControls:         {"OwnershipControls", ownerEnforced, "an object ownership other than BucketOwnerEnforced: ACLs are never in force here"},
	PutPublicAccessBlock:               {"PublicAccessBlockConfiguration", allBlocked, "public access: anonymous access doesn't exist here, so all four settings are true"},
	PutBucketRequestPayment:            {"RequestPaymentConfiguration", oneOf("Payer", "BucketOwner"), "requester pays"},
	PutBucketAccelerateConfiguration:   {"AccelerateConfiguration", oneOf("Status", "Suspended"), "transfer acceleration"},
	PutBucketAbac:                      {"AbacStatus", oneOf("Status", "Disabled"), "attribute-based access control by bucket setting: policies can always ask for tags here"},
	PutBucketLogging:                   {"BucketLoggingStatus", empty, "server access logs in a bucket: the gateway writes its own"},
	PutBucketNotificationConfiguration: {"NotificationConfiguration", empty, "event notifications"},
}

// child is one element of a small document, with what it holds.
type child struct {
	XMLName  xml.Name
	Text     string  `xml:",chardata"`
	Children []child `xml:",any"`
}

// MarshalXML writes a child by its local name: what it means is known, whatever
// namespace its author gave it.
func (c child) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	if start.Name.Space == "" || c.XMLName.Local != start.Name.Local {
		start.Name = xml.Name{Local: c.XMLName.Local}
	}
	if err := e.EncodeToken(start); err != nil {
		return err
	}
	if len(c.Children) == 0 {
		if err := e.EncodeToken(xml.CharData(c.Text)); err != nil {
			return err
		}
	}
	for _, inner := range c.Children {
		if err := e.Encode(inner); err != nil {
			return err
		}
	}
	return e.EncodeToken(start.End())
}

// children reads any document with this root.
func children(body []byte, root string) ([]child, error) {
	var d child
	if err := decodeXML(body, &d); err != nil {
		return nil, err
	}
	if d.XMLName.Local != root {
		return nil, malformedXML()
	}
	return d.Children, nil
}

func empty(body []byte, root string) (bool, error) {
	all, err := children(body, root)
	return len(all) == 0, err
}

// oneOf holds a document of one element to one value.
func oneOf(name, value string) func([]byte, string) (bool, error) {
	return func(body []byte, root string) (bool, error) {
		all, err := children(body, root)
		if err != nil || len(all) != 1 || all[0].XMLName.Local != name || len(all[0].Children) > 0 {
			return false, malformedXML()
		}
		return all[0].Text == value, nil
	}
}

func ownerEnforced(body []byte, root string) (bool, error) {
	rules, err := children(body, root)
	if err != nil || len(rules) != 1 || rules[0].XMLName.Local != "Rule" {
		return false, malformedXML()
	}
	rule := rules[0].Children
	if len(rule) != 1 || rule[0].XMLName.Local != "ObjectOwnership" ||
		!slices.Contains([]string{"BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"}, rule[0].Text) {
		return false, malformedXML()
	}
	return rule[0].Text == "BucketOwnerEnforced", nil
}

// allBlocked: an absent setting is false, as on AWS.
func allBlocked(body []byte, root string) (bool, error) {
	all, err := children(body, root)
	if err != nil {
		return false, err
	}
	known := map[string]bool{"BlockPublicAcls": false, "IgnorePublicAcls": false, "BlockPublicPolicy": false, "RestrictPublicBuckets": false}
	for _, c := range all {
		already, ok := known[c.XMLName.Local]
		if !ok || already || c.Text != "true" && c.Text != "false" && c.Text != "TRUE" && c.Text != "FALSE" {
			return false, malformedXML()
		}
		known[c.XMLName.Local] = c.Text == "true" || c.Text == "TRUE"
	}
	for _, blocked := range known {
		if !blocked {
			return false, nil
		}
	}
	return true, nil
}
