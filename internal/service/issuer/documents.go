package issuer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"carnet.dev/carnet/internal/protocol/oidc"
)

// Document is what the world reads of an issuer.
type Document struct {
	Body []byte // JSON; must not be changed
	ETag string // with its quotes
	// MaxAge is how long it may be kept without asking again.
	MaxAge time.Duration
}

func document(body []byte, age time.Duration) Document {
	sum := sha256.Sum256(body)
	return Document{Body: body, ETag: `"` + hex.EncodeToString(sum[:16]) + `"`, MaxAge: age}
}

// mostKept bounds how long documents may be kept. A key set is kept for no more
// than half the time for which a key is published before its use.
const mostKept = time.Hour

func (s *Service) maxAge() time.Duration { return min(mostKept, s.Prepublish/2) }

// URL gives the issuer's URL: iss of its tokens, and what IAM is given.
func (s *Service) URL(l Level) string {
	base := s.BaseURL
	if s.PublicURL != "" {
		base = s.PublicURL
	}
	return s.path(base, l)
}

// EndpointURL gives what the issuer's endpoints lie below: where this server is
// reached, wherever its documents are published.
func (s *Service) EndpointURL(l Level) string { return s.path(s.BaseURL, l) }

func (s *Service) path(base string, l Level) string {
	if l != Account {
		return base + "/oidc"
	}
	if s.AccountURL != "" {
		base = s.AccountURL
	}
	return base + "/oidc/accounts/" + s.AccountID
}

// LevelOf gives the level whose issuer URL this is.
func (s *Service) LevelOf(issuerURL string) (Level, bool) {
	for _, l := range Levels() {
		if s.URL(l) == issuerURL {
			return l, true
		}
	}
	return "", false
}

// Registered gives the level that mints for AWS: the workspace's where unified
// login is on.
func (s *Service) Registered() Level {
	if s.Unified() {
		return Workspace
	}
	return Account
}

// APIAudience is the audience of access tokens, and of no ID token.
func (s *Service) APIAudience() string { return s.BaseURL + "/api" }

// metadata is the discovery document (OpenID Connect Discovery 1.0, section 3;
// RFC 8414, section 2; RFC 8628, section 4; RFC 9207, section 3).
type metadata struct {
	Issuer                 string   `json:"issuer"`
	Authorization          string   `json:"authorization_endpoint"`
	Token                  string   `json:"token_endpoint"`
	UserInfo               string   `json:"userinfo_endpoint"`
	JWKS                   string   `json:"jwks_uri"`
	Revocation             string   `json:"revocation_endpoint"`
	Introspection          string   `json:"introspection_endpoint"`
	Device                 string   `json:"device_authorization_endpoint,omitempty"`
	Scopes                 []string `json:"scopes_supported"`
	ResponseTypes          []string `json:"response_types_supported"`
	ResponseModes          []string `json:"response_modes_supported"`
	Grants                 []string `json:"grant_types_supported"`
	Challenges             []string `json:"code_challenge_methods_supported"`
	SubjectTypes           []string `json:"subject_types_supported"`
	IDTokenAlgorithms      []string `json:"id_token_signing_alg_values_supported"`
	TokenAuth              []string `json:"token_endpoint_auth_methods_supported"`
	TokenAuthAlgorithms    []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	RevocationAuth         []string `json:"revocation_endpoint_auth_methods_supported"`
	RevocationAlgorithms   []string `json:"revocation_endpoint_auth_signing_alg_values_supported"`
	IntrospectionAuth      []string `json:"introspection_endpoint_auth_methods_supported"`
	IntrospectAlgorithms   []string `json:"introspection_endpoint_auth_signing_alg_values_supported"`
	Claims                 []string `json:"claims_supported"`
	IssInResponse          bool     `json:"authorization_response_iss_parameter_supported"`
	ClaimsParameter        bool     `json:"claims_parameter_supported"`
	RequestParameter       bool     `json:"request_parameter_supported"`
	RequestURIParameter    bool     `json:"request_uri_parameter_supported"`
	RequireRequestURIRegis bool     `json:"require_request_uri_registration"`
}

// Grants are the grant types that token endpoints take.
func (s *Service) Grants() []string {
	all := []string{"authorization_code", "refresh_token", "client_credentials",
		"urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:jwt-bearer"}
	if !s.NoDevice {
		all = append(all, "urn:ietf:params:oauth:grant-type:device_code")
	}
	return all
}

// describe writes the discovery documents.
func (s *Service) describe() error {
	s.discovery = map[Level]Document{}
	methods := []string{"client_secret_basic", "client_secret_post", "private_key_jwt", "none"}
	known := methods[:3] // who asks about a token has a secret of its own
	taken := Algorithms()
	for _, l := range Levels() {
		at := s.EndpointURL(l) + "/v1/"
		m := metadata{
			Issuer: s.URL(l), JWKS: s.URL(l) + "/jwks.json",
			Authorization: at + "authorize", Token: at + "token", UserInfo: at + "userinfo",
			Revocation: at + "revoke", Introspection: at + "introspect", Device: at + "device_authorization",
			Scopes:        []string{"openid", "profile", "email", "offline_access", "all-apis"},
			ResponseTypes: []string{"code"}, ResponseModes: []string{"query"}, Grants: s.Grants(),
			Challenges: []string{"S256"}, SubjectTypes: []string{"public"}, IDTokenAlgorithms: Algorithms(),
			TokenAuth: methods, TokenAuthAlgorithms: taken, RevocationAuth: methods, RevocationAlgorithms: taken,
			IntrospectionAuth: known, IntrospectAlgorithms: taken,
			Claims: []string{"iss", "sub", "aud", "exp", "iat", "jti", "auth_time", "nonce", "acr", "amr", "azp", "sid",
				"name", "email", "preferred_username"},
			IssInResponse: true,
		}
		if s.NoDevice {
			m.Device = ""
		}
		body, err := json.MarshalIndent(m, "", "  ")
		if err != nil {
			return err
		}
		s.discovery[l] = document(body, s.maxAge())
	}
	return nil
}

// Discovery gives the discovery document of an issuer.
func (s *Service) Discovery(l Level) Document { return s.discovery[l] }

// JWKS gives the key set of an issuer as it stands now.
func (s *Service) JWKS(l Level) Document { return s.current().faces[l].jwks }

// KeySet gives the key set of one of our issuers; false for any other URL.
func (s *Service) KeySet(issuerURL string) (*oidc.KeySet, bool) {
	l, ours := s.LevelOf(issuerURL)
	if !ours {
		return nil, false
	}
	return s.current().faces[l].keys, true
}

// Path gives the path of an issuer's endpoints on this server.
func (s *Service) Path(l Level) string {
	at := s.EndpointURL(l)
	_, rest, _ := strings.Cut(at, "://")
	return rest[strings.Index(rest, "/"):]
}
