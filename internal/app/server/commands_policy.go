package server

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/workload"
)

func (h *host) federationPolicies() *cobra.Command {
	parent := &cobra.Command{Use: "federation-policy", Short: "Whose tokens prove a workload, or a person", Args: cobra.NoArgs,
		Long: "A federation policy lets tokens of another issuer prove somebody here, so that no secret is needed: GitHub Actions,\n" +
			"GitLab, Kubernetes service accounts, another Carnet. Each service principal has its own; a policy for people names the\n" +
			"identity provider by whose subject they are known. Keys are fetched from where you say and from nowhere else."}
	parent.AddCommand(h.addPolicy(), h.listPolicies(), h.showPolicy(), h.removePolicy(), h.checkPolicy())
	return parent
}

func (h *host) addPolicy() *cobra.Command {
	var p workload.FederationPolicy
	var principal, people, jwks string
	c := &cobra.Command{
		Use: "add", Short: "Take the tokens of an issuer", Args: cobra.NoArgs,
		Long: "Tokens are RS256 or ES256. The issuer's keys are found by discovery, unless you give them or their address. A token\n" +
			"counts as often as it is presented, until it ends; what is made from it never outlives it.",
		Example: "  carnet federation-policy add --name github --service-principal nightly-export \\\n" +
			"    --issuer https://token.actions.githubusercontent.com --subject 'repo:acme/data:environment:prod'\n" +
			"  carnet federation-policy add --name cluster --service-principal nightly-export \\\n" +
			"    --issuer https://kubernetes.default.svc --jwks-file jwks.json --subject system:serviceaccount:data:nightly",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				if err := s.whom(ctx, &p, principal, people); err != nil {
					return err
				}
				if jwks != "" {
					keys, err := readSmallFile(jwks, cmd.InOrStdin())
					if err != nil {
						return err
					}
					p.JWKS = keys
				}
				added, err := s.workload.Add(ctx, p)
				if err != nil {
					return err
				}
				return say(cmd, s.policyDocument(added), "Entered "+added.Name+" ("+string(added.ID)+"). It holds from now on.\n"+s.policyText(added)+
					"\nTry a token with: carnet federation-policy check --token-file FILE")
			})
		},
	}
	f := c.Flags()
	f.StringVar(&p.Name, "name", "", "a name for the policy")
	f.StringVar(&p.Issuer, "issuer", "", "the issuer (iss), letter for letter; not its discovery address")
	f.StringVar(&principal, "service-principal", "", "whom the tokens prove: name or id of a service principal")
	f.StringVar(&people, "people-of", "", "or: the identity provider by whose subject people are known")
	f.StringVar(&p.Subject, "subject", "", "what the claim must say, letter for letter; for a service principal alone")
	f.StringVar(&p.SubjectClaim, "subject-claim", "", "the claim that says who it is (default sub)")
	f.StringArrayVar(&p.Audiences, "audience", nil, "an audience that the tokens may have; may be given again (default: this installation's issuers and organisation id)")
	f.StringVar(&jwks, "jwks-file", "", "file with the issuer's keys (JWK set), for an issuer that can't be reached")
	f.StringVar(&p.JWKSURL, "jwks-url", "", "https address of the issuer's keys, where there is no discovery")
	_ = c.MarkFlagRequired("name")
	_ = c.MarkFlagRequired("issuer")
	return c
}

// whom finds whom a policy is for.
func (s *state) whom(ctx context.Context, p *workload.FederationPolicy, principal, people string) error {
	if principal != "" {
		m, err := s.findMachine(ctx, principal)
		if err != nil {
			return err
		}
		p.ServicePrincipal = m.ID
	}
	if people != "" {
		idp, err := s.findIdP(people)
		if err != nil {
			return err
		}
		p.IdP = idp.ID
	}
	return nil
}

// mostSmall bounds a file that a person names: a key set or a token.
const mostSmall = 1 << 20

// readSmallFile reads a file, or standard input for "-".
func readSmallFile(path string, in io.Reader) ([]byte, error) {
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fault.Wrap(err, fault.Invalid, "cannot read "+path)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, mostSmall+1))
	if err == nil && len(b) > mostSmall {
		err = fault.New(fault.TooLarge, path+" has more than 1 MiB")
	}
	return b, err
}

func (h *host) listPolicies() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the federation policies, by name", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(_ context.Context, s *state) error {
				docs := []policyDocument{}
				var text strings.Builder
				for _, p := range s.workload.All() {
					docs = append(docs, s.policyDocument(p))
					fmt.Fprintf(&text, "%s  %-20s  %s  %s\n", p.ID, p.Name, p.Issuer, s.forWhom(p))
				}
				if len(docs) == 0 {
					text.WriteString("There is none yet. Enter one with: carnet federation-policy add")
				}
				return say(cmd, map[string]any{"federation_policies": docs}, text.String())
			})
		},
	}
}

func (h *host) showPolicy() *cobra.Command {
	return h.onePolicy("show", "Show a federation policy", func(_ context.Context, s *state, p workload.FederationPolicy) (string, error) {
		return s.policyText(p), nil
	})
}

func (h *host) removePolicy() *cobra.Command {
	return h.onePolicy("remove", "Take the tokens of an issuer no more", func(ctx context.Context, s *state, p workload.FederationPolicy) (string, error) {
		return "Removed " + p.Name + ". What was issued by it lives for an hour at most; carnet revoke service-principal ends that too.", s.workload.Remove(ctx, p.ID)
	})
}

