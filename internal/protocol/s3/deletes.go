package s3

import (
	"encoding/xml"
)

// Deletion is one object that a batch names.
type Deletion struct {
	Key       string `xml:"Key"`
	VersionID string `xml:"VersionId,omitempty"`
}

// Deletes is the body of DeleteObjects.
type Deletes struct {
	XMLName xml.Name   `xml:"Delete"`
	Objects []Deletion `xml:"Object"`
	Quiet   bool       `xml:"Quiet"`
}

// rawDeletes has what must not be ignored, too.
type rawDeletes struct {
	XMLName xml.Name `xml:"Delete"`
	Quiet   bool     `xml:"Quiet"`
	Objects []struct {
		Deletion
		ETag             *string `xml:"ETag"`
		LastModifiedTime *string `xml:"LastModifiedTime"`
		Size             *string `xml:"Size"`
	} `xml:"Object"`
}

const maxDeletes = 1000

// ReadDeletes reads the body of DeleteObjects.
func ReadDeletes(body []byte) (*Deletes, error) {
	var raw rawDeletes
	if err := decodeXML(body, &raw); err != nil {
		return nil, err
	}
	if len(raw.Objects) == 0 || len(raw.Objects) > maxDeletes {
		return nil, malformedXML()
	}
	d := &Deletes{Quiet: raw.Quiet, Objects: make([]Deletion, len(raw.Objects))}
	for i, o := range raw.Objects {
		if o.ETag != nil || o.LastModifiedTime != nil || o.Size != nil {
			return nil, notImplemented("conditions in DeleteObjects")
		}
		d.Objects[i] = o.Deletion
	}
	return d, nil
}

// Check gives the question that one deletion asks, or why its key can't be
// used on such an upstream.
func (d Deletion) Check(bucket string, keys Keys) (Check, error) {
	c := Check{Action: "s3:DeleteObject", Bucket: bucket, Key: d.Key}
	if d.Key == "" {
		return c, badKey("it is empty")
	}
	if err := checkKey(d.Key); err != nil {
		return c, err
	}
	if keys == Filesystem {
		if err := checkFilesystem(d.Key); err != nil {
			return c, err
		}
	}
	if d.VersionID != "" {
		c.Action = "s3:DeleteObjectVersion"
		c.Context = []Value{{"s3:versionid", []string{d.VersionID}}}
		return c, checkID("NoSuchVersion", d.VersionID)
	}
	return c, nil
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
	DeleteMarker          bool   `xml:"DeleteMarker,omitempty"`
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
