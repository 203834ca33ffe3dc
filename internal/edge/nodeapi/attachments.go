package nodeapi

import (
	"net/http"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
	"carnet.dev/carnet/internal/service/attachment"
	"carnet.dev/carnet/internal/service/cluster"
)

func (a nodeAPI) attach(w http.ResponseWriter, r *http.Request) error {
	var in nodedoc.AttachRequest
	if err := read(r, &in); err != nil {
		return err
	}
	n := httpd.CallerOf(r).Node
	place := attachment.Place{Node: n.ID, UID: in.UID, Scope: in.Scope, ScopeID: in.ScopeID, Account: in.Account}
	if in.ByLoginName {
		made, err := a.Attaching.ByLoginName(r.Context(), n, place, in.MetadataReachable)
		if err != nil {
			return err
		}
		d := attachmentDocument(made)
		return answer(w, nodedoc.AttachBegun{Expires: d.Expires, Attachment: &d})
	}
	b, err := a.Attaching.Begin(r.Context(), n, place, in.MetadataReachable)
	if err != nil {
		return err
	}
	return answer(w, nodedoc.AttachBegun{Request: b.Request.Reveal(), UserCode: b.UserCode, VerificationURI: b.VerificationURI,
		Expires: seconds(b.Expires), Interval: int(b.Interval.Seconds())})
}

func (a nodeAPI) poll(w http.ResponseWriter, r *http.Request) error {
	var in nodedoc.AttachPoll
	if err := read(r, &in); err != nil {
		return err
	}
	p, err := a.Attaching.Poll(r.Context(), httpd.CallerOf(r).Node, secret.New(in.Request))
	if err != nil {
		return err
	}
	out := nodedoc.AttachState{State: string(p.State)}
	if p.State == attachment.Attached {
		d := attachmentDocument(p.Attachment)
		out.Attachment = &d
	}
	return answer(w, out)
}

func (a nodeAPI) credentials(w http.ResponseWriter, r *http.Request) error {
	var in nodedoc.Fetch
	if err := read(r, &in); err != nil {
		return err
	}
	k, err := a.Serving.Credentials(r.Context(), httpd.CallerOf(r).Node, identity.AttachmentID(in.Attachment), in.Role, httpd.Source(r))
	if err != nil {
		return err
	}
	return answer(w, a.keysDocument(k))
}

func (a nodeAPI) keysDocument(k attachment.Keys) nodedoc.Keys {
	at := a.place(k.Role, k.Gateway)
	return nodedoc.Keys{AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey.Reveal(), SessionToken: k.SessionToken.Reveal(),
		Expiration: seconds(k.Expiration), Role: k.Role.String(), AccountID: k.Role.Account, Region: at.Region, S3: at.S3, STS: at.STS}
}

// place says where keys are used. A gateway key is good at the gateway alone.
func (a nodeAPI) place(role arn.Role, gateway bool) Place {
	at, ok := a.Elsewhere[role.Account]
	switch {
	case gateway:
		return Place{Region: a.Home.Region, S3: a.Home.S3}
	case !ok:
		return a.Home
	}
	return at
}

func (a nodeAPI) idToken(w http.ResponseWriter, r *http.Request) error {
	var in nodedoc.Fetch
	if err := read(r, &in); err != nil {
		return err
	}
	t, err := a.Serving.IDToken(r.Context(), httpd.CallerOf(r).Node, identity.AttachmentID(in.Attachment), in.Role)
	if err != nil {
		return err
	}
	at := a.place(t.Role, false)
	return answer(w, nodedoc.IDToken{Token: t.Token.Reveal(), Expires: seconds(t.Expires), Role: t.Role.String(), Region: at.Region, STS: at.STS})
}

func (a nodeAPI) roles(w http.ResponseWriter, r *http.Request) error {
	var in nodedoc.Fetch
	if err := read(r, &in); err != nil {
		return err
	}
	all, err := a.Serving.Roles(r.Context(), httpd.CallerOf(r).Node, identity.AttachmentID(in.Attachment))
	return answerRoles(w, all, err)
}

func (a nodeAPI) setRole(w http.ResponseWriter, r *http.Request) error {
	var in nodedoc.SetRole
	if err := read(r, &in); err != nil {
		return err
	}
	all, err := a.Serving.SetRole(r.Context(), httpd.CallerOf(r).Node, identity.AttachmentID(in.Attachment), in.Role)
	return answerRoles(w, all, err)
}

func answerRoles(w http.ResponseWriter, all []attachment.RoleStatus, err error) error {
	if err != nil {
		return err
	}
	out := nodedoc.Roles{Roles: []nodedoc.Role{}}
	for _, x := range all {
		out.Roles = append(out.Roles, nodedoc.Role{ARN: x.Role.String(), Current: x.Current, Trouble: x.Trouble})
	}
	return answer(w, out)
}

func (a nodeAPI) end(w http.ResponseWriter, r *http.Request) error {
	var in nodedoc.End
	if err := read(r, &in); err != nil {
		return err
	}
	return done(w, a.Attaching.End(r.Context(), httpd.CallerOf(r).Node, identity.AttachmentID(in.Attachment), in.Why))
}

func (a nodeAPI) trino(w http.ResponseWriter, r *http.Request) error {
	rules, err := a.Trino.TrinoRules(r.Context(), httpd.CallerOf(r).Node)
	if err != nil {
		return err
	}
	out := nodedoc.Trino{Mappings: []nodedoc.TrinoRule{}, Notes: rules.Notes}
	for _, x := range rules.Document(a.Home.S3, a.Home.Region).Mappings {
		out.Mappings = append(out.Mappings, nodedoc.TrinoRule(x))
	}
	return answer(w, out)
}

func clusterDocument(c cluster.Cluster) nodedoc.Cluster {
	return nodedoc.Cluster{ID: string(c.ID), Name: c.Name, Kind: string(c.Kind), InstanceMetadata: c.InstanceMetadata, SigningProxy: c.SigningProxy,
		LoginNames: c.LoginNames != "", Meta: c.Meta}
}

func attachmentDocument(x attachment.Attachment) nodedoc.Attachment {
	d := nodedoc.Attachment{ID: string(x.ID), UID: x.Place.UID, Scope: x.Place.Scope, ScopeID: x.Place.ScopeID, Account: x.Place.Account, Name: x.Name,
		Expires: seconds(x.Expires)}
	if !x.Role.IsZero() {
		d.Role = x.Role.String()
	}
	return d
}
