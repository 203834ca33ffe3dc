package s3client

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
)

// endpoint is one address of a store, and how it does.
type endpoint struct {
	scheme, host string // host with its port
	breaker      breaker
}

// String gives scheme://host[:port].
func (e *endpoint) String() string { return e.scheme + "://" + e.host }

// place is where the requests for a bucket go, and for what region.
type place struct {
	endpoint *endpoint
	region   string
	// sure: the bucket answered there before.
	sure bool
}

// locateEndpoints reads the addresses of the configuration.
func (c *Client) locateEndpoints() (err error) {
	address := c.config.Endpoint
	if address == "" && c.config.RoleKeys {
		address = "https://s3." + c.config.Region + suffix(c.config.Region)
	}
	if c.base, err = c.parse(address); err != nil {
		return err
	}
	c.template = newTemplate(c.base.host, c.config.Region)
	for bucket, address := range c.config.BucketEndpoints {
		if c.buckets[bucket], err = c.parse(address); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) parse(address string) (*endpoint, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil || u.Fragment != "" {
		return nil, fault.New(fault.Misconfigured, "The upstream's endpoint must be http(s)://host[:port] and nothing more").WithCause(err)
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil && c.config.Virtual {
		return nil, fault.New(fault.Misconfigured, "The upstream's endpoint "+address+" is an IP address, before which no bucket can stand").WithMend("use addressing: path")
	}
	return &endpoint{scheme: u.Scheme, host: u.Host}, nil
}

// suffix is the domain of AWS's endpoints in a region's partition (AWS General
// Reference, "Amazon S3 endpoints").
func suffix(region string) string {
	if strings.HasPrefix(region, "cn-") {
		return ".amazonaws.com.cn"
	}
	return ".amazonaws.com"
}

// template is an endpoint of AWS whose host names its region, so that those of
// other regions are known too: also dual-stack and FIPS endpoints, but not those
// of a VPC, which is in one region.
type template struct{ before, after string }

func newTemplate(host, region string) *template {
	before, after, ok := strings.Cut(host, "."+region+".")
	if !ok || before == "" || strings.Contains(host, ".vpce.") || "."+after != suffix(region) {
		return nil
	}
	return &template{before + ".", "." + after}
}

// place finds out where the requests for a bucket go; made is where it is to be
// made, or empty.
func (c *Client) place(bucket, made string) place {
	at := place{endpoint: c.base, region: c.config.Region, sure: bucket == "" || !c.learns()}
	if made != "" && c.template != nil && c.buckets[bucket] == nil && sameDomain(made, c.config.Region) {
		return c.in(made)
	}
	if own, ok := c.buckets[bucket]; ok {
		at.endpoint = own
	}
	if at.sure {
		return at
	}
	region, ok := c.regions.get(bucket, c.config.Now())
	if !ok {
		return at
	}
	if c.template != nil && at.endpoint == c.base {
		return c.in(region)
	}
	at.region, at.sure = region, true
	return at
}

// in is the place of a region's own endpoint.
func (c *Client) in(region string) place {
	if region == c.config.Region {
		return place{c.base, region, true}
	}
	return place{c.ofRegion(region), region, true}
}

// sameDomain reports whether the endpoints of two regions are of one partition.
func sameDomain(a, b string) bool {
	return suffix(a) == suffix(b) && strings.HasPrefix(a, "us-gov-") == strings.HasPrefix(b, "us-gov-")
}

// mostRegions bounds the endpoints of other regions; AWS has some forty.
const mostRegions = 64

func (c *Client) ofRegion(region string) *endpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.learnt[region]
	if !ok {
		if len(c.learnt) >= mostRegions {
			clear(c.learnt)
		}
		e = &endpoint{scheme: c.base.scheme, host: c.template.before + region + c.template.after}
		c.learnt[region] = e
	}
	return e
}

// endpoints lists all that are known, ordered by their address.
func (c *Client) endpoints() []*endpoint {
	all := []*endpoint{c.base}
	for _, e := range c.buckets {
		all = append(all, e)
	}
	c.mu.Lock()
	for _, e := range c.learnt {
		all = append(all, e)
	}
	c.mu.Unlock()
	slices.SortFunc(all, func(a, b *endpoint) int { return strings.Compare(a.String(), b.String()) })
	return all
}

// inFront reports whether a bucket is named before the host.
func (c *Client) inFront(bucket string) bool {
	return c.config.Virtual && bucket != "" && !strings.Contains(bucket, ".")
}

// host gives the host that a bucket's requests name.
func (c *Client) host(at place, bucket string) string {
	if c.inFront(bucket) {
		return bucket + "." + at.endpoint.host
	}
	return at.endpoint.host
}

// learns reports whether the store has buckets in several regions: AWS alone.
func (c *Client) learns() bool { return c.config.RoleKeys || c.template != nil }

// elsewhere reports whether a store's answer says that the bucket lies in
// another region than the request went to, and which. It takes the name of the
// region, never an address: a Location leads nowhere.
func (c *Client) elsewhere(res *http.Response, at place) (string, bool) {
	if !c.learns() {
		return "", false
	}
	switch res.StatusCode {
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusBadRequest:
	default:
		return "", false
	}
	region := res.Header.Get("X-Amz-Bucket-Region")
	if region == "" {
		region = regionOf(res)
	}
	if region == at.region || !s3.IsRegion(region) || !sameDomain(region, c.config.Region) {
		return "", false
	}
	return region, true
}

// remember notes that a bucket answered where it was asked.
func (c *Client) remember(bucket string, at place, status int) {
	if !at.sure && status < 300 {
		c.regions.put(bucket, at.region, c.config.Now())
	}
}
