package s3

import (
	"encoding/xml"
	"slices"
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

const namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

// Bucket is one line of ListBuckets.
type Bucket struct {
	Name         string `xml:"Name"`
	CreationDate string `xml:"CreationDate"`
	Region       string `xml:"BucketRegion,omitempty"`
}

type bucketList struct {
	XMLName xml.Name `xml:"ListAllMyBucketsResult"`
	Owner   struct {
		ID          string `xml:"ID"`
		DisplayName string `xml:"DisplayName,omitempty"`
	} `xml:"Owner"`
	Buckets           []Bucket `xml:"Buckets>Bucket"`
	ContinuationToken string   `xml:"ContinuationToken,omitempty"`
	Prefix            string   `xml:"Prefix,omitempty"`
}

// ReadBuckets reads an upstream's answer to ListBuckets, and where to go on.
func ReadBuckets(body []byte) (buckets []Bucket, next string, err error) {
	var l bucketList
	if err := decodeXML(body, &l); err != nil {
		return nil, "", err
	}
	return l.Buckets, l.ContinuationToken, nil
}

// ListBucketsXML answers ListBuckets from all buckets of the caller's account:
// sorted, filtered and cut as the request's parameters say. region is that of
// buckets which name none.
func (o *Operation) ListBucketsXML(all []Bucket, owner, region string) ([]byte, error) {
	var l bucketList
	l.XMLName = xml.Name{Space: namespace, Local: "ListAllMyBucketsResult"}
	l.Owner.ID = owner
	l.Prefix = o.Param("prefix")
	most, _ := strconv.Atoi(o.Param("max-buckets"))
	slices.SortFunc(all, func(a, b Bucket) int { return strings.Compare(a.Name, b.Name) })
	wanted := o.Param("bucket-region")
	for _, b := range all {
		if b.Region == "" {
			b.Region = region
		}
		if !strings.HasPrefix(b.Name, l.Prefix) || b.Name <= o.Param("continuation-token") || wanted != "" && wanted != b.Region {
			continue
		}
		if most > 0 && len(l.Buckets) == most {
			l.ContinuationToken = l.Buckets[most-1].Name
			break
		}
		if len(o.Query) == 0 {
			b.Region = ""
		}
		l.Buckets = append(l.Buckets, b)
	}
	return document(&l)
}

type location struct {
	XMLName xml.Name
	Region  string `xml:",chardata"`
}

// LocationXML answers GetBucketLocation: us-east-1 is written as nothing.
func LocationXML(region string) ([]byte, error) {
	if region == "us-east-1" {
		region = ""
	}
	return document(&location{xml.Name{Space: namespace, Local: "LocationConstraint"}, region})
}

type createBucket struct {
	XMLName  xml.Name  `xml:"CreateBucketConfiguration"`
	Location string    `xml:"LocationConstraint,omitempty"`
	Type     *struct{} `xml:"Bucket"`
	Place    *struct{} `xml:"Location"`
	Tags     *struct {
		Tags []Tag `xml:"Tag"`
	} `xml:"Tags"`
}

// ReadCreateBucket reads the body of CreateBucket, which may be empty, and adds
// what it asks for: the condition key of the place, and s3:TagResource with the
// tags. It gives the document to send upstream, nil without tags: a store's own
// region is no concern of the client's.
func (o *Operation) ReadCreateBucket(body []byte, region string) ([]byte, error) {
	c, err := readCreateBucket(body)
	if err != nil {
		return nil, err
	}
	if err := o.placeBucket(c.Location, region); err != nil || c.Tags == nil || len(c.Tags.Tags) == 0 {
		return nil, err
	}
	context, err := bucketTags(c.Tags.Tags)
	if err != nil {
		return nil, err
	}
	for i := range o.Checks {
		o.Checks[i].Context = append(o.Checks[i].Context, context...)
	}
	o.Checks = append(o.Checks, Check{"s3:TagResource", o.Bucket, "", o.Checks[0].Context})
	c.Location = ""
	return marshal("CreateBucketConfiguration", c)
}

// ReadCreateBucketIn reads the body of CreateBucket, which may be empty, for a
// store that decides by itself and has several regions: a bucket is made where
// the body says, else in home. It gives the document to send to that region.
func ReadCreateBucketIn(body []byte, home string) (document []byte, region string, err error) {
	c, err := readCreateBucket(body)
	if err != nil {
		return nil, "", err
	}
	switch region = c.Location; {
	case region == "":
		region = home
	case region == "EU": // its first name
		region = "eu-west-1"
	case !IsRegion(region):
		return nil, "", fault.Coded(fault.Invalid, "InvalidLocationConstraint", "The specified location-constraint is not valid")
	}
	if c.Location = region; region == "us-east-1" {
		c.Location = "" // which has no name there
	}
	if c.Tags != nil && len(c.Tags.Tags) == 0 {
		c.Tags = nil
	}
	if c.Location == "" && c.Tags == nil {
		return nil, region, nil
	}
	document, err = marshal("CreateBucketConfiguration", c)
	return document, region, err
}

// IsRegion holds the name of a region to the form that AWS's have, such as
// eu-west-1: it may become part of a host.
func IsRegion(s string) bool {
	parts := strings.Split(s, "-")
	for _, p := range parts {
		if p == "" || strings.Trim(p, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			return false
		}
	}
	return len(s) <= 32 && len(parts) >= 3 && s[0] >= 'a' && strings.Trim(parts[len(parts)-1], "0123456789") == ""
}

func readCreateBucket(body []byte) (*createBucket, error) {
	var c createBucket
	if len(body) == 0 {
		return &c, nil
	}
	if err := decodeXML(body, &c); err != nil {
		return nil, err
	}
	if c.Type != nil || c.Place != nil {
		return nil, notImplemented("directory buckets in CreateBucketConfiguration")
	}
	return &c, nil
}

func (o *Operation) placeBucket(location, region string) error {
	if location == "" {
		return nil
	}
	if location != "EU" && !IsRegion(location) {
		return fault.Coded(fault.Invalid, "InvalidLocationConstraint", "The specified location-constraint is not valid")
	}
	if location != region {
		return fault.Coded(fault.Invalid, "IllegalLocationConstraintException", "The "+clip(location)+" location constraint is incompatible for the region specific endpoint this request was sent to.")
	}
	for i := range o.Checks {
		o.Checks[i].Context = append(o.Checks[i].Context, Value{"s3:locationconstraint", []string{location}})
	}
	return nil
}

func document(v any) ([]byte, error) {
	b, err := xml.Marshal(v)
	return append([]byte(xml.Header), b...), err
}
