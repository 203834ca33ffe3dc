package web

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/federation"
)

// ssoPage lists the identity providers and takes a new one.
type ssoPage struct {
	SAMLURL, MetadataURL string
	Providers            []federation.IdP
	Accounts             []Account
	Form                 ssoForm
	Added                string       // name of the one just entered
	Refused              *fault.Fault // why the form was not taken
}

// ssoForm is the form as it was filled in, to be shown again when refused.
type ssoForm struct {
	Name, Metadata, RolePatterns, UserNameDomains, AdministratorGroups, GroupsAttribute string
	Accounts                                                                            []string
	AllowAutoCreate                                                                     bool
}

// Has reports whether the account is ticked.
func (f ssoForm) Has(account string) bool { return slices.Contains(f.Accounts, account) }

func (web *Web) sso(w http.ResponseWriter, r *http.Request) error {
	page := web.ssoPage()
	page.Form.AllowAutoCreate = true
	for _, p := range page.Providers {
		if added := r.URL.Query().Get("added"); added != "" && string(p.ID) == added {
			page.Added = p.Name
		}
	}
	return web.showSSO(w, r, http.StatusOK, page)
}

func (web *Web) ssoPage() ssoPage {
	return ssoPage{
		SAMLURL: web.SAMLURL, MetadataURL: web.BaseURL.JoinPath("/saml/metadata").String(),
		Providers: web.Providers.List(), Accounts: web.Accounts,
	}
}

func (web *Web) showSSO(w http.ResponseWriter, r *http.Request, status int, page ssoPage) error {
	return web.show(w, r, status, "sso", frame{Title: "Single sign-on", Here: "sso", Page: page})
}

// addProvider enters an identity provider. A form that is refused comes back
// as it was filled in, with the reason above it.
func (web *Web) addProvider(w http.ResponseWriter, r *http.Request) error {
	form, err := readSSOForm(r)
	if err != nil {
		return err
	}
	added, err := web.Providers.Add(r.Context(), form.provider())
	if err == nil {
		return seeOther(w, "/admin/sso?added="+string(added.ID))
	}
	f := fault.Of(err)
	if status := httpd.Status(f.Kind); status >= 500 {
		return err
	}
	page := web.ssoPage()
	page.Form, page.Refused = form, f
	return web.showSSO(w, r, httpd.Status(f.Kind), page)
}

func readSSOForm(r *http.Request) (ssoForm, error) {
	if err := r.ParseMultipartForm(maxMetadata); err != nil && !errors.Is(err, http.ErrNotMultipart) {
		return ssoForm{}, formFault(err)
	}
	get := r.PostForm.Get
	f := ssoForm{
		Name: strings.TrimSpace(get("name")), Metadata: get("metadata"), RolePatterns: get("role_patterns"),
		UserNameDomains: get("user_name_domains"), AdministratorGroups: get("administrator_groups"),
		GroupsAttribute: strings.TrimSpace(get("groups_attribute")), Accounts: r.PostForm["accounts"],
		AllowAutoCreate: get("allow_auto_create") != "",
	}
	file, _, err := r.FormFile("metadata_file")
	switch {
	case errors.Is(err, http.ErrMissingFile), errors.Is(err, http.ErrNotMultipart):
		return f, nil
	case err != nil:
		return ssoForm{}, formFault(err)
	}
	defer file.Close()
	b, err := io.ReadAll(file)
	if err != nil {
		return ssoForm{}, formFault(err)
	}
	if len(b) > 0 {
		f.Metadata = string(b)
	}
	return f, nil
}

func (f ssoForm) provider() federation.IdP {
	return federation.IdP{
		Name: f.Name, Metadata: []byte(strings.TrimSpace(f.Metadata)), Enabled: true, Accounts: f.Accounts,
		RolePatterns: lines(f.RolePatterns), UserNameDomains: lines(f.UserNameDomains),
		AdministratorGroups: lines(f.AdministratorGroups), GroupsAttribute: f.GroupsAttribute, AllowAutoCreate: f.AllowAutoCreate,
	}
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
