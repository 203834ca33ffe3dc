package config

import (
	"fmt"
	"slices"
)

// delivery holds what says how keys reach clients, what they are bound to, and
// how requests are taken.
func (v *validator) delivery(c *Config) {
	ca, own := c.Listen.AWS.ClientCA, c.IAM.Listen.ClientCA
	if ca != "" && !c.Listen.AWS.TLS.On() {
		v.bad("listen.aws.client_ca", "client certificates need tls: certificate and key")
	}
	if own != "" {
		v.bad("iam.listen.client_ca", "only listen.aws asks for client certificates: gateway keys are bound to them")
	}
	if s := c.Listen.AWS.FastPath; s != On && s != Off {
		v.bad("listen.aws.fast_path", "%q: want on or off", s)
	}
	if c.IAM.Listen.FastPath != "" {
		v.bad("iam.listen.fast_path", "only listen.aws has a fast path")
	}
	for i, n := range c.GatewayKeys.Networks {
		if n.Addr().Is4() && n.Bits() < 8 || n.Addr().Is6() && n.Bits() < 32 {
			v.bad(fmt.Sprintf("gateway_keys.networks[%d]", i), "%s is so wide that it binds to nothing: want /8 or longer for IPv4, /32 for IPv6", n)
		}
	}
	for i, b := range c.Buckets {
		path := fmt.Sprintf("buckets[%d].deliver", i)
		if a, ok := c.Account(b.Account); ok && b.Deliver != "" {
			v.deliver(path, b.Deliver, a.Kind)
			if a.Kind != AccountAWS && b.Deliver == DeliverDirect {
				v.bad(path, "is for buckets of aws accounts: all others are reached by the gateway alone")
			}
		}
	}
	for i, a := range c.Accounts {
		if a.Deliver != DeliverGateway || a.Kind != AccountAWS {
			continue
		}
		path := fmt.Sprintf("accounts[%d].deliver", i)
		if !slices.ContainsFunc(c.Buckets, func(b Bucket) bool { return b.Account == a.ID }) {
			v.bad(path, "gateway: no bucket rule places a bucket of account %s here, so such keys would reach nothing", a.ID)
		}
		if !c.Serves(FaceS3) {
			v.bad(path, "gateway: s3 is not among the faces")
		}
	}
}

// deliver holds a way of delivery to accounts that have a choice.
func (v *validator) deliver(path string, d Deliver, kind AccountKind) {
	switch {
	case d != DeliverDirect && d != DeliverGateway:
		v.bad(path, "%q: want direct (the role's own keys) or gateway (keys that are good at the gateway alone)", d)
	case d == DeliverGateway && kind != AccountAWS:
		v.bad(path, "gateway is for accounts of kind aws: the keys of a local account are good at the gateway alone as they are")
	}
}
