package agent

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"carnet.dev/carnet/internal/edge/telemetry"
)

// listenMetrics serves metrics where the configuration names an address of loopback.
// They name nobody, so any port will do, and every account may read them.
func (a *agent) listenMetrics() error {
	at := a.c.Listen.Metrics
	if at == "" || at == off {
		return nil
	}
	if p, err := netip.ParseAddrPort(at); err != nil || !p.Addr().IsLoopback() {
		return misconfigured("listen.metrics", fmt.Sprintf("%q: want an address of loopback with its port, such as 127.0.0.1:9464", at))
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		return misconfigured("listen.metrics", err.Error())
	}
	m := telemetry.New(a.version)
	gauge := func(name, help string, read func() float64) {
		m.Ask(name, help, nil, func(add func(float64, ...string)) { add(read()) })
	}
	gauge("carnet_agent_attachments", "Attachments that live on this node.", func() float64 { return float64(a.bindings.Counts().Attachments) })
	gauge("carnet_agent_view_age_seconds", "How long ago the server confirmed them; -1: not yet.", func() float64 { return max(-1, a.bindings.Counts().Age.Seconds()) })
	m.Count("carnet_agent_fetches_total", "Keys and tokens asked of the server.", func() float64 { return float64(a.bindings.Counts().Fetched) })
	m.Count("carnet_agent_fetch_failures_total", "Those that did not come.", func() float64 { return float64(a.bindings.Counts().Failed) })
	if a.endpoint != nil {
		m.Count("carnet_agent_container_answers_total", "Answers of the container endpoint.", func() float64 { n, _ := a.endpoint.Counts(); return float64(n) })
		m.Count("carnet_agent_container_refusals_total", "Its refusals.", func() float64 { _, n := a.endpoint.Counts(); return float64(n) })
	}
	a.serve("metrics", l, &http.Server{Handler: m.Handler(l.Addr().String()), ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10})
	return nil
}
