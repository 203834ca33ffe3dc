package web

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/federation"
)

// ssoForm is an identity provider as its form has it: lists one to a line. It
// is shown again as it was filled in when it is refused.
type ssoForm struct {
	federation.Settings
	openIDForm
	Name, RolePatterns, UserNameDomains, AdministratorGroups, GroupsAttribute string
	Accounts                                                                  []string
	AllowAutoCreate, Enabled                                                  bool
	AuthnContexts, MetadataPin, RoleTemplates                                 string
	Revision                                                                  int64

	// Metadata as it was pasted or uploaded, and the fields by hand.
	Metadata                                         string
	EntityID, SignOnURL, LogoutURL, SignCertificates string
	// Confirmed are the warnings that the administrator has seen.
	Confirmed []string
}

// Has reports whether the account is ticked.
func (f ssoForm) Has(account string) bool { return slices.Contains(f.Accounts, account) }

// formOf fills the form with what is stored.
func formOf(p federation.IdP) ssoForm {
	f := ssoForm{Settings: p.Settings, Name: p.Name, RolePatterns: text(p.RolePatterns), UserNameDomains: text(p.UserNameDomains),
		AdministratorGroups: text(p.AdministratorGroups), GroupsAttribute: p.GroupsAttribute, Accounts: p.Accounts,
		AllowAutoCreate: p.AllowAutoCreate, Enabled: p.Enabled, AuthnContexts: text(p.AuthnContexts), MetadataPin: text(p.MetadataPin), Revision: p.Revision, openIDForm: openIDFormOf(p)}
	var rows []string
	for _, t := range p.RoleTemplates {
		rows = append(rows, strings.TrimSpace(t.Group+templateArrow+t.Account+" "+t.Role+" "+t.Provider))
	}
	f.RoleTemplates = text(rows)
	return f
}

// templateArrow stands between the group's pattern and the role.
const templateArrow = " => "

// fill puts the form into an identity provider.
func (f ssoForm) fill(p federation.IdP) (federation.IdP, error) {
	p.Name, p.Accounts, p.GroupsAttribute, p.AllowAutoCreate = f.Name, f.Accounts, f.GroupsAttribute, f.AllowAutoCreate
	p.RolePatterns, p.UserNameDomains, p.AdministratorGroups = lines(f.RolePatterns), lines(f.UserNameDomains), lines(f.AdministratorGroups)
	p.Settings = f.Settings
	p.AuthnContexts, p.MetadataPin = lines(f.AuthnContexts), lines(f.MetadataPin)
	var err error
	if f.IsOIDC() {
		if p, err = f.fillOpenID(p); err != nil {
			return p, err
		}
	}
	p.RoleTemplates, err = templates(f.RoleTemplates, f.IsOIDC())
	return p, err
}

// templates reads the rows "GROUP => ACCOUNT ROLE PROVIDER"; those of an OpenID
// provider have no provider.
func templates(rows string, oidc bool) ([]federation.RoleTemplate, error) {
	parts, form := 3, "write each as GROUP => ACCOUNT ROLE PROVIDER, such as aws-{account}-{role} => {account} {role} corp"
	if oidc {
		parts, form = 2, "write each as GROUP => ACCOUNT ROLE, such as aws-{account}-{role} => {account} {role}"
	}
	var all []federation.RoleTemplate
	for _, row := range lines(rows) {
		at := strings.LastIndex(row, strings.TrimSpace(templateArrow))
		var to []string
		if at > 0 {
			to = strings.Fields(row[at+len(strings.TrimSpace(templateArrow)):])
		}
		if len(to) != parts {
			return nil, fault.Coded(fault.Invalid, "federation.template", "The role template “"+row+"” can’t be read").WithMend(form)
		}
		to = append(to, "")
		all = append(all, federation.RoleTemplate{Group: strings.TrimSpace(row[:at]), Account: to[0], Role: to[1], Provider: to[2]})
	}
	return all, nil
}

