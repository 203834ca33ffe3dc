package visitor

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"carnet.dev/carnet/internal/core/secret"
)

// SignIn opens a page of Carnet and goes through the sign-in at the
// development identity provider as a person would: continue, pick the account,
// give the password, go back. It gives the page that stands there in the end
// and, where there was one, the answer to the assertion's post.
func (v *Visitor) SignIn(ctx context.Context, address, user string, password secret.Text) (page *Page, consumed http.Header, err error) {
	page, err = v.Open(ctx, address)
	for range 6 {
		if err != nil {
			return nil, nil, err
		}
		form, fields, posts := nextStep(page, user, password)
		if fields == nil {
			return page, consumed, nil
		}
		page, err = v.Submit(ctx, page, form, fields)
		if posts && err == nil && len(page.Via) > 0 {
			consumed = page.Via[0]
		}
	}
	return nil, nil, fmt.Errorf("the sign-in of %s does not come to an end", user)
}

// nextStep finds the form that a person would fill in on the way; nil fields
// mean that the way has ended. posts is true for the post of the assertion.
func nextStep(page *Page, user string, password secret.Text) (form Form, fields map[string]string, posts bool) {
	if form, err := page.FormWith("SAMLResponse"); err == nil {
		return form, map[string]string{}, true
	}
	if form, err := page.FormWith("password"); err == nil && page.Status == http.StatusOK {
		return form, map[string]string{"user": user, "password": password.Reveal()}, false
	}
	for _, form := range page.Forms {
		if form.Method == http.MethodPost && strings.HasSuffix(form.Action.Path, "/sign-in") {
			return form, map[string]string{}, false
		}
	}
	return Form{}, nil, false
}
