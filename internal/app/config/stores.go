package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/ascii"
	"carnet.dev/carnet/internal/protocol/s3"
)

func (v *validator) upstreams(list []Upstream) {
	names, folders := map[string]bool{}, map[string]string{}
	for i, u := range list {
		path := fmt.Sprintf("upstreams[%d]", i)
		v.name(path+".name", u.Name, names)
		switch u.Kind {
		case UpstreamEmbedded:
			v.embedded(path, u)
			if other, twice := folders[u.Folder]; twice {
				v.bad(path+".folder", "is the folder of %s too", other)
			}
			folders[u.Folder] = u.Name
		case UpstreamS3:
			v.s3(path, u)
		default:
			v.bad(path+".kind", "%q: want embedded (a folder of this server) or s3 (any S3 store)", u.Kind)
		}
	}
}

func (v *validator) embedded(path string, u Upstream) {
	for _, f := range []struct{ key, value string }{
		{"endpoint", u.Endpoint}, {"region", u.Region}, {"access_key_file", u.AccessKeyFile},
		{"secret_key_file", u.SecretKeyFile}, {"ca", u.CA}, {"plain_http", string(u.PlainHTTP)},
	} {
		if f.value != "" {
			v.bad(path+"."+f.key, "is for kind: s3; the embedded store has none")
		}
	}
	if len(u.Encryption) > 0 || len(u.StorageClasses) > 0 {
		v.bad(path+".encryption", "encryption and storage_classes are for kind: s3; the embedded store has neither")
	}
	if u.Keys != KeysFilesystem {
		v.bad(path+".keys", "%q: the embedded store keeps files, so its keys are filesystem", u.Keys)
	}
}

func (v *validator) s3(path string, u Upstream) {
	if u.Folder != "" {
		v.bad(path+".folder", "is for kind: embedded")
	}
	v.acceptance(path+".plain_http", u.PlainHTTP)
	if u.AccessKeyFile == "" {
		v.bad(path+".access_key_file", "missing: name the file that holds the access key id of the store")
	}
	if u.SecretKeyFile == "" {
		v.bad(path+".secret_key_file", "missing: name the file that holds the secret key of the store")
	}
	if u.Keys != KeysLiteral && u.Keys != KeysFilesystem {
		v.bad(path+".keys", "%q: want literal (a//b and a/b are two keys) or filesystem; a probe at start proves it", u.Keys)
	}
	v.region(path+".region", u.Region)
	v.endpoint(path, u)
	v.offered(path, u)
}

// offered holds the lists of what requests may choose to S3's names. A key that
// the customer brings must not travel in the open.
func (v *validator) offered(path string, u Upstream) {
	e, unknown := s3.ParseEncryption(u.Encryption)
	switch {
	case unknown != "":
		v.bad(path+".encryption", "%q: want AES256, aws:kms or customer-key", unknown)
	case e&s3.EncryptCustomerKey != 0 && u.PlainHTTP == Accepted:
		v.bad(path+".encryption", "customer-key sends the customers' keys to the store, which needs https")
	}
	for _, class := range u.StorageClasses {
		if !slices.Contains(s3.StorageClasses(), class) {
			v.bad(path+".storage_classes", "%q: want one of %s", class, strings.Join(s3.StorageClasses(), ", "))
		}
	}
}

func (v *validator) endpoint(path string, u Upstream) {
	e, err := url.Parse(u.Endpoint)
	switch {
	case u.Endpoint == "":
		v.bad(path+".endpoint", "missing: give the address of the store, such as https://minio.example.com:9000")
	case err != nil, e.Scheme != "http" && e.Scheme != "https", e.Hostname() == "":
		v.bad(path+".endpoint", "%q is not an address such as https://minio.example.com:9000", u.Endpoint)
	case e.User != nil:
		v.bad(path+".endpoint", "holds a user name: keys go into access_key_file and secret_key_file")
	case e.Path != "", e.RawQuery != "", e.ForceQuery, e.Fragment != "":
		v.bad(path+".endpoint", "%q: want scheme, host and port only", u.Endpoint)
	case e.Scheme == "http" && !loopbackHost(e.Hostname()) && u.PlainHTTP != Accepted:
		v.bad(path+".endpoint", "%q sends objects in the open: use https, or write plain_http: accept", u.Endpoint)
	}
}

// bucketForm is S3's bucket name rule with * allowed (S3 User Guide, "Bucket
// naming rules"); what it lets through beyond the rule, the gateway refuses.
var bucketForm = regexp.MustCompile(`^[a-z0-9*][a-z0-9.*-]{0,62}$`)

func (v *validator) buckets(c *Config) {
	for i, b := range c.Buckets {
		path := fmt.Sprintf("buckets[%d]", i)
		if !bucketForm.MatchString(b.Match) {
			v.bad(path+".match", "%q is not a bucket name; * stands for any run of characters", b.Match)
		}
		v.shadowed(path, b, c.Buckets[:i])
		a, ok := c.Account(b.Account)
		switch {
		case !ok:
			v.bad(path+".account", "%q is not one of the accounts above", b.Account)
		case a.Kind != AccountLocal:
			v.bad(path+".account", "%s is an aws account: its buckets are reached at AWS, not here", b.Account)
		}
		if _, ok := c.Upstream(b.Upstream); !ok {
			v.bad(path+".upstream", "%q is not one of the upstreams%s", b.Upstream, upstreamAdvice(b.Upstream, c.Upstreams))
		}
	}
}

// shadowed refuses a rule that an earlier one makes unreachable.
func (v *validator) shadowed(path string, b Bucket, earlier []Bucket) {
	for _, e := range earlier {
		if b.Match != "" && ascii.Glob(e.Match, b.Match) {
			v.bad(path+".match", "%q is never reached: %q above covers it", b.Match, e.Match)
			return
		}
	}
}

func upstreamAdvice(name string, list []Upstream) string {
	var names []string
	for _, u := range list {
		names = append(names, u.Name)
	}
	if len(names) == 0 {
		return ": none is configured"
	}
	return strings.Replace(advice(name, names), "known here are", "configured are", 1)
}
