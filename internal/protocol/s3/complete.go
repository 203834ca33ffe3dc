package s3

import (
	"encoding/xml"
	"strings"

	"carnet.dev/carnet/internal/protocol/sigv4"
)

type completed struct {
	XMLName  xml.Name `xml:"CompleteMultipartUploadResult"`
	Elements []struct {
		XMLName xml.Name
		Text    string `xml:",chardata"`
	} `xml:",any"`
}

// Completed writes an upstream's answer to CompleteMultipartUpload anew, with
// our location in the place of the store's own host name. S3 may answer 200
// with an error document: that comes back as the error it is.
func Completed(body []byte, location string) ([]byte, *Error, error) {
	if e, ok := ReadError(body); ok {
		if e.Status == 0 {
			e.Status = 500
		}
		return nil, &e, nil
	}
	var c completed
	if err := decodeXML(body, &c); err != nil {
		return nil, nil, err
	}
	var b strings.Builder
	b.WriteString(xml.Header + `<CompleteMultipartUploadResult xmlns="` + namespace + `">`)
	element(&b, "Location", location)
	for _, e := range c.Elements {
		if name := e.XMLName.Local; name != "Location" && token(name) {
			element(&b, name, e.Text)
		}
	}
	b.WriteString("</CompleteMultipartUploadResult>")
	return []byte(b.String()), nil, nil
}

// Location is the path of the object, encoded.
func (o *Operation) Location() string {
	return string(sigv4.AppendEscaped(nil, "/"+o.Bucket+"/"+o.Key, true))
}