// onePolicy makes a command on one federation policy.
func (h *host) onePolicy(word, short string, do func(context.Context, *state, workload.FederationPolicy) (string, error)) *cobra.Command {
	return &cobra.Command{
		Use: word + " NAME-or-ID", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				p, err := s.workload.Find(args[0])
				if err != nil {
					return err
				}
				text, err := do(ctx, s, p)
				if err != nil {
					return err
				}
				return say(cmd, s.policyDocument(p), text)
			})
		},
	}
}

func (h *host) checkPolicy() *cobra.Command {
	var file, principal string
	c := &cobra.Command{
		Use: "check", Short: "Say which policy takes a token, and of each other why it does not", Args: cobra.NoArgs,
		Long: "Reads a token and asks every policy of its issuer, as the token endpoint does, and fetches the issuer's keys. Nothing\n" +
			"is issued. Callers are told little; here stands the whole reason.",
		Example: "  carnet federation-policy check --token-file token.jwt\n  kubectl create token nightly --audience … | carnet federation-policy check --token-file -",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return h.withState(cmd, func(ctx context.Context, s *state) error {
				b, err := readSmallFile(file, cmd.InOrStdin())
				if err != nil {
					return err
				}
				f := workload.Foreign{Token: secret.New(strings.TrimSpace(string(b)))}
				if principal != "" {
					m, err := s.findMachine(ctx, principal)
					if err != nil {
						return err
					}
					f.ServicePrincipal = m.ID
				}
				all, err := s.workload.Check(ctx, f)
				if err != nil {
					return err
				}
				return s.sayVerdicts(cmd, all)
			})
		},
	}
	c.Flags().StringVar(&file, "token-file", "", "file with the token; - is standard input")
	c.Flags().StringVar(&principal, "service-principal", "", "ask the policies of this service principal alone")
	_ = c.MarkFlagRequired("token-file")
	return c
}

// verdictDocument is what one policy says of a token.
type verdictDocument struct {
	Policy  identity.FederationPolicyID `json:"policy"`
	Name    string                      `json:"name"`
	Takes   bool                        `json:"takes"`
	Subject string                      `json:"subject,omitempty"` // whom the token proves
	Why     string                      `json:"why,omitempty"`
}

func (s *state) sayVerdicts(cmd *cobra.Command, all []workload.Verdict) error {
	var docs []verdictDocument
	var text strings.Builder
	var whom []string
	for _, v := range all {
		d := verdictDocument{Policy: v.Policy.ID, Name: v.Policy.Name, Takes: v.Refusal == nil, Subject: v.Principal().Subject()}
		if v.Refusal != nil {
			d.Why = v.Refusal.Error()
			fmt.Fprintf(&text, "%s (%s) does not take it: %s\n", d.Name, d.Policy, d.Why)
		} else {
			whom = append(whom, d.Subject)
			fmt.Fprintf(&text, "%s (%s) takes it: it proves %s\n", d.Name, d.Policy, d.Subject)
		}
		docs = append(docs, d)
	}
	slices.Sort(whom)
	if whom = slices.Compact(whom); len(whom) > 1 {
		text.WriteString("It proves several: the caller has to name the service principal as client_id.\n")
	}
	if err := say(cmd, map[string]any{"policies": docs, "proves": append([]string{}, whom...)}, text.String()); err != nil {
		return err
	}
	if len(whom) == 0 {
		return fault.New(fault.Denied, "no federation policy takes this token")
	}
	return nil
}

// policyDocument is a federation policy as it is shown.
type policyDocument struct {
	ID               identity.FederationPolicyID `json:"id"`
	Name             string                      `json:"name"`
	Issuer           string                      `json:"issuer"`
	Audiences        []string                    `json:"audiences"` // all that it takes
	ServicePrincipal identity.ServicePrincipalID `json:"service_principal,omitempty"`
	IdP              identity.IdPID              `json:"identity_provider,omitempty"`
	Subject          string                      `json:"subject,omitempty"`
	SubjectClaim     string                      `json:"subject_claim"`
	Keys             string                      `json:"keys"` // "discovery", an address, or "given"
	Created          time.Time                   `json:"created"`
}

func (s *state) policyDocument(p workload.FederationPolicy) policyDocument {
	d := policyDocument{ID: p.ID, Name: p.Name, Issuer: p.Issuer, Audiences: s.workload.Audiences(p), ServicePrincipal: p.ServicePrincipal, IdP: p.IdP,
		Subject: p.Subject, SubjectClaim: p.SubjectClaim, Keys: "discovery", Created: p.Created}
	switch {
	case p.JWKS != nil:
		d.Keys = "given"
	case p.JWKSURL != "":
		d.Keys = p.JWKSURL
	}
	return d
}

func (s *state) forWhom(p workload.FederationPolicy) string {
	if p.IdP != "" {
		return "people of " + s.idpName(p.IdP)
	}
	return string(p.ServicePrincipal)
}

func (s *state) policyText(p workload.FederationPolicy) string {
	d := s.policyDocument(p)
	var b strings.Builder
	line := func(name, value string) { fmt.Fprintf(&b, "  %-16s %s\n", name, value) }
	line("issuer", d.Issuer)
	line("keys", d.Keys)
	line("audiences", strings.Join(d.Audiences, ", "))
	if d.Subject != "" {
		line("claim "+d.SubjectClaim, d.Subject)
	} else {
		line("claim "+d.SubjectClaim, "the subject by which "+s.idpName(p.IdP)+" knows the person")
	}
	line("proves", s.forWhom(p))
	if p.ServicePrincipal != "" {
		line("token endpoint", s.issuer.EndpointURL(issuer.Workspace)+"/v1/token with client_id="+string(p.ServicePrincipal))
	}
	return strings.TrimRight(b.String(), "\n")
}
