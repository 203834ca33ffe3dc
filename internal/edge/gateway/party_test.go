package gateway

import (
	"testing"

	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/gatewaykeys"
)

// TestWhoseShare: whatever a caller can have more of, keys, sessions, delegations and
// names of them, brings no second share of a store.
func TestWhoseShare(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		caller access.Caller
		holder *gatewaykeys.Holder
		want   string
	}{
		"a person":                   {caller: access.Caller{Person: "per_1", LoginSession: "ses_1", RoleID: "AROA1", AccessKeyID: "ASIA1"}, want: "per_1"},
		"in another login, and role": {caller: access.Caller{Person: "per_1", LoginSession: "ses_2", RoleID: "AROA2", AccessKeyID: "ASIA2"}, want: "per_1"},
		"by a delegation":            {caller: access.Caller{Person: "per_1", Delegation: "del_1", ServicePrincipal: "sp_1", RoleID: "AROA1", AccessKeyID: "ASIA3"}, want: "per_1"},
		"a service principal":        {caller: access.Caller{ServicePrincipal: "sp_1", RoleID: "AROA1", AccessKeyID: "ASIA4"}, want: "sp_1"},
		"an IAM user":                {caller: access.Caller{IAMUser: "AIDA1", AccessKeyID: "AKIA1"}, want: "AIDA1"},
		"a part of that user":        {caller: access.Caller{IAMUser: "AIDA1", UserID: "111122223333:any", AccessKeyID: "ASIA5"}, want: "AIDA1"},
		"a role and nobody":          {caller: access.Caller{RoleID: "AROA1", SessionName: "one", AccessKeyID: "ASIA6"}, want: "AROA1"},
		"under another name":         {caller: access.Caller{RoleID: "AROA1", SessionName: "two", AccessKeyID: "ASIA7"}, want: "AROA1"},
		"a gateway key of nobody":    {caller: access.Caller{RoleID: "AROA1", AccessKeyID: "GWKA1"}, holder: &gatewaykeys.Holder{}, want: "GWKA1"},
	} {
		x := &exchange{caller: c.caller, holder: c.holder}
		if got := x.party(); got != c.want {
			t.Errorf("%s: the share of %q, want that of %q", name, got, c.want)
		}
	}
}
