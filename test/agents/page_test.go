package agents

const head = `# Clients on a node, by every way that the agent offers

Made by ` + "`make interop-agent AGENT_FLAGS=-update`" + ` from what the clients did on a real node: a person who is attached there runs the client under their own uid; it finds keys by its own means, puts an object of 107 KiB through the gateway and reads it back.

- **pass**: the client says so, the bytes that the store then holds are the right ones, and so are those that the client read back.
- **client can't**: the client has no such thing, or refuses by itself; its own words stand below.
- **fail**: anything else.

The columns: the *container endpoint* of the SDKs on loopback; *IMDSv2* in place of a machine's; ` + "`credential_process`" + ` of an AWS profile, over the agent's unix socket; the *token file*, which the client itself trades at STS; the *signing proxy*, where the client holds no keys at all.

`

const foot = `
polars looks for keys as the crate object_store does; where boto3 is installed beside it, it asks boto3. It speaks with STS over TLS alone, so that it had Carnet's address over TLS; all others took plain HTTP on loopback.

## Whom the agent refuses

An SDK that asks the container endpoint and is refused must not take the identity of the machine instead. Each client was run as somebody who is not attached, on a machine whose own instance metadata service would answer. With the variables that ` + "`carnet attach`" + ` prints, ` + "`AWS_EC2_METADATA_DISABLED=true`" + ` among them, none asked it. Without that one, the AWS SDK for
Java and Hadoop S3A go on to it; all others stop at the refusal. Nodes keep people from it besides: see [operations](../operations/agent.md).

The programs stand in [test/clients](../../test/clients). How to set each client up: [use](../use).
`