// readSSOForm reads the form of an identity provider.
func readSSOForm(r *http.Request) (ssoForm, error) {
	if err := r.ParseMultipartForm(maxMetadata); err != nil && !errors.Is(err, http.ErrNotMultipart) {
		return ssoForm{}, formFault(err)
	}
	form := r.PostForm
	get := func(name string) string { return strings.TrimSpace(form.Get(name)) }
	on := func(name string) bool { return form.Get(name) != "" }
	f := ssoForm{
		Settings: federation.Settings{
			RequestBinding: get("request_binding"), SignRequests: on("sign_requests"), ForceAuthn: on("force_authn"),
			AllowUnsolicited: on("allow_unsolicited"), Signed: get("signed"), Encryption: get("encryption"),
			AllowCBC: on("allow_cbc"), AllowSHA1: on("allow_sha1"), CertificateDates: get("certificate_dates"), MapSessionName: on("map_session_name"),
			UserNameAttribute: get("user_name_attribute"), DisplayNameAttribute: get("display_name_attribute"), MailAttribute: get("mail_attribute"),
			MetadataURL: get("metadata_url"),
		},
		Name: get("name"), RolePatterns: form.Get("role_patterns"), UserNameDomains: form.Get("user_name_domains"),
		AdministratorGroups: form.Get("administrator_groups"), GroupsAttribute: get("groups_attribute"), Accounts: form["accounts"],
		AllowAutoCreate: on("allow_auto_create"), Enabled: on("enabled"),
		AuthnContexts: form.Get("authn_contexts"), MetadataPin: form.Get("metadata_pin"), RoleTemplates: form.Get("role_templates"),
		Metadata: form.Get("metadata"), EntityID: get("entity_id"), SignOnURL: get("sign_on_url"), LogoutURL: get("logout_url"),
		SignCertificates: form.Get("sign_certificates"), Confirmed: form["confirmed"],
	}
	f.openIDForm = readOpenIDForm(form)
	f.Revision, _ = strconv.ParseInt(get("revision"), 10, 64) // 0 is no revision, and refused
	uploaded, err := readUpload(r)
	if uploaded != "" {
		f.Metadata = uploaded
	}
	return f, err
}

// readUpload gives the text of an uploaded metadata file; empty: none.
func readUpload(r *http.Request) (string, error) {
	file, _, err := r.FormFile("metadata_file")
	if errors.Is(err, http.ErrMissingFile) || errors.Is(err, http.ErrNotMultipart) {
		return "", nil
	}
	if err != nil {
		return "", formFault(err)
	}
	defer file.Close()
	b, err := io.ReadAll(file)
	if err != nil {
		return "", formFault(err)
	}
	return string(b), nil
}

// document gives the metadata that the form brings: pasted or uploaded, or made
// of the fields by hand; none where it brings neither.
func (f ssoForm) document() ([]byte, error) {
	byHand := f.SignOnURL != "" || f.LogoutURL != "" || strings.TrimSpace(f.SignCertificates) != ""
	pasted := strings.TrimSpace(f.Metadata)
	switch {
	case pasted != "" && byHand:
		return nil, fault.Coded(fault.Invalid, "federation.metadata", "There is a metadata document, and there are fields by hand").
			WithMend("give one of the two")
	case byHand:
		return federation.Fields{SignOnURL: f.SignOnURL, EntityID: f.EntityID, Certificates: f.SignCertificates, LogoutURL: f.LogoutURL}.Metadata()
	}
	return []byte(pasted), nil
}

// news are the warnings that the administrator has not seen yet.
func (f ssoForm) news(warnings, known []string) []string {
	return slices.DeleteFunc(slices.Clone(warnings), func(w string) bool {
		return slices.Contains(known, w) || slices.Contains(f.Confirmed, w)
	})
}

// lines splits what was entered, one to a line.
func lines(s string) []string {
	out := []string{}
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

func text(list []string) string { return strings.Join(list, "\n") }
