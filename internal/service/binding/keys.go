package binding

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
)

// Answer is keys that lie ready. It is never changed.
type Answer struct {
	Keys
	// Container is the answer of the container credentials endpoint, whole.
	Container string
	fetched   time.Time
}

func (a *Answer) until() time.Time { return a.Expiration }

// Issued is when these keys came, by this machine's clock.
func (a *Answer) Issued() time.Time { return a.fetched }

func (t *IDToken) until() time.Time { return t.Expires }

// Keys gives keys for an attachment: of the role (an ARN or a name), or with an empty
// one of the current or only role. Errors are the server's faults; Unavailable with
// CodeStale by the offline rule; Denied when the attachment has ended. What it gives
// must not be changed.
func (s *Service) Keys(ctx context.Context, a *Attachment, role string) (*Answer, error) {
	l, err := s.living(a.ID)
	if err != nil {
		return nil, err
	}
	k, err := place(l.kept, &l.kept.keys, role, s.c.Now())
	if err != nil {
		return nil, err
	}
	if v, ok := k.ready(s); ok {
		return v, nil
	}
	v, err := get(ctx, s, k, s.fetchKeys(a.ID, role))
	if err != nil && fault.Of(err).Code == CodeStale && !s.c.Refuse {
		if again := l.kept.given(s.c.Now(), role, l.Role); again != nil {
			return again, nil
		}
	}
	return v, err
}

// IDToken gives a web-identity token for an attachment, as Keys does keys.
func (s *Service) IDToken(ctx context.Context, a *Attachment, role string) (*IDToken, error) {
	l, err := s.living(a.ID)
	if err != nil {
		return nil, err
	}
	k, err := place(l.kept, &l.kept.tokens, role, s.c.Now())
	if err != nil {
		return nil, err
	}
	return get(ctx, s, k, s.fetchToken(a.ID, role))
}

// NewIDToken gives a new one for the attachment's current role, and keeps none: it is
// for who keeps it in a file. Errors as of IDToken.
func (s *Service) NewIDToken(ctx context.Context, id identity.AttachmentID) (IDToken, error) {
	if _, err := s.freshly(id); err != nil {
		return IDToken{}, err
	}
	select {
	case s.fetching <- struct{}{}:
		defer func() { <-s.fetching }()
	case <-ctx.Done():
		return IDToken{}, fault.Wrap(ctx.Err(), fault.Unavailable, "The server has not answered yet").WithMend("try again in a moment")
	}
	return s.c.Server.IDToken(ctx, id, "")
}

// Roles gives what the person may use here. It is asked for anew each time.
func (s *Service) Roles(ctx context.Context, a *Attachment) ([]Role, error) {
	if _, err := s.freshly(a.ID); err != nil {
		return nil, err
	}
	return s.c.Server.Roles(ctx, a.ID)
}

// SetRole makes a role the current one of an attachment; empty: none.
func (s *Service) SetRole(ctx context.Context, a *Attachment, role string) ([]Role, error) {
	l, err := s.freshly(a.ID)
	if err != nil {
		return nil, err
	}
	roles, err := s.c.Server.SetRole(ctx, a.ID, role)
	if err != nil {
		return nil, err
	}
	l.kept.forget()
	return roles, nil
}

// living finds an attachment as it is now: it may have ended since it was found.
func (s *Service) living(id identity.AttachmentID) (*live, error) {
	l := s.table.Load().byID[id]
	if l == nil || !s.c.Now().Before(l.Expires) {
		return nil, fault.Coded(fault.Denied, CodeUnattached, "The attachment has ended").WithMend("run: carnet attach")
	}
	return l, nil
}

func (s *Service) freshly(id identity.AttachmentID) (*live, error) {
	l, err := s.living(id)
	if err == nil && !s.Fresh() {
		return nil, stale()
	}
	return l, err
}

func (s *Service) fetchKeys(id identity.AttachmentID, role string) fetcher[*Answer] {
	return func(ctx context.Context) (*Answer, error) {
		keys, err := s.c.Server.Credentials(ctx, id, role)
		if err != nil {
			return nil, err
		}
		keys.Region, keys.S3, keys.STS = s.once(keys.Region), s.once(keys.S3), s.once(keys.STS)
		return NewAnswer(keys, s.c.Now())
	}
}

// mostTexts bounds the texts that are kept once for everybody.
const mostTexts = 64

// once gives a text that many answers have, from one place in memory.
func (s *Service) once(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.texts[text]; ok {
		return known
	}
	if s.texts == nil || len(s.texts) >= mostTexts {
		s.texts = map[string]string{}
	}
	s.texts[text] = text
	return text
}

func (s *Service) fetchToken(id identity.AttachmentID, role string) fetcher[*IDToken] {
	return func(ctx context.Context) (*IDToken, error) {
		t, err := s.c.Server.IDToken(ctx, id, role)
		if err != nil {
			return nil, err
		}
		return &t, nil
	}
}

// NewAnswer writes keys down as the endpoints give them: the fields and their order are
// those of container credentials, the time has whole seconds. A fault where the
// server's answer lacks something that SDKs need.
func NewAnswer(k Keys, now time.Time) (*Answer, error) {
	if k.AccessKeyID == "" || k.SecretAccessKey.IsZero() || k.Expiration.IsZero() {
		return nil, fault.New(fault.Internal, "The server's answer holds no keys")
	}
	k.Expiration = k.Expiration.UTC().Truncate(time.Second)
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(struct {
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string
		Token           string
		Expiration      string
		AccountID       string `json:"AccountId,omitempty"`
		RoleARN         string `json:"RoleArn,omitempty"`
	}{k.AccessKeyID, k.SecretAccessKey.Reveal(), k.SessionToken.Reveal(), k.Expiration.Format(time.RFC3339), k.AccountID, k.Role}); err != nil {
		return nil, fault.Wrap(err, fault.Internal, "The keys can't be written down")
	}
	// The long texts are kept once: as parts of the answer.
	body := strings.Clone(strings.TrimSuffix(b.String(), "\n"))
	part := func(s string) string {
		if i := strings.Index(body, s); i >= 0 && s != "" {
			return body[i : i+len(s)]
		}
		return s
	}
	k.AccessKeyID, k.Role, k.AccountID = part(k.AccessKeyID), part(k.Role), part(k.AccountID)
	k.SecretAccessKey, k.SessionToken = secret.New(part(k.SecretAccessKey.Reveal())), secret.New(part(k.SessionToken.Reveal()))
	return &Answer{Keys: k, Container: body, fetched: now}, nil
}
