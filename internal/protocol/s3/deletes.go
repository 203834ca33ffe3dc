package s3

import (
	"encoding/xml"
	"time"

	"carnet.dev/carnet/internal/protocol/sigv4"
)

// Deletion is one object that a batch names, and what must be true of it.
type Deletion struct {
	Key              string `xml:"Key"`
	VersionID        string `xml:"VersionId,omitempty"`
	ETag             string `xml:"ETag,omitempty"`
	LastModifiedTime string `xml:"LastModifiedTime,omitempty"`
	Size             string `xml:"Size,omitempty"`
}

// Deletes is the body of DeleteObjects.
type Deletes struct {
	XMLName xml.Name   `xml:"Delete"`
	Objects []Deletion `xml:"Object"`
	Quiet   bool       `xml:"Quiet"`
}

// rawDeletes tells an empty condition from an absent one.
type rawDeletes struct {
	XMLName xml.Name `xml:"Delete"`
	Quiet   bool     `xml:"Quiet"`
	Objects []struct {
		Key              string  `xml:"Key"`
		VersionID        string  `xml:"VersionId"`
		ETag             *string `xml:"ETag"`
		LastModifiedTime *string `xml:"LastModifiedTime"`
		Size             *string `xml:"Size"`
	} `xml:"Object"`
}

const (
	maxDeletes = 1000
	// tagsOfDeletion is more than twice as many as an object with all of its
	// elements has.
	tagsOfDeletion = 32
)

// ReadDeletes reads the body of DeleteObjects.
func ReadDeletes(body []byte) (*Deletes, error) {
	var raw rawDeletes
	if err := atMostTags(body, maxDeletes*tagsOfDeletion); err != nil {
		return nil, err
	}
	if err := decodeXML(body, &raw); err != nil {
		return nil, err
	}
	if len(raw.Objects) == 0 || len(raw.Objects) > maxDeletes {
		return nil, malformedXML()
	}
	d := &Deletes{Quiet: raw.Quiet, Objects: make([]Deletion, len(raw.Objects))}
	for i, o := range raw.Objects {
		d.Objects[i] = Deletion{Key: o.Key, VersionID: o.VersionID}
		for _, c := range []struct {
			from *string
			to   *string
		}{{o.ETag, &d.Objects[i].ETag}, {o.LastModifiedTime, &d.Objects[i].LastModifiedTime}, {o.Size, &d.Objects[i].Size}} {
			if c.from == nil {
				continue
			}
			if *c.to = *c.from; *c.to == "" {
				return nil, malformedXML() // a condition that would be lost
			}
		}
	}
	return d, nil
}

// Conditional reports whether the object must be in a certain state.
func (d Deletion) Conditional() bool { return d.ETag != "" || d.LastModifiedTime != "" || d.Size != "" }

// Deletion gives the operation of one object of a batch: what DeleteObject
// would ask for it alone, or why its key can't be used on such an upstream.
func (o *Operation) Deletion(d Deletion, keys Keys) (*Operation, error) {
	one := &Operation{Name: DeleteObject, Bucket: o.Bucket, Key: d.Key, Header: map[string][]string{}, bypass: o.bypass}
	if d.Key == "" {
		return one, badKey("it is empty")
	}
	if err := checkKey(d.Key); err != nil {
		return one, err
	}
	if d.VersionID != "" {
		one.Query = []sigv4.Param{{Name: "versionId", Value: d.VersionID}}
		if err := checkID("NoSuchVersion", d.VersionID); err != nil {
			return one, err
		}
	}
	for header, value := range map[string]string{"If-Match": d.ETag, "X-Amz-If-Match-Size": d.Size, "X-Amz-If-Match-Last-Modified-Time": d.LastModifiedTime} {
		if value != "" {
			one.Header[header] = []string{value}
		}
	}
	if err := one.CheckKeys(keys); err != nil {
		return one, err
	}
	return one, one.readChecks(nil, time.Time{})
}

// XML gives the document to send upstream.
func (d *Deletes) XML() ([]byte, error) { return xml.Marshal(d) }

// DeleteResult is the answer to DeleteObjects.
type DeleteResult struct {
	XMLName xml.Name      `xml:"DeleteResult"`
	Deleted []Deleted     `xml:"Deleted"`
	Errors  []DeleteError `xml:"Error"`
}

// Deleted is one object that is gone.
type Deleted struct {
	Key                   string `xml:"Key"`
	VersionID             string `xml:"VersionId,omitempty"`
	DeleteMarker          *bool  `xml:"DeleteMarker,omitempty"`
	DeleteMarkerVersionID string `xml:"DeleteMarkerVersionId,omitempty"`
}

// DeleteError is one object that is not.
type DeleteError struct {
	Key       string `xml:"Key"`
	VersionID string `xml:"VersionId,omitempty"`
	Code      string `xml:"Code"`
	Message   string `xml:"Message"`
}

// ReadDeleteResult reads an upstream's answer.
func ReadDeleteResult(body []byte) (*DeleteResult, error) {
	var r DeleteResult
	if err := decodeXML(body, &r); err != nil {
		return nil, err
	}
	return &r, nil
}

// XML writes the answer in S3's namespace.
func (r *DeleteResult) XML() ([]byte, error) {
	r.XMLName = xml.Name{Space: namespace, Local: "DeleteResult"}
	return document(r)
}
