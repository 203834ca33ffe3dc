package api

import (
	"net/http"
	"slices"

	"carnet.dev/carnet/internal/edge/httpd"
)

// Issuers lists the issuers of this installation.
type Issuers struct {
	Issuers []Issuer `json:"issuers"`
}

// Issuer is one of them. Its discovery document says more.
type Issuer struct {
	Level  string `json:"level"` // workspace or account
	Issuer string `json:"issuer"`
	// Registered: AWS is to trust this one; it alone issues tokens for AWS.
	Registered bool `json:"registered"`
}

// AccountPlace says where keys of an account are used. One that isn't local
// has the place of one that isn't configured: strangers may ask.
type AccountPlace struct {
	Local     bool           `json:"local"`
	Region    string         `json:"region"` // empty: the caller's choice
	Endpoints PlaceEndpoints `json:"endpoints"`
}

func (a api) issuerRoutes(row rowMaker) []httpd.Route {
	return []httpd.Route{
		row(http.MethodGet, "issuers", httpd.Open, 0, a.issuers),
		row(http.MethodGet, "accounts/{account}/place", httpd.Open, 0, a.place),
	}
}

func (a api) issuers(w http.ResponseWriter, _ *http.Request) error {
	out := Issuers{Issuers: []Issuer{}}
	if a.Issuers != nil {
		out.Issuers = append(out.Issuers, a.Issuers()...)
	}
	return answer(w, http.StatusOK, out)
}

func (a api) place(w http.ResponseWriter, r *http.Request) error {
	var out AccountPlace
	if slices.Contains(a.LocalAccounts, r.PathValue("account")) {
		out = AccountPlace{Local: true, Region: a.Home.Region, Endpoints: PlaceEndpoints{S3: a.Home.S3, STS: a.Home.STS, IAM: a.Home.IAM}}
	}
	return answer(w, http.StatusOK, out)
}

// registered is the issuer that mints for AWS; empty where there is none.
func (a api) registered() string {
	if a.Issuers == nil {
		return ""
	}
	for _, i := range a.Issuers() {
		if i.Registered {
			return i.Issuer
		}
	}
	return ""
}
