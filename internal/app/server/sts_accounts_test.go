package server

import (
	"testing"

	"carnet.dev/carnet/internal/app/config"
)

// TestLocalAssertionsStayHere: a local account's assertions have the internal
// listener to go to, or nowhere.
func TestLocalAssertionsStayHere(t *testing.T) {
	t.Parallel()
	c := &config.Config{Accounts: []config.Account{
		{ID: "111122223333", Kind: config.AccountLocal, Region: "us-east-1"}, {ID: "444455556666", Kind: config.AccountAWS, Region: "eu-west-1"},
	}}
	if all, err := stsAccounts(c, nil); err != nil || len(all) != 0 {
		t.Errorf("without an internal listener: %+v, %v", all, err)
	}
	all, err := stsAccounts(c, newInner())
	if err != nil || len(all) != 2 || all[0].Endpoint == "" || all[0].HTTP == nil || !all[0].Internal {
		t.Fatalf("the local account is reached by %+v, %v", all, err)
	}
	if a := all[1]; a.Endpoint != "" || a.HTTP != nil || a.Internal || a.Region != "eu-west-1" {
		t.Errorf("the account at AWS is reached by %+v", a)
	}
}
