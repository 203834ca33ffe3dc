package config

import (
	"fmt"
	"maps"
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
		case UpstreamAWS:
			v.aws(path, u)
		default:
			v.bad(path+".kind", "%q: want embedded (a folder of this server), s3 (any S3 store) or aws (AWS S3, with each role's own keys)", u.Kind)
		}
	}
}

func (v *validator) embedded(path string, u Upstream) {
	for _, f := range []struct{ key, value string }{
		{"endpoint", u.Endpoint}, {"region", u.Region}, {"access_key_file", u.AccessKeyFile},
		{"secret_key_file", u.SecretKeyFile}, {"ca", u.CA}, {"plain_http", string(u.PlainHTTP)},
		{"addressing", string(u.Addressing)}, {"client", u.Client.Certificate + u.Client.Key},
	} {
		if f.value != "" {
			v.bad(path+"."+f.key, "is for kind: s3 and aws; the embedded store has none")
		}
	}
	if len(u.Encryption) > 0 || len(u.StorageClasses) > 0 {
		v.bad(path+".encryption", "encryption and storage_classes are for kind: s3 and aws; the embedded store has neither")
	}
	if len(u.BucketEndpoints) > 0 {
		v.bad(path+".bucket_endpoints", "is for kind: s3 and aws; the embedded store has none")
	}
	if u.Keys != KeysFilesystem {
		v.bad(path+".keys", "%q: the embedded store keeps files, so its keys are filesystem", u.Keys)
	}
}

func (v *validator) s3(path string, u Upstream) {
	if u.AccessKeyFile == "" {
		v.bad(path+".access_key_file", "missing: name the file that holds the access key id of the store")
	}
	if u.SecretKeyFile == "" {
		v.bad(path+".secret_key_file", "missing: name the file that holds the secret key of the store")
	}
	if u.Keys != KeysLiteral && u.Keys != KeysFilesystem {
		v.bad(path+".keys", "%q: want literal (a//b and a/b are two keys) or filesystem; a probe at start proves it", u.Keys)
	}
	if u.Endpoint == "" {
		v.bad(path+".endpoint", "missing: give the address of the store, such as https://minio.example.com:9000")
	}
	v.foreign(path, u)
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

// aws holds an upstream that people's own keys go to.
func (v *validator) aws(path string, u Upstream) {
	for _, f := range []struct{ key, value string }{{"access_key_file", u.AccessKeyFile}, {"secret_key_file", u.SecretKeyFile}} {
		if f.value != "" {
			v.bad(path+"."+f.key, "is for kind: s3; a store of kind aws is reached with each role's own keys and has no other")
		}
	}
	if u.PlainHTTP != "" {
		v.bad(path+".plain_http", "is for kind: s3; session tokens travel on encrypted ways alone")
	}
	if u.Keys != KeysLiteral {
		v.bad(path+".keys", "%q: AWS keeps keys as they are, so they are literal", u.Keys)
	}
	v.foreign(path, u)
}

// foreign holds what both kinds of store elsewhere have in common.
func (v *validator) foreign(path string, u Upstream) {
	if u.Folder != "" {
		v.bad(path+".folder", "is for kind: embedded")
	}
	v.acceptance(path+".plain_http", u.PlainHTTP)
	v.region(path+".region", u.Region)
	v.offered(path, u)
	if u.Endpoint != "" {
		v.endpoint(path+".endpoint", u.Endpoint, u.PlainHTTP)
	}
	for _, bucket := range slices.Sorted(maps.Keys(u.BucketEndpoints)) {
		at := path + ".bucket_endpoints[" + bucket + "]"
		if !bucketForm.MatchString(bucket) || strings.Contains(bucket, "*") {
			v.bad(at, "%q is not the name of a bucket", bucket)
		}
		v.endpoint(at, u.BucketEndpoints[bucket], u.PlainHTTP)
	}
	if u.Addressing != AddressPath && u.Addressing != AddressVirtual {
		v.bad(path+".addressing", "%q: want path (https://store/bucket/key) or virtual (https://bucket.store/key)", u.Addressing)
	}
	if (u.Client.Certificate == "") != (u.Client.Key == "") {
		v.bad(path+".client", "want both certificate and key")
	}
}

func (v *validator) endpoint(path, raw string, plain Acceptance) {
	e, err := url.Parse(raw)
	switch {
	case err != nil, e.Scheme != "http" && e.Scheme != "https", e.Hostname() == "":
		v.bad(path, "%q is not an address such as https://minio.example.com:9000", raw)
	case e.User != nil:
		v.bad(path, "holds a user name: keys go into access_key_file and secret_key_file")
	case e.Path != "", e.RawQuery != "", e.ForceQuery, e.Fragment != "":
		v.bad(path, "%q: want scheme, host and port only", raw)
	case e.Scheme == "http" && !loopbackHost(e.Hostname()) && plain != Accepted:
		v.bad(path, "%q sends objects in the open: use https, or write plain_http: accept", raw)
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
		if !ok {
			v.bad(path+".account", "%q is not one of the accounts above", b.Account)
			continue
		}
		u, ok := c.Upstream(b.Upstream)
		if !ok {
			v.bad(path+".upstream", "%q is not one of the upstreams%s", b.Upstream, upstreamAdvice(b.Upstream, c.Upstreams))
			continue
		}
		switch {
		case a.Kind == AccountAWS && u.Kind != UpstreamAWS:
			v.bad(path+".upstream", "%s is an aws account, whose roles' own keys decide at AWS: want an upstream of kind: aws", b.Account)
		case a.Kind == AccountLocal && u.Kind == UpstreamAWS:
			v.bad(path+".upstream", "%s is a local account, whose keys mean nothing at AWS: want an upstream of kind: s3 (which has a service key) or embedded", b.Account)
		case u.Kind == UpstreamAWS && u.Endpoint == "" && a.Partition != partition(u.Region):
			v.bad(path+".upstream", "%s is in partition %s, but the upstream's region %s is in %s", b.Account, a.Partition, u.Region, partition(u.Region))
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
