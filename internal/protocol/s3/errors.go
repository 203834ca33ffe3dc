package s3

import (
	"bytes"
	"encoding/xml"
	"io"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// statuses of S3's error codes (API Reference, "Error responses").
var statuses = map[string]int{
	"AccessControlListNotSupported":                  400,
	"AccessDenied":                                   403,
	"AccessForbidden":                                403,
	"AuthorizationHeaderMalformed":                   400,
	"AuthorizationQueryParametersError":              400,
	"BadDigest":                                      400,
	"BadRequest":                                     400,
	"BucketAlreadyExists":                            409,
	"BucketAlreadyOwnedByYou":                        409,
	"EntityTooLarge":                                 400,
	"EntityTooSmall":                                 400,
	"ExpiredToken":                                   400,
	"IllegalLocationConstraintException":             400,
	"IllegalVersioningConfigurationException":        400,
	"IncompleteBody":                                 400,
	"IncorrectNumberOfFilesInPostRequest":            400,
	"InternalError":                                  500,
	"InvalidAccessKeyId":                             403,
	"InvalidArgument":                                400,
	"InvalidBucketAclWithObjectOwnership":            400,
	"InvalidLocationConstraint":                      400,
	"MissingRequestBodyError":                        400,
	"InvalidBucketName":                              400,
	"InvalidChunkSizeError":                          400,
	"InvalidDigest":                                  400,
	"InvalidEncryptionAlgorithmError":                400,
	"InvalidPolicyDocument":                          400,
	"InvalidRedirectLocation":                        400,
	"InvalidRequest":                                 400,
	"InvalidStorageClass":                            400,
	"InvalidTag":                                     400,
	"InvalidToken":                                   400,
	"InvalidURI":                                     400,
	"KeyTooLongError":                                400,
	"MalformedPOSTRequest":                           400,
	"MalformedPolicy":                                400,
	"MalformedTrailerError":                          400,
	"MalformedXML":                                   400,
	"MaxMessageLengthExceeded":                       400,
	"MaxPostPreDataLengthExceededError":              400,
	"MethodNotAllowed":                               405,
	"MissingContentLength":                           411,
	"MissingSecurityHeader":                          400,
	"NoSuchBucket":                                   404,
	"NoSuchBucketPolicy":                             404,
	"NoSuchCORSConfiguration":                        404,
	"NoSuchConfiguration":                            404,
	"NoSuchKey":                                      404,
	"NoSuchLifecycleConfiguration":                   404,
	"NoSuchUpload":                                   404,
	"NoSuchVersion":                                  404,
	"NoSuchWebsiteConfiguration":                     404,
	"NotImplemented":                                 501,
	"OperationAborted":                               409,
	"PreconditionFailed":                             412,
	"ReplicationConfigurationNotFoundError":          404,
	"RequestTimeTooSkewed":                           403,
	"RequestTimeout":                                 400,
	"ServerSideEncryptionConfigurationNotFoundError": 404,
	"ServiceUnavailable":                             503,
	"SignatureDoesNotMatch":                          403,
	"SlowDown":                                       503,
	"UnexpectedContent":                              400,
	"UserKeyMustBeSpecified":                         400,
	"XAmzContentSHA256Mismatch":                      400,
}

// kindCodes are for faults without a code of S3's own.
var kindCodes = map[fault.Kind]string{
	fault.Internal:        "InternalError",
	fault.Invalid:         "InvalidRequest",
	fault.Unauthenticated: "AccessDenied",
	fault.Denied:          "AccessDenied",
	fault.NotFound:        "NoSuchKey",
	fault.Conflict:        "OperationAborted",
	fault.Expired:         "ExpiredToken",
	fault.Revoked:         "AccessDenied",
	fault.TooLarge:        "EntityTooLarge",
	fault.Limited:         "SlowDown",
	fault.Unavailable:     "ServiceUnavailable",
	fault.Unsupported:     "NotImplemented",
	fault.Misconfigured:   "InternalError",
}

// Error is an S3 error on the wire.
type Error struct {
	Code, Message, Resource, RequestID string
	Status                             int
	// Extra elements, such as Region or Key.
	Extra []sigv4.Param
}

// ErrorOf maps a fault: this is the one place where kinds meet S3's codes.
func ErrorOf(f *fault.Fault) Error {
	e := Error{Code: f.Code, Message: f.Public}
	status, ok := statuses[e.Code]
	if !ok {
		e.Code = kindCodes[f.Kind]
		status = statuses[e.Code]
	}
	e.Status = status
	if f.Mend != "" {
		e.Message += " (" + f.Mend + ")"
	}
	for _, d := range f.Details {
		e.Extra = append(e.Extra, sigv4.Param{Name: d.Name, Value: d.Value})
	}
	return e
}

// XML writes the error document.
func (e Error) XML() []byte {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	b.WriteString("<Error>")
	element(&b, "Code", e.Code)
	element(&b, "Message", e.Message)
	for _, x := range e.Extra {
		element(&b, x.Name, x.Value)
	}
	element(&b, "Resource", e.Resource)
	element(&b, "RequestId", e.RequestID)
	b.WriteString("</Error>")
	return b.Bytes()
}

// buffer is a Builder or a Buffer: neither fails.
type buffer interface {
	io.Writer
	io.StringWriter
}

func element(b buffer, name, text string) {
	_, _ = b.WriteString("<" + name + ">")
	_ = xml.EscapeText(b, []byte(text))
	_, _ = b.WriteString("</" + name + ">")
}

// extras are the elements of a store's error that tell a client about its own
// request. All else may be the store's: hosts, request ids, paths.
var extras = map[string]bool{
	"ActualObjectSize": true, "ArgumentName": true, "ArgumentValue": true, "BucketName": true, "Condition": true, "ETag": true,
	"Key": true, "MaxSizeAllowed": true, "MinSizeAllowed": true, "PartNumber": true, "ProposedSize": true, "RangeRequested": true,
	"UploadId": true, "VersionId": true,
}

// ReadError reads an upstream's error document, of its elements only those
// above.
func ReadError(body []byte) (Error, bool) {
	var raw struct {
		XMLName  xml.Name `xml:"Error"`
		Code     string   `xml:"Code"`
		Message  string   `xml:"Message"`
		Elements []struct {
			XMLName xml.Name
			Text    string `xml:",chardata"`
		} `xml:",any"`
	}
	if decodeXML(body, &raw) != nil || raw.Code == "" {
		return Error{}, false
	}
	e := Error{Code: raw.Code, Message: raw.Message, Status: statuses[raw.Code]}
	for _, x := range raw.Elements {
		if name := x.XMLName.Local; extras[name] && len(e.Extra) < len(extras) {
			e.Extra = append(e.Extra, sigv4.Param{Name: name, Value: x.Text})
		}
	}
	return e, true
}
