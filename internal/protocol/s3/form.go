package s3

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime"
	"strings"

	"carnet.dev/carnet/internal/core/ascii"
	"carnet.dev/carnet/internal/core/fault"
)

// Form is a browser's upload (S3 API Reference, "POST Object"), read up to the
// content of its file. It is read strictly: one boundary, each field once, and
// no field of a name that another reader could take for another one. Open goes
// on to the content, once somebody is known to have signed.
type Form struct {
	boundary string
	fields   map[string]string // by name in lower case
	names    []string          // in the order of the form
	fileName string            // as the client gave it
	r        *bufio.Reader
	spent    int64 // bytes before the file's content
	length   int64 // of the whole request, -1 when unknown

	file io.Reader
	size int64
}

const (
	maxFormFields = 20 << 10 // bytes before the file (POST Object, "Restrictions")
	maxFormNames  = 128
	wholeForm     = 64 << 10 // what is left is read whole up to here, so that its end is seen
)

// IsForm reports whether a Content-Type is that of a form with a file.
func IsForm(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(kind), "multipart/form-data")
}

// ReadForm reads the fields before the file. length is that of the body, -1
// when unknown. At most maxFormFields bytes are taken in.
func ReadForm(contentType string, body io.Reader, length int64) (*Form, error) {
	if !IsForm(contentType) {
		return nil, fault.Coded(fault.Invalid, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold: Bucket POST must be of the enclosure-type multipart/form-data")
	}
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil || !goodBoundary(params["boundary"]) {
		return nil, malformedForm("its Content-Type has no boundary of 1 to 70 plain characters")
	}
	f := &Form{boundary: "--" + params["boundary"], fields: map[string]string{}, r: bufio.NewReaderSize(body, 4096), length: length}
	if err := f.readFields(); err != nil {
		return nil, err
	}
	return f, nil
}

// goodBoundary holds RFC 2046's alphabet, without the space.
func goodBoundary(b string) bool {
	for i := range len(b) {
		if c := b[i]; !letter(c) && strings.IndexByte("'()+_,-./:=?", c) < 0 {
			return false
		}
	}
	return b != "" && len(b) <= 70
}

// readFields reads part after part until that of the file begins.
func (f *Form) readFields() error {
	line, err := f.line()
	if err != nil {
		return err
	}
	if line != f.boundary+"\r\n" {
		return malformedForm("it does not begin with its boundary")
	}
	for {
		name, fileName, err := f.partHead()
		if err != nil {
			return err
		}
		if name == "file" {
			f.fileName = fileName
			return nil
		}
		value, last, err := f.value()
		if err != nil {
			return err
		}
		if _, given := f.fields[name]; given {
			return invalid("The form field " + clip(name) + " is given more than once")
		}
		if len(f.names) == maxFormNames {
			return tooManyFields()
		}
		f.fields[name], f.names = value, append(f.names, name)
		if last {
			return fault.Coded(fault.Invalid, "IncorrectNumberOfFilesInPostRequest", "POST requires exactly one file upload per request.")
		}
	}
}

// line reads up to LF, which stays, within what fields may have.
func (f *Form) line() (string, error) {
	var b []byte
	for {
		part, err := f.r.ReadSlice('\n')
		f.spent += int64(len(part))
		if f.spent > maxFormFields {
			return "", tooManyFields()
		}
		b = append(b, part...)
		if err == nil {
			return string(b), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return "", formBroken(err)
		}
	}
}

// partHead reads the headers of a part.
func (f *Form) partHead() (name, fileName string, err error) {
	found := false
	for {
		line, err := f.line()
		if err != nil {
			return "", "", err
		}
		line, ok := strings.CutSuffix(line, "\r\n")
		if line == "" && ok {
			break
		}
		header, value, colon := strings.Cut(line, ":")
		if !ok || !colon || !token(header) || strings.ContainsFunc(value, func(c rune) bool { return control(c) && c != '\t' }) {
			return "", "", malformedForm("a part has a header that is none")
		}
		value = strings.Trim(value, " \t")
		switch strings.ToLower(header) {
		case "content-disposition":
			if found {
				return "", "", malformedForm("a part has two Content-Dispositions")
			}
			found = true
			if name, fileName, ok = disposition(value); !ok {
				return "", "", malformedForm("a part's Content-Disposition can't be read")
			}
		case "content-transfer-encoding":
			if !strings.EqualFold(value, "binary") && !strings.EqualFold(value, "8bit") && !strings.EqualFold(value, "7bit") {
				return "", "", malformedForm("a part has the Content-Transfer-Encoding " + clip(value))
			}
		}
	}
	if !found {
		return "", "", malformedForm("a part has no Content-Disposition")
	}
	return name, fileName, nil
}

// disposition reads form-data; name="…"; filename="…". Names are plain ASCII
// and come back in lower case.
func disposition(v string) (name, fileName string, ok bool) {
	kind, rest, _ := strings.Cut(v, ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "form-data") {
		return "", "", false
	}
	seen := map[string]bool{}
	for rest = strings.TrimLeft(rest, " \t"); rest != ""; {
		key, after, eq := strings.Cut(rest, "=")
		value, left, good := dispositionValue(after)
		key = ascii.Lower(key)
		// filename* and name* (RFC 5987) have no place in a form (RFC 7578, 4.2);
		// filename* says again what filename said.
		if !eq || !good || seen[key] || key != "name" && key != "filename" && key != "filename*" {
			return "", "", false
		}
		seen[key] = true
		switch key {
		case "name":
			name = ascii.Lower(value)
		case "filename":
			fileName = value
		}
		if rest = strings.TrimLeft(left, " \t"); rest != "" {
			if rest[0] != ';' {
				return "", "", false
			}
			rest = strings.TrimLeft(rest[1:], " \t")
		}
	}
	return name, fileName, name != "" && plainName(name)
}

// dispositionValue reads a quoted text, in which only \" and \\ are escapes, or a
// bare one.
func dispositionValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, "; \t")
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:], !strings.Contains(s[:end], `"`)
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], true
		case c == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

