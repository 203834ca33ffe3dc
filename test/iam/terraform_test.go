//go:build interop

package iam

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// terraform runs Terraform over a copy of the configuration in testdata.
type terraform struct {
	*world
	dir string
	env map[string]string
}

func newTerraform(w *world, keys map[string]string) *terraform {
	w.t.Helper()
	x := &terraform{world: w, dir: w.t.TempDir(), env: map[string]string{
		"TF_CLI_CONFIG_FILE": "/dev/null", "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1",
		"TF_VAR_endpoint": w.AWS, "TF_VAR_saml_url": w.Web + "/saml/consume", "TF_VAR_issuer": "https://id.example.com/oidc",
	}}
	for k, v := range keys {
		x.env[k] = v
	}
	src, err := os.ReadFile("testdata/terraform/main.tf")
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(x.dir, "main.tf"), src, 0o600); err != nil {
		w.t.Fatal(err)
	}
	x.env["TF_VAR_metadata"] = w.metadata(x.dir)
	args := []string{"-input=false"}
	if plugins := need(w.t, "CARNET_TF_PLUGINS"); plugins != "registry" {
		args = append(args, "-plugin-dir="+plugins)
	}
	x.tf("init", args...)
	return x
}

func (x *terraform) tf(command string, args ...string) string {
	x.t.Helper()
	return x.must(x.dir, x.env, "terraform", append([]string{command, "-no-color"}, args...)...)
}

func (x *terraform) state(args ...string) string {
	x.t.Helper()
	return x.must(x.dir, x.env, "terraform", append([]string{"state"}, args...)...)
}

// empty holds that a plan changes nothing: what was read back is what was
// written.
func (x *terraform) empty() {
	x.t.Helper()
	o := x.run(x.dir, x.env, "terraform", "plan", "-no-color", "-input=false", "-detailed-exitcode")
	if o.code != 0 || !strings.Contains(o.out, "No changes.") {
		x.t.Fatalf("the plan after applying is not empty: exit %d\n%s", o.code, o.out)
	}
}

// TestTerraform plans a real configuration, applies it, plans again without a
// change, and destroys it. In a full run (CARNET_TF_FULL) it also changes it and
// imports parts of it.
func TestTerraform(t *testing.T) {
	w := start(t)
	x := newTerraform(w, w.administrator())
	if out := x.tf("plan", "-input=false", "-out=plan"); !strings.Contains(out, "Plan: 18 to add, 0 to change, 0 to destroy.") {
		t.Errorf("the first plan:\n%s", out)
	}
	out := x.tf("apply", "-input=false", "plan")
	for _, want := range []string{
		"Apply complete! Resources: 18 added", `account = "` + account + `"`, `analyst = "arn:aws:iam::` + account + `:role/data/tf-analyst"`,
		`"s3:GetObject" = "allowed"`, `"s3:DeleteObject" = "implicitDeny"`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("apply does not say %q:\n%s", want, out)
		}
	}
	x.empty()
	if os.Getenv("CARNET_TF_FULL") != "" {
		x.changeAndImport()
	}
	if out := x.tf("destroy", "-input=false", "-auto-approve"); !strings.Contains(out, "Destroy complete! Resources: 18 destroyed.") {
		t.Errorf("destroy:\n%s", out)
	}
	if out := x.state("list"); strings.TrimSpace(out) != "" {
		t.Errorf("left in the state:\n%s", out)
	}
}

func (x *terraform) changeAndImport() {
	x.t.Helper()
	x.env["TF_VAR_note"] = "second"
	if out := x.tf("apply", "-input=false", "-auto-approve"); !strings.Contains(out, "0 added, 2 changed, 0 destroyed") {
		x.t.Errorf("the change:\n%s", out)
	}
	x.empty()
	x.state("rm", "aws_iam_role.analyst", "aws_iam_saml_provider.corp", "aws_iam_policy.data")
	x.tf("import", "-input=false", "aws_iam_saml_provider.corp", "arn:aws:iam::"+account+":saml-provider/corp")
	x.tf("import", "-input=false", "aws_iam_role.analyst", "tf-analyst")
	x.tf("import", "-input=false", "aws_iam_policy.data", "arn:aws:iam::"+account+":policy/data")
	x.empty()
}
