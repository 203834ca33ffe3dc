package server_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// TestIAMOnAListenerOfItsOwn: there it answers, and nowhere else.
func TestIAMOnAListenerOfItsOwn(t *testing.T) {
	t.Parallel()
	own := freeAddress(t)
	in := install(t, replace("same_host: accept\n", "same_host: accept\niam: {listen: {address: \""+own+"\"}}\n"))
	r := in.serve(t)
	if !strings.Contains(r.printed, "IAM on http://"+own) {
		t.Errorf("printed %q", r.printed)
	}
	const call = "Action=ListRoles&Version=2010-05-08"
	ask := func(address, service string) string {
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+address+"/", strings.NewReader(call))
		must(t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if service != "" {
			keys := aws.Credentials{AccessKeyID: "ASIA7777777777777777", SecretAccessKey: "x", SessionToken: "y"}
			must(t, v4.NewSigner().SignHTTP(t.Context(), keys, req, strings.Repeat("0", 64), service, "us-east-1", time.Now()))
		}
		res, err := http.DefaultClient.Do(req)
		must(t, err)
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		must(t, err)
		_, code, _ := strings.Cut(string(b), "<Code>")
		code, _, _ = strings.Cut(code, "</Code>")
		return code
	}
	for where, want := range map[[2]string]string{
		{own, ""}: "MissingAuthenticationToken", {own, "iam"}: "InvalidClientTokenId", {own, "sts"}: "InvalidAction", {own, "s3"}: "NotImplemented",
		{in.aws, "iam"}: "InvalidAction", {in.aws, "sts"}: "InvalidClientTokenId",
	} {
		if got := ask(where[0], where[1]); got != want {
			t.Errorf("signed for %q at %s: %s, want %s", where[1], where[0], got, want)
		}
	}
}
