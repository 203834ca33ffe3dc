package federation

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
)

// Update checks and stores a changed identity provider, which Get or List gave
// before. Empty Metadata keeps the stored one; what is given anew is an
// administrator's word, and drops whatever is pending. Switching it off ends
// what its people hold by it. Errors: Invalid with what to mend; Conflict when
// somebody else changed it meanwhile, or name or entity id is taken; NotFound.
func (s *Service) Update(ctx context.Context, p IdP) (IdP, error) {
	sp, err := s.find(p.ID)
	if err != nil {
		return IdP{}, err
	}
	old := sp.IdP
	if len(p.Metadata) == 0 {
		p.Metadata = old.Metadata
	}
	if p.Revision != old.Revision {
		return IdP{}, changedMeanwhile(old)
	}
	if p, err = s.checkChange(ctx, old, p); err != nil {
		return IdP{}, err
	}
	p.Created, p.Kept = old.Created, old.Kept
	if !bytes.Equal(p.Metadata, old.Metadata) {
		p.Kept = Kept{Fetched: s.millis()}
	}
	return s.replace(ctx, old, p, "identity-provider.change")
}

// checkChange is check for a changed identity provider.
func (s *Service) checkChange(ctx context.Context, old, p IdP) (IdP, error) {
	if p.Protocol != old.Protocol || p.Protocol == OIDC && p.OIDC.Issuer != old.OIDC.Issuer {
		return IdP{}, fault.New(fault.Invalid, "protocol and issuer of an identity provider can't be changed: its people would be others").
			WithMend("enter another identity provider, and remove this one")
	}
	if p.Protocol == SAML {
		return s.check(p)
	}
	kept := old.OIDC.ClientSecret
	switch given := p.OIDC.ClientSecret; {
	case p.OIDC.ClientAuth == ClientAuthNone && given.Equal(kept):
		p.OIDC.ClientSecret = secret.Text{}
	case given.IsZero() && p.OIDC.ClientAuth != ClientAuthNone:
		p.OIDC.ClientSecret = kept
	}
	p, err := s.check(p)
	if err != nil || p.OIDC.ClientSecret.Equal(kept) && p.OIDC.ClientSecret.IsZero() == kept.IsZero() {
		p.OIDC.SealedSecret = old.OIDC.SealedSecret
		return p, err
	}
	return p, s.seal(&p)
}

// SetEnabled switches an identity provider on or off. Off, nobody signs in by
// it, and what its people hold by it ends. Errors as for Update.
func (s *Service) SetEnabled(ctx context.Context, id identity.IdPID, on bool) (IdP, error) {
	sp, err := s.find(id)
	if err != nil || sp.IdP.Enabled == on {
		if err != nil {
			return IdP{}, err
		}
		return sp.IdP, nil
	}
	p, action := sp.IdP, "identity-provider.disable"
	if p.Enabled = on; on {
		action = "identity-provider.enable"
	}
	return s.replace(ctx, sp.IdP, p, action)
}

// replace stores p, with its record, and ends what has to end.
func (s *Service) replace(ctx context.Context, old, p IdP, action string) (IdP, error) {
	e := event.Event{Action: action, Outcome: event.Done, IdP: p.ID, Target: p.EntityID, Detail: changes(old, p)}
	err := s.recorded(ctx, e, func(ctx context.Context) error {
		stood, err := s.store.Update(ctx, p, p.Revision+1)
		if err != nil {
			return err
		}
		if !stood {
			return changedMeanwhile(old)
		}
		if old.Enabled && !p.Enabled {
			return s.end(ctx, p.ID)
		}
		return nil
	})
	if err != nil {
		return IdP{}, err
	}
	p.Revision++
	s.reload(ctx)
	return p, nil
}

// end ends what rests on an identity provider, in the transaction of ctx.
func (s *Service) end(ctx context.Context, id identity.IdPID) error {
	if s.ends == nil {
		return nil
	}
	return s.ends.EndAll(ctx, id)
}

// changes lists what differs, with the new values, for the trail.
func changes(old, p IdP) map[string]string {
	out := map[string]string{}
	before, after := described(old), described(p)
	for k, v := range after {
		if before[k] != v {
			out[k] = clip(v)
		}
	}
	if !bytes.Equal(old.OIDC.SealedSecret, p.OIDC.SealedSecret) {
		out["client_secret"] = "(changed)"
	}
	for k := range before {
		if _, still := after[k]; !still {
			out[k] = "(default)"
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// described gives every field of an identity provider as text.
func described(p IdP) map[string]string {
	out := map[string]string{"name": p.Name, "entity_id": p.EntityID, "enabled": fmt.Sprint(p.Enabled),
		"accounts": join(p.Accounts), "role_patterns": join(p.RolePatterns), "user_name_domains": join(p.UserNameDomains),
		"administrator_groups": join(p.AdministratorGroups), "groups_attribute": p.GroupsAttribute,
		"allow_auto_create": fmt.Sprint(p.AllowAutoCreate), "signing_certificates": join(fingerprints(p))}
	for _, settings := range []any{p.Settings, p.OIDC} {
		var fields map[string]json.RawMessage
		text, err := json.Marshal(settings)
		if err == nil {
			err = json.Unmarshal(text, &fields)
		}
		if err != nil { // strings, booleans and lists of them: it can't be
			return out
		}
		for k, v := range fields {
			out[k] = string(v)
		}
	}
	return out
}

// Switches gives the switches of the installation. Errors: Unavailable.
func (s *Service) Switches() (Switches, error) {
	i, err := s.Installation()
	return i.Switches, err
}

// Installation gives what holds for the whole installation. Errors: Unavailable.
func (s *Service) Installation() (Installation, error) {
	r, err := s.roll()
	if err != nil {
		return Installation{}, err
	}
	return r.installation, nil
}

// SetSwitches stores the switches, with their record.
func (s *Service) SetSwitches(ctx context.Context, to Switches) error {
	if s.places == nil {
		return fault.New(fault.Unsupported, "this installation keeps no switches")
	}
	e := event.Event{Action: "switches.change", Outcome: event.Done, Target: "single-sign-on",
		Detail: map[string]string{"unified_login": fmt.Sprint(to.UnifiedLogin), "role_sync": fmt.Sprint(to.RoleSync)}}
	if err := s.recorded(ctx, e, func(ctx context.Context) error { return s.places.SetSwitches(ctx, to) }); err != nil {
		return err
	}
	s.reload(ctx)
	return nil
}

// readInstallation reads the installation's row, and makes it at first start.
func (s *Service) readInstallation(ctx context.Context) (Installation, error) {
	first := Installation{Organisation: newUUID(), Switches: Switches{UnifiedLogin: true}}
	if s.places == nil {
		return first, nil
	}
	return s.places.Installation(ctx, first)
}

// newUUID makes a random UUID (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func (s *Service) millis() time.Time { return s.now().UTC().Truncate(time.Millisecond) }
