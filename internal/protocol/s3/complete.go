package s3

import (
	"encoding/xml"
	"strings"

	"carnet.dev/carnet/internal/protocol/sigv4"
)

// completion is the body of CompleteMultipartUpload: all of its documentation.
type completion struct {
	XMLName xml.Name `xml:"CompleteMultipartUpload"`
	Parts   []struct {
		ChecksumCRC32     string `xml:"ChecksumCRC32,omitempty"`
		ChecksumCRC32C    string `xml:"ChecksumCRC32C,omitempty"`
		ChecksumCRC64NVME string `xml:"ChecksumCRC64NVME,omitempty"`
		ChecksumMD5       string `xml:"ChecksumMD5,omitempty"`
		ChecksumSHA1      string `xml:"ChecksumSHA1,omitempty"`
		ChecksumSHA256    string `xml:"ChecksumSHA256,omitempty"`
		ChecksumSHA512    string `xml:"ChecksumSHA512,omitempty"`
		ChecksumXXHASH3   string `xml:"ChecksumXXHASH3,omitempty"`
		ChecksumXXHASH64  string `xml:"ChecksumXXHASH64,omitempty"`
		ChecksumXXHASH128 string `xml:"ChecksumXXHASH128,omitempty"`
		ETag              string `xml:"ETag"`
		PartNumber        *int   `xml:"PartNumber"`
	} `xml:"Part"`
}

const (
	maxParts   = 10000
	tagsOfPart = 32 // a part with all of its elements has 26
)

// ReadComplete reads the body of CompleteMultipartUpload and writes it anew, so
// that no document of a client's own making reaches a store.
func ReadComplete(body []byte) ([]byte, error) {
	var c completion
	if err := atMostTags(body, maxParts*tagsOfPart); err != nil {
		return nil, err
	}
	if err := decodeXML(body, &c); err != nil {
		return nil, err
	}
	if len(c.Parts) == 0 || len(c.Parts) > maxParts {
		return nil, malformedXML()
	}
	for _, p := range c.Parts {
		if p.ETag == "" || p.PartNumber == nil {
			return nil, malformedXML()
		}
	}
	c.XMLName.Space = namespace
	return xml.Marshal(&c)
}

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
