package server

import (
	"net/http"
	"net/url"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
)

// behindProxies gives a face that clients reach by address its requests as
// they were sent to our proxies.
func behindProxies(c *config.Config, address string, next http.Handler, refuse func(http.ResponseWriter, *http.Request, *fault.Fault)) http.Handler {
	if next == nil || len(c.Listen.Proxies) == 0 {
		return next
	}
	p := httpd.Proxies{Refuse: refuse}
	if u, err := url.Parse(address); err == nil {
		p.Own = u.Host
	}
	for _, n := range c.Listen.Proxies {
		p.From = append(p.From, n.Prefix)
	}
	return p.Before(next)
}

// refuseForwarded answers on the AWS port.
func refuseForwarded(w http.ResponseWriter, _ *http.Request, f *fault.Fault) {
	refuseXML(w, http.StatusBadRequest, f.Public)
}
