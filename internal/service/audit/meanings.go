package audit

import "strings"

// Meaning says what events of one name are.
type Meaning struct {
	Name string // with a * at its end: of all names that begin so
	// Means says what happened, and so when it is written.
	Means string
	// Has says what target and additionalEventData hold, beside the fields of every
	// event and of who acted.
	Has string
	// AWS is the event of AWS CloudTrail that is most like it; empty: none is.
	AWS string
}

// Meanings lists every name that an event can have, in the order of names by topic.
// docs/operations/audit.md is made of it; a test holds it against the source.
func Meanings() []Meaning { return meanings[:] }

// MeaningOf gives the meaning of a name; the zero Meaning of one that is unknown.
func MeaningOf(name string) (best Meaning) {
	for _, m := range meanings {
		begin, star := strings.CutSuffix(m.Name, "*")
		if m.Name == name || star && strings.HasPrefix(name, begin) && best.Name == "" {
			best = m
		}
	}
	return best
}

const (
	changed = "target: the id; additionalEventData: what it holds now"
	removed = "target: the id; name"
)

var meanings = [...]Meaning{
	{"sign-in", "a person signed in, or a sign-in was refused; repeated refusals are one record and a number, those of strangers together", "target: the id of the assertion or token; administrator, unsolicited; reason, repeated, since", "ConsoleLogin"},
	{"exchange", "a sign-in was traded for a role's keys, or that failed", "target: the id of the assertion or token; recipientAccountId, roleArn, accessKeyId", "AssumeRoleWithSAML, AssumeRoleWithWebIdentity"},
	{"renewal", "a role's keys were renewed without the person, or that was refused", "target: the sign-in that it rests on; exchange, renewal, token, issuer, until, deadline, reason", "AssumeRoleWithWebIdentity"},
	{"id-token", "an ID token was made for somebody, or refused", "target: the subject; audience, token, issuer, and what it rests on", ""},
	{"cli-sign-in", "a command line was signed in from a browser's login session", "", ""},
	{"sign-out", "a login session was ended", "cause", ""},
	{"single-logout", "an identity provider ended login sessions, by SAML", "target: the id of the message; ended", ""},
	{"back-channel-logout", "an identity provider ended login sessions, by OpenID Connect", "target: the id of the token; ended", ""},
	{"test-sign-in", "an administrator tried an identity provider by a test sign-in", "errorCode where a check failed", ""},
	{"setup-link", "a one-use link for an administrator was made", "", ""},
	{"setup-sign-in", "such a link was used", "", "ConsoleLogin"},
	{"roles.sync", "the roles of a person were replaced by those of the sign-in", "target: the person; sign_in, added, removed", ""},
	{"administrator-credentials", "keys of carnet-admin were handed out", "target: the ARN of the role session; role_id, expires", "AssumeRole"},

	{"device.approve", "a person let a device in that showed a code", "target: the program; device_source, device_user_agent, scope", ""},
	{"device.deny", "a person refused one", "as device.approve", ""},
	{"device.guess", "a person typed too many wrong codes", "tries", ""},
	{"client.approve", "a person let a program act for them, or refused", "target: the program; client, scope, by", ""},
	{"token.*", "a token of a program or machine was issued, refreshed or revoked", "target: the program or subject; client, grant, scope, access_token, by", ""},
	{"client.add", "a program was registered", changed, ""},
	{"client.change", "a program was changed", changed, ""},
	{"client.enable", "a program was switched on", removed, ""},
	{"client.disable", "a program was switched off; what it held ended", removed, ""},
	{"client.remove", "a program was taken out; what it held ended", removed, ""},
	{"client-credential.add", "a program or machine got a secret or key", "target: the program; credential, kind, owner, expires", "CreateAccessKey"},
	{"client-credential.remove", "one was taken out", "target: the program; credential", "DeleteAccessKey"},

	{"delegation.add", "a person let a cluster or service principal work as them", "target: the delegation; label, person, user_name, expires, cluster_id or service_principal", ""},
	{"delegation.revoke", "one was revoked", "as delegation.add", ""},
	{"delegation.end", "one ended because what it rests on did", "as delegation.add", ""},
	{"federation-policy.add", "tokens of another issuer were let in", "target: the policy; name, issuer, claim, service_principal, subject", "CreateOpenIDConnectProvider"},
	{"federation-policy.remove", "such a policy was taken out", "target: the policy", "DeleteOpenIDConnectProvider"},

	{"attachment.add", "work on a node was attached to a person or service principal", "target: the attachment; node, node_name, uid, account, scope, how, expires", ""},
	{"attachment.refuse", "a person refused one", "target: the node; node_name, uid", ""},
	{"attachment.end", "one ended", "target: the attachment; why", ""},
	{"attachment.role", "the role of one was changed", "target: the attachment; roleArn", ""},
	{"attachment.credentials", "keys were handed to work on a node", "target: the attachment; roleArn, accessKeyId", "AssumeRole"},
	{"attachment.id-token", "an ID token was handed to work on a node", "target: the attachment; roleArn, token", ""},
	{"jdbc.connect", "an engine had a connection of a person opened", "target: the cluster; roleArn, accessKeyId, node, token", ""},
	{"jdbc.credentials", "keys were handed to an engine for such a connection", "as jdbc.connect", "AssumeRole"},
	{"meta.assume", "Carnet's own AWS identity took a role for a person", "target: the role session; for, source_identity, expires", "AssumeRole"},

	{"cluster.add", "a cluster was added", "target: the id; its settings", ""},
	{"cluster.update", "a cluster was changed, or people were assigned to it", "target: the id; its settings", ""},
	{"cluster.remove", "a cluster was taken out", "target: the id; its settings", ""},
	{"join-token.make", "a token was made by which a machine can join", "target: the cluster; expires", ""},
	{"node.join", "a machine joined", "target: the node; name, cluster_id, join_token_made_by", ""},
	{"node.key", "a machine's key was replaced", "target: the node; name, cluster_id", ""},
	{"node.remove", "a machine was taken out", "target: the node; name, cluster_id", ""},

	{"gateway-key.make", "a key without a session token was made", "target: the key; accessKeyId, owner, owner_id, owner_name, roles, expires, cluster", "CreateAccessKey"},
	{"gateway-key.roll", "one was replaced by a new one", "as gateway-key.make", "CreateAccessKey"},
	{"gateway-key.revoke", "one was revoked", "as gateway-key.make", "DeleteAccessKey"},
	{"gateway-key.first-use", "one was used for the first time", "as gateway-key.make", ""},
	{"gateway-key.strayed", "one was used from where it is not bound to; repeated uses are one record", "as gateway-key.make; reason", ""},
	{"prefix-grant.add", "a place in S3 was given a role", "target: the grant; place, roleArn", ""},
	{"prefix-grant.remove", "such a grant was taken out", "target: the grant", ""},

	{"s3.*", "an S3 request was decided: every denial, and what was permitted with audit.reads and audit.writes; repeated denials are one record and a number", "target: the ARN of bucket or object; status, user_agent, decided_by, reason, statements, sent, received, repeated, since", "as after \"s3.\": GetObject, …"},
	{"sts.*", "the local authority's STS handed out keys, denied a proven caller, or refused an assertion or ID token; repeated refusals are one record and a number, those of strangers together", "target: the role session; roleArn, accessKeyId, role_id, expires, reason, repeated, since", "as after \"sts.\": AssumeRole, …"},
	{"iam.*", "the local authority was changed through IAM, or a proven caller was denied it; repeated denials are one record and a number", "target: what was changed; reason, repeated, since", "as after \"iam.\": CreateRole, …"},
	{"authority.*", "a step of a file of roles, providers and policies was applied", "target: kind and name; changed", ""},
	{"authority.administrator-role", "the role carnet-admin was made for a local account", "target: the ARN", "CreateRole"},
	{"authority.forget-issuers", "providers of issuers that are gone were taken out by carnet dev", "", "DeleteOpenIDConnectProvider"},

	{"identity-provider.add", "an identity provider was added", "target: its entity ID or issuer; what was set", "CreateSAMLProvider"},
	{"identity-provider.change", "one was changed", "target: its entity ID or issuer; what was changed", "UpdateSAMLProvider"},
	{"identity-provider.enable", "one was switched on", "target: its entity ID or issuer", ""},
	{"identity-provider.disable", "one was switched off", "target: its entity ID or issuer", ""},
	{"identity-provider.remove", "one was taken out", "target: its entity ID or issuer; name", "DeleteSAMLProvider"},
	{"identity-provider.expires", "something of its metadata ends soon", "what, and when", ""},
	{"identity-provider.metadata-*", "its metadata was fetched anew, waits for an administrator, was accepted, refused or withdrawn", "why, sha256, what was changed", "UpdateSAMLProvider"},
	{"switches.change", "a switch for all identity providers was set", "unified_login, role_sync", ""},
	{"saml-key.*", "one of our SAML keys was added, promoted, removed or exported", "target: the key; purpose, state, certificate", ""},
	{"issuer-key.*", "one of our issuer keys was added, placed, taken into use or destroyed", "target: the key; level, algorithm, state", ""},
	{"issuer.halt", "minting stopped: a foreign key stands where ours are published", "target: the foreign key; reason", ""},
	{"issuer.resume", "minting goes on", "", ""},

	{"person.*", "a person was added, changed, switched off or on, or deleted: by an administrator or by a provisioning system", "target: the id; credential, name, roles_added, roles_removed", "CreateUser, UpdateUser, DeleteUser"},
	{"group.*", "a group was added, changed or deleted, or its members were: by an administrator or by a provisioning system", "target: the id; credential, name, member, members_added, members_removed, roles_added, roles_removed", "CreateGroup, DeleteGroup, AddUserToGroup, RemoveUserFromGroup"},
	{"service-principal.*", "a service principal was added, changed, switched off or on, or deleted: by an administrator or by a provisioning system", "target: the id; credential, name, roles_added, roles_removed", "CreateUser, DeleteUser"},
	{"role.map", "a role was given to a person, group or service principal", "target: who has it; recipientAccountId, roleArn", "AttachUserPolicy"},
	{"role.unmap", "one was taken back", "as role.map", "DetachUserPolicy"},
	{"provisioning-credential.*", "a provisioning system got a token, or lost one", "target: the token's id; label, owner, kinds, expires", ""},
	{"revoke", "everything that rests on something was revoked", "target: the id; kind, epoch", ""},
	{"revocation.deny", "a role at AWS was told whose keys to deny, or that failed", "target: the policy's name; roleArn, denies, form, reason", "PutRolePolicy, DeleteRolePolicy"},

	{"key-ring.rotate", "a ring of keys got a new one", "target: the ring", "RotateKeyOnDemand"},
	{"key-encryption-key.replace", "the key that wraps all others was replaced", "target: the key's id", ""},
	{"state.restore", "the database was restored from a backup", "command", ""},
	{"audit.read", "an administrator searched the trail; the same search again is one record and a number", "filter, repeated, since", "LookupEvents"},
	{"audit.export", "an administrator exported it", "filter", ""},
	{"audit.prune", "records past their time were deleted", "target: the chain; seq, hash, before, records, untaken (by an audit target), held (for one), chains, whole, signer, signature", ""},
	{"audit.broken", "a server found that a chain was changed in the database, and left it as it is", "target: the chain; signed, found, why", ""},
	{"audit.lost", "S3 decisions could not be recorded, since the queue was full", "records", ""},
}
