package iamapi

import (
	"fmt"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/service/iam"
)

// view gives the records as this server knows them.
func (c *call) view() (*iam.View, error) {
	snapshot, err := c.face.config.IAM.Current()
	if err != nil {
		return nil, err
	}
	return snapshot.View(), nil
}

// edit makes a change and its audit record in one transaction. fn asks for
// permission itself, on the state that it changes, and names what it changes
// by Draft.Concerns. It may run more than once.
func (c *call) edit(fn func(*iam.Draft) error) error {
	return c.face.config.IAM.Edit(c.ctx, event.Event{
		Action: "iam." + c.action, Account: c.caller.Account, AccessKeyID: c.caller.AccessKeyID, Request: c.id,
		Person: c.caller.Person, LoginSession: c.caller.LoginSession, Role: c.roleARN(), Source: c.env.SourceIP.String(),
		Detail: c.detail(),
	}, fn)
}

func (c *call) roleARN() string {
	if c.caller.Role.IsZero() {
		return ""
	}
	return c.caller.Role.String()
}

// noSuch is the answer to a name that nothing has.
func noSuch(format string, args ...any) error {
	return fault.Coded(fault.NotFound, "NoSuchEntity", fmt.Sprintf(format, args...))
}
