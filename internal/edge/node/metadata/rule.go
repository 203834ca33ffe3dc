package metadata

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"text/template"

	"carnet.dev/carnet/internal/core/fault"
)

// Rule keeps accounts away from the metadata service: all but root and those that are
// allowed. Connections inside the machine pass, such as those to the agent's own
// endpoint. Port 53 stays open: some clouds answer DNS at the same address.
type Rule struct {
	// Allow are uids that may reach the service, beside root.
	Allow []uint32
	// Forwarded keeps away what the machine forwards, too: containers with a network
	// of their own.
	Forwarded bool
}

// uids gives root and the allowed ones, in order.
func (r Rule) uids() []uint32 {
	out := append([]uint32{0}, r.Allow...)
	slices.Sort(out)
	return slices.Compact(out)
}

var nftables = template.Must(template.New("").Parse(`# Only root{{if gt (len .UIDs) 1}} and the allowed accounts{{end}} may ask this machine's instance metadata service.
# Written by: carnet agent metadata-rule
table inet carnet_metadata
delete table inet carnet_metadata
table inet carnet_metadata {
	chain output {
		type filter hook output priority filter; policy accept;
		oifname "lo" accept
		meta skuid { {{range $i, $u := .UIDs}}{{if $i}}, {{end}}{{$u}}{{end}} } accept
		ip daddr 169.254.169.254 tcp dport != 53 counter reject with tcp reset
		ip6 daddr fd00:ec2::254 tcp dport != 53 counter reject with tcp reset
	}
{{- if .Forwarded}}
	chain forward {
		type filter hook forward priority filter; policy accept;
		ip daddr 169.254.169.254 tcp dport != 53 counter reject with tcp reset
		ip6 daddr fd00:ec2::254 tcp dport != 53 counter reject with tcp reset
	}
{{- end}}
}
`))

// NFTables gives the rule as nft -f reads it. It replaces an earlier one whole.
func (r Rule) NFTables() string {
	return r.write(nftables)
}

var iptables = template.Must(template.New("").Parse(`# Only root{{if gt (len .UIDs) 1}} and the allowed accounts{{end}} may ask this machine's instance metadata service.
# Written by: carnet agent metadata-rule --form iptables. For sh, as root.
set -e
{{range $f := .Families}}{{$f.Command}} -N CARNET-METADATA 2>/dev/null || {{$f.Command}} -F CARNET-METADATA
{{range $.UIDs}}{{$f.Command}} -A CARNET-METADATA -m owner --uid-owner {{.}} -j RETURN
{{end}}{{$f.Command}} -A CARNET-METADATA -p tcp -j REJECT --reject-with tcp-reset
{{$f.Command}} -C OUTPUT ! -o lo -d {{$f.Address}} -p tcp ! --dport 53 -j CARNET-METADATA 2>/dev/null ||
  {{$f.Command}} -I OUTPUT 1 ! -o lo -d {{$f.Address}} -p tcp ! --dport 53 -j CARNET-METADATA
{{if $.Forwarded}}{{$f.Command}} -C FORWARD -d {{$f.Address}} -p tcp ! --dport 53 -j REJECT --reject-with tcp-reset 2>/dev/null ||
  {{$f.Command}} -I FORWARD 1 -d {{$f.Address}} -p tcp ! --dport 53 -j REJECT --reject-with tcp-reset
{{end}}{{end}}`))

// IPTables gives the rule as a shell script for machines without nft.
func (r Rule) IPTables() string {
	return r.write(iptables)
}

type family struct{ Command, Address string }

func (r Rule) write(t *template.Template) string {
	var b strings.Builder
	err := t.Execute(&b, struct {
		UIDs      []uint32
		Forwarded bool
		Families  []family
	}{r.uids(), r.Forwarded, []family{{"iptables", "169.254.169.254/32"}, {"ip6tables", "fd00:ec2::254/128"}}})
	if err != nil {
		return "# " + err.Error() // both templates are constant and held by tests
	}
	return b.String()
}

// Install has nft take the rule. It needs root, and lasts until the next start of the
// machine: the agent's unit installs it at each start.
func (r Rule) Install(ctx context.Context) error {
	path, err := exec.LookPath("nft")
	if err != nil {
		return fault.Wrap(err, fault.Unsupported, "nft is not on this machine").
			WithMend("install nftables, or take the other form: carnet agent metadata-rule --form iptables")
	}
	c := exec.CommandContext(ctx, path, "-f", "-")
	c.Stdin = strings.NewReader(r.NFTables())
	if out, err := c.CombinedOutput(); err != nil {
		return fault.Wrap(errors.Join(err, fmt.Errorf("%s", strings.TrimSpace(string(out)))), fault.Misconfigured, "nft does not take the rule").
			WithMend("run it as root; nft has to know inet tables (Linux 3.14)")
	}
	return nil
}
