package login

import (
	"context"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/revocation"
)

func (s *Service) roles(l *live, now time.Time) []RoleStatus {
	out := make([]RoleStatus, len(l.outcomes))
	for i, o := range l.outcomes {
		account, st := s.Accounts[o.Role.Account], s.Renewer.Status(l.ID, o)
		keys := st.Outcome.Session.Credentials
		back := s.takenBack(l, o.Role, keys.AccessKeyID, st.Renewable)
		r := RoleStatus{Role: o.Role, Account: o.Role.Account, AccountName: account.Name, Deliver: account.Deliver,
			Served: string(st.Served), Renewable: st.Renewable, NeededBy: st.NeededBy, Warning: RoleWarning(st.Warning)}
		switch f := st.Refused; {
		case back != nil:
			f := fault.Of(back)
			r.State, r.Error, r.Renewable = RoleFailed, &RoleError{Code: f.Code, Message: f.Public, Mend: f.Mend}, false
		case keys.Live(now):
			r.State = RoleReady
		case f != nil:
			r.State, r.Error = RoleFailed, &RoleError{Code: f.Code, Message: f.Message, Mend: f.Mend}
		case st.Renewable:
			r.State = RoleAvailable
		default:
			r.State = RoleExpired
		}
		if r.State == RoleReady || r.State == RoleExpired {
			r.Expiration = keys.Expiration
			r.SessionName, r.AssumedRoleARN = st.Outcome.Session.SessionName, st.Outcome.Session.AssumedRoleARN
		}
		out[i] = r
	}
	return out
}

// takenBack says that a role was taken back since the sign-in, or those very keys of
// it where no others come by themselves; nil: neither. Faults: Revoked, Unavailable.
func (s *Service) takenBack(l *live, role arn.Role, accessKeyID string, others bool) error {
	refused, err := s.Feed.Refused(revocation.Role, role.String(), l.Epoch)
	if err == nil && !refused && accessKeyID != "" && !others {
		refused, err = s.Feed.Refused(revocation.AccessKey, accessKeyID, l.Epoch)
	}
	if err != nil || !refused {
		return err
	}
	return fault.Coded(fault.Revoked, "role.revoked", "an administrator took back what was given of this role").WithMend("sign in again")
}

// Credentials gives the keys of one role of a login session: those that are kept,
// or where its account allows it new ones. role is an ARN, a role name that is held
// once, or account/name with the account's number or name; empty means the only
// role. Errors: NotFound or Invalid, listing what is held; the AWS code when the
// exchange or a renewal failed; Expired; Unauthenticated. session must come from
// Resume or ResumeCLI within this request.
func (s *Service) Credentials(ctx context.Context, session LoginSession, role string) (credential.RoleSession, error) {
	l := session.live
	if l == nil {
		return credential.RoleSession{}, notSignedIn()
	}
	if err := s.holds(l); err != nil {
		return credential.RoleSession{}, err
	}
	o, err := s.choose(l, role)
	if err != nil {
		return credential.RoleSession{}, err
	}
	if err := s.takenBack(l, o.Role, "", true); err != nil {
		return credential.RoleSession{}, err
	}
	if o, err = s.Renewer.Fresh(ctx, l.ID, o); err != nil {
		f := fault.Of(err)
		if f == nil || f.Kind == fault.Unauthenticated {
			return credential.RoleSession{}, err
		}
		return credential.RoleSession{}, fault.Coded(f.Kind, f.Code, "role "+o.Role.String()+" can't be had: "+f.Code+": "+f.Public).WithMend(f.Mend).WithCause(err)
	}
	if f := o.Failure; f != nil {
		return credential.RoleSession{}, fault.Coded(failureKind(*f), f.Code,
			"role "+o.Role.String()+" can't be had: "+f.Code+": "+f.Message).WithMend(f.Mend)
	}
	if !o.Session.Credentials.Live(s.Now()) {
		return credential.RoleSession{}, fault.Coded(fault.Expired, "role.expired", "the keys of role "+o.Role.String()+" have expired").
			WithMend("sign in again")
	}
	if err := s.takenBack(l, o.Role, o.Session.Credentials.AccessKeyID, false); err != nil {
		return credential.RoleSession{}, err
	}
	return o.Session, nil
}

func failureKind(f broker.Failure) fault.Kind {
	if f.Classic() == "" {
		return fault.Unavailable
	}
	return fault.Denied
}

// choose finds the one role that the text names.
func (s *Service) choose(l *live, role string) (broker.Outcome, error) {
	if len(l.outcomes) == 0 {
		return broker.Outcome{}, fault.Coded(fault.NotFound, "role.none", "you hold no role").
			WithMend("ask the administrator of your identity provider for one, then sign in again")
	}
	if role == "" {
		if len(l.outcomes) == 1 {
			return l.outcomes[0], nil
		}
		return broker.Outcome{}, fault.Coded(fault.Invalid, "role.choose", "you hold several roles: "+s.held(l)).
			WithMend("choose one of them")
	}
	var found []broker.Outcome
	for _, o := range l.outcomes {
		if s.names(role, o.Role) {
			found = append(found, o)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return broker.Outcome{}, fault.Coded(fault.NotFound, "role.unheld", "you don't hold role "+quoted(role)+"; you hold "+s.held(l)).
			WithMend("choose one of them, or ask for the role at your identity provider and sign in again")
	}
	return broker.Outcome{}, fault.Coded(fault.Invalid, "role.ambiguous", "role name "+quoted(role)+" is held in several accounts; you hold "+s.held(l)).
		WithMend("give the role's ARN")
}

// names reports whether the text names the role: by ARN, by name, or by
// account and name.
func (s *Service) names(text string, r arn.Role) bool {
	if text == r.String() || text == r.Name {
		return true
	}
	account, name, ok := strings.Cut(text, "/")
	return ok && name == r.Name && (account == r.Account || account == s.Accounts[r.Account].Name && account != "")
}

func (s *Service) held(l *live) string {
	const most = 20
	var list []string
	for i, o := range l.outcomes {
		if i == most {
			list = append(list, "…")
			break
		}
		list = append(list, o.Role.String())
	}
	return strings.Join(list, ", ")
}

func quoted(s string) string {
	if !presentable(s, 2048) {
		return "(unreadable)"
	}
	return `"` + clip(s) + `"`
}
