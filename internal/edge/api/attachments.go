package api

import (
	"context"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/attachment"
	"carnet.dev/carnet/internal/service/login"
)

// Attachments bind people to processes on nodes: what their own person says of them.
type Attachments interface {
	// Review shows what waits under a code.
	Review(ctx context.Context, l login.LoginSession, from netip.Addr, code string) (attachment.Review, error)
	// Decide approves or refuses what waits under a code, in the person's name.
	Decide(ctx context.Context, l login.LoginSession, from netip.Addr, code string, yes bool) (attachment.Review, error)
	Own(ctx context.Context, l login.LoginSession) ([]attachment.Listed, error)
	EndOwn(ctx context.Context, l login.LoginSession, id identity.AttachmentID) error
}

// ClusterAttachments are those of a whole cluster: for administrators, for those who
// manage it, and for orchestrators.
type ClusterAttachments interface {
	// List gives those of a cluster, by id or name.
	List(ctx context.Context, l login.LoginSession, cluster string) ([]attachment.Listed, error)
	EndOne(ctx context.Context, l login.LoginSession, cluster string, id identity.AttachmentID) error
	// OnBehalf attaches a person, at an orchestrator's word.
	OnBehalf(ctx context.Context, by identity.ServicePrincipalID, cluster string, n attachment.NewOnBehalf) (attachment.Attachment, error)
}

// AttachmentList lists attachments, by time of making: live ones, and those that
// ended lately.
type AttachmentList struct {
	Attachments []Attachment `json:"attachments"`
}

// Attachment is a person bound to processes of a node.
type Attachment struct {
	ID           string     `json:"id"`
	State        string     `json:"state"` // live or ended
	Cluster      string     `json:"cluster"`
	ClusterName  string     `json:"cluster_name"`
	Node         string     `json:"node"`
	NodeName     string     `json:"node_name"`
	UID          int        `json:"uid"`
	Account      string     `json:"account"` // login name on the node, as its agent says
	Scope        string     `json:"scope"`
	Person       string     `json:"person"`
	UserName     string     `json:"user_name"`
	How          string     `json:"how"`      // approved, on-behalf or login-name
	RestsOn      string     `json:"rests_on"` // login-session or delegation
	RestsOnID    string     `json:"rests_on_id"`
	Orchestrator string     `json:"orchestrator"` // spn_…; empty: none
	Role         string     `json:"role"`         // current; empty: none chosen
	Made         time.Time  `json:"made"`
	Expires      time.Time  `json:"expires"`
	Ended        *time.Time `json:"ended"`
	Why          string     `json:"why"` // it ended
}

// AttachmentApproval approves what a node asks: the code that it shows.
type AttachmentApproval struct {
	UserCode string `json:"user_code"`
	// UIDs are those that the login which shows the code may have on its node; empty:
	// whoever asks has seen whose the code is.
	UIDs []int `json:"uids"`
}

// ApprovedAttachment says what was approved.
type ApprovedAttachment struct {
	ClusterName string `json:"cluster_name"`
	NodeName    string `json:"node_name"`
	UID         int    `json:"uid"`
	Account     string `json:"account"`
}

// NewAttachment is what an orchestrator asks for a person.
type NewAttachment struct {
	Node            string `json:"node"`
	Person          string `json:"person"` // psn_…, or a user name
	UID             int    `json:"uid"`
	Scope           string `json:"scope"`
	ScopeID         string `json:"scope_id"` // in decimal: 64 bits
	Account         string `json:"account"`
	Role            string `json:"role"`
	LifetimeSeconds int    `json:"lifetime_seconds"`
}

func (a api) attachmentRoutes(row rowMaker) []httpd.Route {
	return []httpd.Route{
		row(http.MethodGet, "attachments", httpd.Person, 0, a.attachments),
		row(http.MethodDelete, "attachments/{id}", httpd.Person, maxSmall, a.endAttachment),
		row(http.MethodPost, "attachments/approve", httpd.Person, maxSmall, a.approveAttachment),
		row(http.MethodGet, "clusters/{id}/attachments", httpd.Person, 0, a.clusterAttachments),
		row(http.MethodPost, "clusters/{id}/attachments", httpd.Machine, maxSmall, a.attachOnBehalf),
		row(http.MethodDelete, "clusters/{id}/attachments/{attachment}", httpd.Person, maxSmall, a.endClusterAttachment),
	}
}

func (a api) attachments(w http.ResponseWriter, r *http.Request) error {
	all, err := a.Attachments.Own(r.Context(), httpd.CallerOf(r).Session)
	return answerAttachments(w, all, err)
}

func answerAttachments(w http.ResponseWriter, all []attachment.Listed, err error) error {
	if err != nil {
		return err
	}
	out := AttachmentList{Attachments: []Attachment{}}
	for _, x := range all {
		out.Attachments = append(out.Attachments, AttachmentOf(x))
	}
	return answer(w, http.StatusOK, out)
}

