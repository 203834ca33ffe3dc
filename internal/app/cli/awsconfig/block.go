// Package awsconfig writes Carnet's own block into the AWS configuration file
// that SDKs and the aws CLI read.
//
// The block stands between two marker lines and names the CLI profile it
// belongs to. Everything outside it belongs to the person and is kept byte for
// byte, also when the markers were damaged: only sections that Carnet itself
// wrote are taken for its own. This package must never write a key into the
// file, only the command that fetches keys.
package awsconfig

import (
	"fmt"
	"regexp"
	"strings"
)

// Block is what one CLI profile has in the file.
type Block struct {
	Owner    string // CLI profile
	CABundle string // PEM file for AWS clients, or ""
	Profiles []Profile
}

// Profile is one AWS profile: a role and how its keys are fetched.
type Profile struct {
	Name    string
	Role    string // ARN
	Region  string
	Command string // absolute path of the carnet program
	// Administrator is set for keys of carnet-admin: the account's number.
	Administrator string
	// Agent: the keys come from the agent of this machine.
	Agent bool
	// S3, STS and IAM are the endpoints of the role's keys; empty means AWS's
	// own.
	S3, STS, IAM string
	// S3Only says that the keys are gateway keys, good for S3 and nothing else.
	S3Only bool
}

func begin(owner string) string {
	return "# BEGIN CARNET " + owner + `: "carnet configure" writes this block; changes inside are lost`
}

func end(owner string) string { return "# END CARNET " + owner }

// Render writes the block. The command line is quoted so that a POSIX shell
// (Go SDK), Python's shlex (boto3, aws CLI) and cmd.exe read it alike; a path
// that they would read differently is an error.
func (b Block) Render() (string, error) {
	var out strings.Builder
	fmt.Fprintln(&out, begin(b.Owner))
	services := newServices(b.Owner)
	for _, p := range b.Profiles {
		for _, value := range []string{p.Name, p.Role, p.Region, p.Administrator, p.S3, p.STS, p.IAM, b.CABundle} {
			if strings.ContainsFunc(value, control) {
				return "", fmt.Errorf("%q can't stand in a configuration file", value)
			}
		}
		command, err := quote(p.Command)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "[profile %s]\n", p.Name)
		fmt.Fprintf(&out, "credential_process = %s%s%s\n", command, fetch(b.Owner), p.asks())
		fmt.Fprintf(&out, "region = %s\n", p.Region)
		if b.CABundle != "" {
			fmt.Fprintf(&out, "ca_bundle = %s\n", b.CABundle)
		}
		if set := (endpoints{p.S3, p.STS, p.IAM}); set != (endpoints{}) {
			fmt.Fprintf(&out, "services = %s\n", services.name(set))
		}
		if p.S3 != "" {
			// Without the second line boto3 and aws CLI v1 presign with Signature
			// Version 2, which the gateway refuses.
			out.WriteString("s3 =\n  addressing_style = path\n  signature_version = s3v4\n")
		}
	}
	services.render(&out)
	fmt.Fprintln(&out, end(b.Owner))
	return out.String(), nil
}

// fetch is the part of credential_process by which a section is known as ours.
func fetch(owner string) string { return " credentials --profile " + owner + " --" }

// asks is the rest of it: whose keys the profile gets.
func (p Profile) asks() string {
	if p.Administrator != "" {
		return "administrator " + p.Administrator
	}
	if p.Agent {
		return "agent --role " + p.Role
	}
	return "role " + p.Role
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

var plainPath = regexp.MustCompile(`^[A-Za-z0-9_./:+=,@-]+$`)

func quote(path string) (string, error) {
	if plainPath.MatchString(path) {
		return path, nil
	}
	if strings.ContainsAny(path, "\"$`%!") || strings.ContainsFunc(path, control) ||
		strings.Contains(path, `\`) && !windowsPath.MatchString(path) {
		return "", fmt.Errorf("the path %q holds characters that shells read differently", path)
	}
	return `"` + path + `"`, nil
}

// windowsPath has a drive, so its backslashes only separate folders.
var windowsPath = regexp.MustCompile(`^[A-Za-z]:\\[^\\]`)

// services collects the distinct sets of endpoints; nearly always one.
type services struct {
	owner string
	sets  []endpoints
}

// endpoints are those of s3, sts and iam.
type endpoints [3]string

func newServices(owner string) *services { return &services{owner: owner} }

func (s *services) name(set endpoints) string {
	i := 0
	for i < len(s.sets) && s.sets[i] != set {
		i++
	}
	if i == len(s.sets) {
		s.sets = append(s.sets, set)
	}
	return s.at(i)
}

func (s *services) at(i int) string {
	if i == 0 {
		return "carnet-" + s.owner
	}
	return fmt.Sprintf("carnet-%s+%d", s.owner, i+1)
}

func (s *services) render(out *strings.Builder) {
	for i, set := range s.sets {
		fmt.Fprintf(out, "[services %s]\n", s.at(i))
		for j, service := range []string{"s3", "sts", "iam"} {
			if set[j] != "" {
				fmt.Fprintf(out, "%s =\n  endpoint_url = %s\n", service, set[j])
			}
		}
	}
}
