package clients

const head = `# S3 clients with Carnet's gateway

Made by ` + "`make interop-clients CLIENT_FLAGS=-update`" + ` from what the clients did. A cell speaks of four runs of a client: over http and over https with a private CA, each with
session keys (of a role, by STS) and with static keys (of an IAM user). Where all four agree it is one word.

- **pass**: the client says so, the bytes that the store then holds are the right ones, and so are those that the client read back.
- **client can't**: the client has no such thing, or refuses by itself; its own words stand below.
- **fail**: anything else.

What each operation is: *put* an object from memory (command lines: a file); *stream* from a source that can be read once and not rewound (a pipe for command lines); *multipart*, 14 MiB in
parts of 5 MiB where the client lets the size be chosen; *copy* at the store, from a key with odd characters; *presign* a link, which another program then opens; *list* 10,000 keys;
*odd keys*: put, read and list each of 21 keys with spaces, ` + "`` + % # ? & ' \" = : ~ , ; @ $ ! ( ) [ ] { } < > | ^ ` * \\ ``" + `, letters beyond ASCII, an emoji, dots at the end, digits first, and 1,000 bytes.

`

const notesHead = `In the clients' own words:

`

const foot = `
AWS's command line v2 is the official build, from the npm package in which AWS ships it for Lambda; Debian's is older, and built from source. Hadoop runs with the modules of AWS's SDK that S3A needs, of the release that
it was built with; it copies at the store where it renames. DuckDB put and listed the odd keys as [its page](../use/duckdb.md) says. The programs stand in [test/clients](../../test/clients). How to set each client up: [use](../use).
`
