//go:build interop

package agents

import "regexp"

// limit is something that a client can't do whatever the agent is. says finds the
// client's own words in what it said or logged; they are shown, or where they differ
// from run to run shown is.
type limit struct {
	client, way string
	says        *regexp.Regexp
	shown       string
	why         string
}

const (
	fixedSTS   = "Its web-identity provider asks AWS's own STS, by name, wherever `AWS_ENDPOINT_URL_STS` points. It works with accounts at AWS; for local ones take another way."
	noProfiles = "object_store reads no profiles: it goes on to instance metadata, which a node keeps from people. Beside boto3 it works."
)

// limits are read before they are written: each is the client's, not ours.
var limits = []limit{
	{client: "polars", way: "process", says: regexp.MustCompile(`Error performing PUT http://169\.254\.169\.254/latest/api/token`), why: noProfiles},
	{client: "pyarrow", way: "web-identity", says: regexp.MustCompile(`getaddrinfo failed with error_code`), shown: "getaddrinfo failed with error_code …", why: fixedSTS},
	{client: "duckdb", way: "web-identity", says: regexp.MustCompile("Secret Validation Failure: during `generate`"), why: fixedSTS},
}