func plainName(name string) bool {
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' {
			return false
		}
	}
	return len(name) <= 256
}

// value reads a field up to the next boundary, and whether that was the last.
func (f *Form) value() (value string, last bool, err error) {
	var b strings.Builder
	for {
		line, err := f.line()
		if err != nil {
			return "", false, err
		}
		after, boundary := strings.CutPrefix(line, f.boundary)
		if !boundary {
			b.WriteString(line)
			continue
		}
		value, ok := strings.CutSuffix(b.String(), "\r\n")
		if !ok || after != "\r\n" && after != "--\r\n" && after != "--\n" {
			return "", false, malformedForm("a field holds its boundary")
		}
		return value, after != "\r\n", nil
	}
}

// Get gives a field by its name in lower case; "" when absent.
func (f *Form) Get(name string) string { return f.fields[name] }

// Size gives the bytes of the file, and File their reader, once open.
func (f *Form) Size() int64     { return f.size }
func (f *Form) File() io.Reader { return f.file }

// Open finds how long the file is. What is short is read whole, and fields
// behind the file are passed over, as S3 does. Of all else the end is known from
// the request's length: there the file must be the last field, and its reader
// fails before its last bytes where it is not.
func (f *Form) Open() error {
	delimiter := []byte("\r\n" + f.boundary)
	left := f.length - f.spent
	if f.length < 0 || left <= wholeForm {
		return f.openWhole(delimiter)
	}
	tail := append(bytes.Clone(delimiter), "--\r\n"...)
	f.size = left - int64(len(tail))
	f.file = &formFile{r: f.r, left: f.size, delimiter: delimiter, tail: tail}
	return nil
}

func (f *Form) openWhole(delimiter []byte) error {
	rest, err := io.ReadAll(io.LimitReader(f.r, wholeForm+1))
	if err != nil {
		return formBroken(err)
	}
	if len(rest) > wholeForm {
		return fault.Coded(fault.Invalid, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	content, after, found := bytes.Cut(rest, delimiter)
	if !found || !bytes.HasPrefix(after, []byte("--")) && !bytes.HasPrefix(after, []byte("\r\n")) {
		return malformedForm("its file does not end with its boundary")
	}
	f.size, f.file = int64(len(content)), bytes.NewReader(content)
	return nil
}

// formFile gives the content of a file whose length is known, looks for the
// boundary in it, and holds the end of the form to its one shape.
type formFile struct {
	r         *bufio.Reader
	left      int64
	delimiter []byte
	tail      []byte
	overlap   []byte // the last bytes given, in which a delimiter may have begun
	err       error
}

func (f *formFile) Read(b []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	if f.left == 0 {
		f.err = f.end()
		return 0, f.err
	}
	n, err := f.r.Read(b[:min(int64(len(b)), f.left)])
	f.left -= int64(n)
	most := len(f.delimiter) - 1
	f.overlap = append(f.overlap, b[:min(n, most)]...)
	if bytes.Contains(f.overlap, f.delimiter) || bytes.Contains(b[:n], f.delimiter) {
		f.err = malformedForm("a field follows the file, or the file holds the form's boundary").
			WithMend("let the file be the last field: a submit button behind it must have no name")
		return 0, f.err
	}
	if n > most {
		f.overlap = append(f.overlap[:0], b[n-most:n]...)
	} else if len(f.overlap) > most {
		f.overlap = append(f.overlap[:0], f.overlap[len(f.overlap)-most:]...)
	}
	if err != nil {
		f.err = formBroken(err)
		return n, f.err
	}
	return n, nil
}

func (f *formFile) end() error {
	got := make([]byte, len(f.tail))
	if _, err := io.ReadFull(f.r, got); err != nil {
		return formBroken(err)
	}
	if !bytes.Equal(got, f.tail) {
		return malformedForm("it does not end with its boundary, two hyphens and a line break")
	}
	if _, err := f.r.ReadByte(); err != io.EOF {
		return malformedForm("bytes follow its end")
	}
	return io.EOF
}

func malformedForm(why string) *fault.Fault {
	return fault.Coded(fault.Invalid, "MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data: "+why)
}

func formBroken(err error) error {
	var f *fault.Fault
	if errors.As(err, &f) {
		return err
	}
	return fault.Coded(fault.Invalid, "IncompleteBody", "The request body terminated unexpectedly").WithCause(err)
}

func tooManyFields() error {
	return fault.Coded(fault.TooLarge, "MaxPostPreDataLengthExceededError", "Your POST request fields preceding the upload file were too large.")
}