func (a api) endAttachment(w http.ResponseWriter, r *http.Request) error {
	return done(w, a.Attachments.EndOwn(r.Context(), httpd.CallerOf(r).Session, identity.AttachmentID(r.PathValue("id"))))
}

// approveAttachment is the person's yes. No program says it for them: it would hand
// a machine their roles.
func (a api) approveAttachment(w http.ResponseWriter, r *http.Request) error {
	if !httpd.CallerOf(r).AccessToken.IsZero() {
		return httpd.ByThemselves("Attaching")
	}
	var in AttachmentApproval
	if err := read(r, &in); err != nil {
		return err
	}
	if err := a.ofThisLogin(r, in); err != nil {
		return err
	}
	got, err := a.Attachments.Decide(r.Context(), httpd.CallerOf(r).Session, httpd.Source(r), in.UserCode, true)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, ApprovedAttachment{ClusterName: got.Cluster.Name, NodeName: got.Node.Name, UID: int(got.UID), Account: got.Account})
}

// ofThisLogin holds a code to the account of who approves it by a program, without
// looking: an agent that is not what it seems could show the code of somebody else's
// login, on another node.
func (a api) ofThisLogin(r *http.Request, in AttachmentApproval) error {
	if len(in.UIDs) == 0 {
		return nil
	}
	waits, err := a.Attachments.Review(r.Context(), httpd.CallerOf(r).Session, httpd.Source(r), in.UserCode)
	if err != nil || slices.Contains(in.UIDs, int(waits.UID)) {
		return err
	}
	return fault.Coded(fault.Denied, "attachment.other-login", "this code is that of another login: account "+strconv.Quote(waits.Account)+" (uid "+strconv.FormatUint(uint64(waits.UID), 10)+") on "+waits.Node.Name+
		" of cluster "+waits.Cluster.Name+"; nothing was approved").WithMend("if you did not expect that, tell the administrators: the agent of your machine shows a code that is not yours; in a container, approve it on the page")
}

func (a api) clusterAttachments(w http.ResponseWriter, r *http.Request) error {
	if !httpd.CallerOf(r).AccessToken.IsZero() {
		return httpd.ByThemselves("Managing a cluster")
	}
	all, err := a.ClusterAttachments.List(r.Context(), httpd.CallerOf(r).Session, r.PathValue("id"))
	return answerAttachments(w, all, err)
}

func (a api) endClusterAttachment(w http.ResponseWriter, r *http.Request) error {
	if !httpd.CallerOf(r).AccessToken.IsZero() {
		return httpd.ByThemselves("Managing a cluster")
	}
	return done(w, a.ClusterAttachments.EndOne(r.Context(), httpd.CallerOf(r).Session, r.PathValue("id"), identity.AttachmentID(r.PathValue("attachment"))))
}

func (a api) attachOnBehalf(w http.ResponseWriter, r *http.Request) error {
	var in NewAttachment
	if err := read(r, &in); err != nil {
		return err
	}
	if in.LifetimeSeconds < 0 || in.LifetimeSeconds > int((30*24*time.Hour)/time.Second) {
		return fault.Coded(fault.Invalid, "attachment.lifetime", "lifetime_seconds must be 60 to 2592000").WithMend("leave it out for the longest that the cluster has")
	}
	scope, err := strconv.ParseUint(in.ScopeID, 10, 64)
	if err != nil || in.UID < 0 || int64(in.UID) > math.MaxUint32 {
		return fault.Coded(fault.Invalid, "attachment.place", "uid, or scope_id, is not a number of the kernel's: want uid as a number of 32 bits, scope_id as text in decimal")
	}
	made, err := a.ClusterAttachments.OnBehalf(r.Context(), httpd.CallerOf(r).Machine, r.PathValue("id"), attachment.NewOnBehalf{
		Node: in.Node, Person: in.Person, UID: uint32(in.UID), Scope: in.Scope, ScopeID: scope, Account: in.Account, Role: in.Role,
		Lifetime: time.Duration(in.LifetimeSeconds) * time.Second})
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, AttachmentOf(attachment.Listed{Attachment: made, Live: true}))
}

// AttachmentOf writes an attachment as the API shows it.
func AttachmentOf(x attachment.Listed) Attachment {
	d := Attachment{ID: string(x.ID), State: "ended", Cluster: string(x.Cluster), ClusterName: x.ClusterName, Node: string(x.Place.Node), NodeName: x.NodeName,
		UID: int(x.Place.UID), Account: x.Place.Account, Scope: x.Place.Scope, Person: string(x.Person), UserName: x.Name, How: string(x.How),
		RestsOn: "login-session", RestsOnID: string(x.LoginSession), Orchestrator: string(x.By), Made: seconds(x.Made), Expires: seconds(x.Expires), Why: x.Why}
	if x.Live {
		d.State = "live"
	}
	if x.Delegation != "" {
		d.RestsOn, d.RestsOnID = "delegation", string(x.Delegation)
	}
	if !x.Role.IsZero() {
		d.Role = x.Role.String()
	}
	if !x.Ended.IsZero() {
		at := seconds(x.Ended)
		d.Ended = &at
	}
	return d
}
