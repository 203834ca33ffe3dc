package gateway

import (
	"net/http"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// isForm reports a browser's form: a POST without a credential in header or
// query, whose own fields may hold one. Which bucket it is for says its address.
func (x *exchange) isForm() bool {
	return x.r.Method == http.MethodPost && len(x.r.Header["Authorization"]) == 0 && !strings.Contains(x.r.RequestURI, "?") &&
		s3.IsForm(strings.Join(x.r.Header["Content-Type"], ","))
}

// serveForm is the walk of a form: its fields are read within narrow bounds, then
// its signature is verified, and only then its policy is looked at.
func (x *exchange) serveForm() error {
	target, err := sigv4.ParseTarget(x.r.RequestURI)
	if err != nil {
		return err
	}
	bucket, err := s3.FormBucket(x.r.Host, target, x.g.config.Domains)
	if err != nil {
		return err
	}
	form, err := s3.ReadForm(strings.Join(x.r.Header["Content-Type"], ","), x.r.Body, x.r.ContentLength)
	if err != nil {
		return err
	}
	if err := x.proveForm(form); err != nil {
		return err
	}
	httpd.Proven(x.r)
	if err := form.Open(); err != nil {
		return err
	}
	var policy *s3.FormPolicy
	if x.op, policy, err = form.Operation(bucket, x.began); err != nil {
		return err
	}
	if err := policy.CheckSize(form.Size()); err != nil {
		return err
	}
	if form.Size() > x.op.MaxBody {
		return fault.Coded(fault.TooLarge, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.")
	}
	body, err := x.presented.Body(form.File(), x.key, sigv4.BodySpec{Mode: sigv4.PayloadUnsigned, Length: form.Size(), Checksums: x.op.Checksums})
	if err != nil {
		return err
	}
	return x.act(body)
}

// proveForm verifies the signature in the fields.
func (x *exchange) proveForm(form *s3.Form) error {
	request := x.signed()
	missing, anonymous := form.Missing()
	if anonymous {
		return unsigned()
	}
	p, err := sigv4.ParseForm(request, form.Get)
	if err != nil && (missing == "" || fault.Of(err).Kind == fault.Unsupported) {
		return err
	}
	if missing != "" {
		return fault.Coded(fault.Invalid, "InvalidArgument", "Bucket POST must contain a field named '"+missing+"'.  If it is specified, please check the order of the fields.").With("ArgumentName", missing)
	}
	return x.prove(p, request, form.Get("policy"))
}

// posted answers a form whose object is stored.
func (x *exchange) posted(res *http.Response) error {
	h, a := x.w.Header(), x.op.Form
	etag := first(res.Header["Etag"])
	if a.Redirect != "" {
		h["Location"] = []string{a.To(x.op.Bucket, x.op.Key, etag)}
		x.write(http.StatusSeeOther, nil)
		return nil
	}
	location := x.location()
	h["Location"] = []string{location}
	if a.Status != http.StatusCreated {
		x.write(a.Status, nil)
		return nil
	}
	h["Content-Type"] = []string{"application/xml"}
	x.write(a.Status, s3.PostedXML(location, x.op.Bucket, x.op.Key, etag))
	return nil
}

// location is the object's address as the client reached this gateway.
func (x *exchange) location() string {
	path := x.op.Location()
	if s3.HostBucket(x.r.Host, x.g.config.Domains) != "" {
		path = strings.TrimPrefix(path, "/"+x.op.Bucket)
	}
	if x.r.TLS != nil {
		return "https://" + x.r.Host + path
	}
	return "http://" + x.r.Host + path
}
