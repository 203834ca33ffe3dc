package config_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/app/config"
)

const sample = "../../../docs/samples/carnet.yaml"

const minimal = `
base_url: http://127.0.0.1:8480
data: /srv/carnet
same_host: accept
secrets: {key_encryption_key: /etc/carnet/kek}
`

func parse(t *testing.T, src string) *config.Config {
	t.Helper()
	c, err := config.Parse("carnet.yaml", []byte(src), "/etc/carnet")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSampleLoads(t *testing.T) {
	t.Parallel()
	c, err := config.Load(sample)
	if err != nil {
		t.Fatal(err)
	}
	if c.SAMLURL() != "https://carnet.example.com/saml/consume" || c.AWSHost() != "s3.example.com" || len(c.Accounts) != 3 {
		t.Errorf("sample read as %+v", c)
	}
}

// With every commented key switched on, the sample holds each key that the
// types know: nothing can be set that it doesn't show.
func TestSampleShowsEveryKey(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	full := regexp.MustCompile(`(?m)^(\s*)#: `).ReplaceAllString(string(src), "$1")
	both := strings.Replace(full, "  postgresql_dsn_file: /etc/carnet/postgresql.dsn\n", "", 1)
	if both == full {
		t.Fatal("the sample does not show postgresql_dsn_file")
	}
	c := parse(t, both)
	if c.SameHost != config.Accepted || len(c.Egress.Allow) != 2 {
		t.Errorf("commented keys were not switched on: %+v", c)
	}
	for _, key := range allKeys(reflect.TypeFor[config.Config]()) {
		if !regexp.MustCompile(`(?m)(^|[\s{])` + key + `:`).MatchString(full) {
			t.Errorf("the sample does not show the key %s", key)
		}
	}
}

func allKeys(t reflect.Type) []string {
	var out []string
	switch t.Kind() {
	case reflect.Slice:
		return allKeys(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if key, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); key != "" {
				out = append(append(out, key), allKeys(t.Field(i).Type)...)
			}
		}
	}
	return out
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c := parse(t, minimal+`
accounts: [{id: 012345678901, name: cn, kind: aws, region: cn-north-1}]
upstreams: [{name: disk, kind: embedded}]
`)
	want := &config.Config{
		BaseURL: "http://127.0.0.1:8480", Region: "us-east-1", Data: "/srv/carnet", SameHost: config.Accepted,
		Listen: config.Listen{
			Web: config.Listener{Address: "127.0.0.1:8480"},
			AWS: config.AWSListener{Address: "127.0.0.1:8481", URL: "http://127.0.0.1:8481", FastPath: config.On},
		},
		Faces:    []config.Face{config.FaceSTS, config.FaceIAM, config.FaceS3},
		Database: config.Database{SQLite: "/srv/carnet/carnet.db"},
		Secrets:  config.Secrets{KeyEncryptionKey: "/etc/carnet/kek"},
		IAM:      config.IAM{MinimumDuration: 15 * time.Minute},
		OIDC: config.OIDC{Signing: "RS256", Rotation: config.Rotation{
			Every: 90 * 24 * time.Hour, Prepublish: 24 * time.Hour, Grace: 24 * time.Hour}},
		LoginSession: config.LoginSession{Lifetime: 12 * time.Hour},
		AccessLog:    config.AccessLog{Format: config.AccessJSON},
		Audit:        config.Audit{Reads: config.Off, Writes: config.Off, Strict: config.Off, Retention: config.DefaultRetention, Hold: config.DefaultHold},
		Accounts: []config.Account{{
			ID: "012345678901", Name: "cn", Kind: config.AccountAWS, Exchanges: []config.Exchange{config.ExchangeSAML},
			Bridge: config.Bridge{Cap: 12 * time.Hour}, Tags: config.On, SourceIdentity: config.On,
			Deliver: config.DeliverDirect, Region: "cn-north-1", Partition: "aws-cn", STS: config.STS{Parallel: 32},
		}},
		Upstreams: []config.Upstream{{
			Name: "disk", Kind: config.UpstreamEmbedded, Folder: "/srv/carnet/store/disk", Keys: config.KeysFilesystem,
		}},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestRelativePathsStartFromTheFile(t *testing.T) {
	t.Parallel()
	c := parse(t, "base_url: http://localhost:8480\nsame_host: accept\ndata: ../lib\nsecrets: {key_encryption_key: kek}\n")
	if c.Data != "/etc/lib" || c.Secrets.KeyEncryptionKey != "/etc/carnet/kek" || c.Database.SQLite != "/etc/lib/carnet.db" {
		t.Errorf("got %q, %q, %q", c.Data, c.Secrets.KeyEncryptionKey, c.Database.SQLite)
	}
}

func TestBucketRules(t *testing.T) {
	t.Parallel()
	c := parse(t, minimal+`
accounts: [{id: "111122223333", name: a, kind: local}, {id: "444455556666", name: b, kind: local}]
upstreams: [{name: disk, kind: embedded}]
buckets:
  - {match: hr-pay, account: "444455556666", upstream: disk}
  - {match: "hr-*", account: "111122223333", upstream: disk}
  - {match: "*-lab-*-x", account: "444455556666", upstream: disk}
`)
	for name, account := range map[string]string{
		"hr-pay": "444455556666", "hr-payroll": "111122223333", "hr-": "111122223333", "hr": "",
		"a-lab-b-x": "444455556666", "a-lab-b-x-lab-x": "444455556666", "a-lab-x": "", "-lab--x": "444455556666", "xhr-pay": "",
	} {
		b, ok := c.BucketRule(name)
		if b.Account != account || ok != (account != "") {
			t.Errorf("%s: got account %q, found %v; want %q", name, b.Account, ok, account)
		}
	}
}

func TestNetworks(t *testing.T) {
	t.Parallel()
	c := parse(t, minimal+"egress: {allow: [10.0.0.0/8, 192.168.1.9, \"fd00::/8\"]}\n")
	for i, want := range []string{"10.0.0.0/8", "192.168.1.9/32", "fd00::/8"} {
		if got := c.Egress.Allow[i].Prefix; got != netip.MustParsePrefix(want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	accounts := minimal + "accounts: [{id: \"111122223333\", name: a, kind: local}, {id: \"777788889999\", name: lake, kind: aws}]\n"
	disk := accounts + "upstreams: [{name: disk, kind: embedded}]\n"
	s3 := func(more string) string {
		return minimal + "upstreams: [{name: m, kind: s3, access_key_file: a, secret_key_file: s, " + more + "}]\n"
	}
	for name, tc := range map[string]struct{ src, want string }{
		"unknown key":         {minimal + "regoin: x\n", `line 6: regoin: unknown key: did you mean "region"?`},
		"unknown, none near":  {minimal + "listen: {zzzzzz: 1}\n", `line 6: listen.zzzzzz: unknown key: known here are web, aws`},
		"unknown in a list":   {minimal + "accounts:\n  - nane: a\n", `line 7: accounts[0].nane: unknown key: did you mean "name"?`},
		"key twice":           {minimal + "region: a\nregion: b\n", `line 7: region: given twice, first in line 6`},
		"alias":               {minimal + "region: &a x\n", "line 6: region: anchors and aliases are not supported"},
		"not a mapping":       {minimal + "listen: here\n", "line 6: listen: want keys and values (web, aws, proxies)"},
		"not a list":          {minimal + "accounts: a\n", "line 6: accounts: want a list"},
		"not one value":       {minimal + "region: [a]\n", "line 6: region: want one value"},
		"not a number":        {minimal + "accounts: [{id: 012345678901, name: a, kind: aws, sts: {parallel: many}}]\n", `"many" is not a whole number`},
		"too parallel":        {minimal + "accounts: [{id: 012345678901, name: a, kind: aws, sts: {parallel: 1000}}]\n", "accounts[0].sts.parallel: 1000: want 1 to 128"},
		"assertions in clear": {minimal + "accounts: [{id: 012345678901, name: a, kind: aws, sts: {endpoint: \"http://sts.example.com\"}}]\n", "is not an address such as https://sts"},
		"denies at home":      {minimal + "accounts: [{id: 012345678901, name: a, kind: local, revocation_role: \"arn:aws:iam::012345678901:role/r\"}]\n", "accounts[0].revocation_role: is for kind: aws"},
		"denies elsewhere":    {minimal + "accounts: [{id: 012345678901, name: a, kind: aws, revocation_role: \"arn:aws:iam::111122223333:role/r\"}]\n", "is not a role of account 012345678901"},
		"denies by nobody":    {minimal + "accounts: [{id: 012345678901, name: a, kind: aws, revocation_role: r}]\n", "accounts[0].revocation_role"},
		"IAM for nothing":     {minimal + "accounts: [{id: 012345678901, name: a, kind: aws, iam: {endpoint: \"https://iam.example.com\"}}]\n", "go with revocation_role"},
		"IAM in clear":        {minimal + "accounts: [{id: 012345678901, name: a, kind: aws, revocation_role: \"arn:aws:iam::012345678901:role/r\", iam: {endpoint: \"http://iam.example.com\"}}]\n", "is not an address such as https://iam"},
		"a wide margin":       {minimal + "accounts: [{id: 012345678901, name: a, kind: aws, revocation_role: \"arn:aws:iam::012345678901:role/r\", revocation_margin: 1h}]\n", "accounts[0].revocation_margin: 1h0m0s: want 1s to 10m0s"},
		"local STS elsewhere": {minimal + "accounts: [{id: 012345678901, name: a, kind: local, sts: {endpoint: \"https://sts.example.com\"}}]\n", "accounts[0].sts: is for kind: aws"},
		"not a duration":      {minimal + "login_session: {lifetime: long}\n", `line 6: login_session.lifetime: "long" is not a duration`},
		"no duration":         {minimal + "login_session: {lifetime: 0s}\n", `"0s" is not more than nothing`},
		"half audited":        {minimal + "audit: {reads: some}\n", `line 6: audit.reads: "some": want on or off`},
		"metrics for all":     {minimal + "telemetry: {metrics: \"0.0.0.0:9464\"}\n", "line 6: telemetry.metrics: \"0.0.0.0:9464\" is not on loopback"},
		"metrics on the web":  {minimal + "telemetry: {metrics: \"127.0.0.1:8480\"}\n", "is another listener's address too"},
		"metrics nowhere":     {minimal + "telemetry: {metrics: here}\n", `"here" is not host:port`},
		"spans in the open":   {minimal + "telemetry: {traces: {endpoint: \"http://otel.example.com:4318\"}}\n", "sends spans in the open"},
		"spans to a path":     {minimal + "telemetry: {traces: {endpoint: \"https://otel.example.com/v1/traces\"}}\n", "want scheme, host and port only"},
		"sample of nothing":   {minimal + "telemetry: {traces: {sample: 0.5}}\n", "line 6: telemetry.traces.endpoint: missing"},
		"more than all":       {minimal + "telemetry: {traces: {endpoint: \"http://127.0.0.1:4318\", sample: 1.5}}\n", `"1.5" is not a share from 0 to 1`},
		"no such log format":  {minimal + "access_log: {format: clf}\n", `line 6: access_log.format: "clf": want json, s3 or off`},
		"S3 log without file": {minimal + "access_log: {format: s3}\n", "line 6: access_log.file: missing"},
		"no log with a file":  {minimal + "access_log: {format: \"off\", file: a}\n", "line 6: access_log.file: nothing is written"},
		"too long":            {minimal + "login_session: {lifetime: 48h}\n", "48h0m0s: want 5m to 24h"},
		"empty":               {"", "the file is empty"},
		"two documents":       {minimal + "---\na: b\n", "more than one YAML document"},
		"not yaml":            {"a: [", "did not find expected node content"},
		"no base_url":         {"data: /x\n", "base_url: missing"},
		"open http":           {"base_url: http://carnet.example.com\n", "http is for loopback only"},
		"path in base_url":    {"base_url: https://example.com/carnet\n", "want scheme, host and port only"},
		"password in address": {"base_url: https://u:p@example.com\n", "want scheme, host and port only"},
		"not an address":      {"base_url: carnet.example.com\n", "is not an address such as"},
		"no data":             {"base_url: https://a.example\n", "data: missing"},
		"open without tls":    {minimal + "listen: {web: {address: \"0.0.0.0:8480\"}}\n", `line 6: listen.web.address: "0.0.0.0:8480" is not on loopback, so it needs tls`},
		"half tls":            {minimal + "listen: {web: {tls: {key: k}}}\n", "listen.web.tls: want both certificate and key"},
		"no port":             {minimal + "listen: {aws: {address: localhost}}\n", "is not host:port"},
		"same address":        {minimal + "listen: {aws: {address: \"127.0.0.1:8480\"}}\n", "is the web listener's address too"},
		"no aws url": {minimal + "listen: {aws: {address: \":8481\", tls: {certificate: c, key: k}}}\n",
			"listen.aws.url: missing: the listener answers on every address"},
		"same host":                {strings.Replace(minimal, "same_host: accept\n", "", 1), "cookies ignore ports"},
		"same host with a dot":     {"base_url: https://a.example\ndata: /d\nlisten: {aws: {url: \"https://A.example.:8481\"}}\n", "cookies ignore ports"},
		"pages as a bucket":        {"base_url: https://login.s3.example.com\ndata: /d\nlisten: {aws: {url: \"https://s3.example.com:8481\"}}\n", "is the one of a bucket"},
		"same host misspelt":       {strings.Replace(minimal, "accept", "yes", 1), `"yes": the only value is accept`},
		"no face":                  {minimal + "faces: []\n", "faces: empty"},
		"static keys":              {minimal + "static_keys: accept\n", `static_keys: "accept": the only value is allow`},
		"assume-role alone":        {minimal + "accounts: [{id: \"777788889999\", name: a, kind: aws, exchanges: [assume-role]}]\n", "list saml or web-identity beside it"},
		"assume-role at home":      {minimal + "accounts: [{id: \"777788889999\", name: a, kind: local, exchanges: [saml, assume-role]}]\n", "no identity of its own in a local account"},
		"half an AWS identity":     {strings.Replace(minimal, "kek}", "kek, aws: {access_key_file: /a}}", 1), "stand together"},
		"an idle AWS identity":     {strings.Replace(minimal, "kek}", "kek, aws: {access_key_file: /a, secret_key_file: /b}}", 1), "nothing would use this identity"},
		"iam listener, no face":    {minimal + "faces: [s3]\niam: {listen: {address: \"127.0.0.1:8482\"}}\n", "iam is not among the faces"},
		"iam listener, taken":      {minimal + "iam: {listen: {address: \"127.0.0.1:8481\"}}\n", "is another listener's address too"},
		"iam listener, open":       {minimal + "iam: {listen: {address: \"10.0.0.1:8482\"}}\n", "it needs tls"},
		"loopback providers, open": {"base_url: https://a.example\ndata: /d\nlisten: {aws: {address: \":8481\", url: \"https://s3.b.example\", tls: {certificate: c, key: k}}}\niam: {loopback_providers: true}\n", "iam.loopback_providers"},
		"quota":                    {minimal + "iam: {quotas: {roles: -1}}\n", "iam.quotas"},
		"iam listener, url":        {minimal + "iam: {listen: {url: \"https://iam.example\"}}\n", "iam.listen.address: missing"},
		"unknown face":             {minimal + "faces: [ec2]\n", `"ec2" is not a face`},
		"face twice":               {minimal + "faces: [s3, s3]\n", `faces[1]: "s3" stands twice`},
		"two databases":            {minimal + "database: {sqlite: a, postgresql_dsn_file: b}\n", "want one of sqlite and postgresql_dsn_file"},
		"no key":                   {"base_url: https://a.example\ndata: /d\n", "secrets.key_encryption_key: missing"},
		"key in the data":          {"base_url: https://a.example\ndata: /d\nsecrets: {key_encryption_key: /d/x/../kek}\n", "lies in the data folder"},
		"short life, open":         {"base_url: https://a.example\ndata: /d\nlisten: {web: {address: \":8480\", tls: {certificate: c, key: k}}}\niam: {minimum_duration: 5s}\n", "only when both listeners are on loopback"},
		"account number":           {minimal + "accounts: [{id: 1, name: a, kind: local}]\n", `accounts[0].id: "1" is not an account number`},
		"account twice":            {minimal + "accounts: [{id: 111122223333, name: a, kind: local}, {id: 111122223333, name: A, kind: local}]\n", "accounts[1].id: 111122223333 stands twice"},
		"name twice":               {minimal + "accounts: [{id: 111122223333, name: a, kind: local}, {id: 111122223333, name: A, kind: local}]\n", `accounts[1].name: "A" stands twice`},
		"name with a slash":        {minimal + "accounts: [{id: 111122223333, name: ../a, kind: local}]\n", `"../a": want 1 to 64 letters`},
		"account kind":             {minimal + "accounts: [{id: 111122223333, name: a}]\n", `accounts[0].kind: "": want local`},
		"exchange":                 {minimal + "accounts: [{id: 111122223333, name: a, kind: local, exchanges: [kerberos]}]\n", "is not an exchange of this release"},
		"exchange twice":           {minimal + "accounts: [{id: 111122223333, name: a, kind: local, exchanges: [saml, saml]}]\n", "stands twice"},
		"bridge to nowhere":        {minimal + "accounts: [{id: 111122223333, name: a, kind: local, bridge: {renew: accept}}]\n", "list both under exchanges"},
		"bridge allowed":           {minimal + "accounts: [{id: 111122223333, name: a, kind: local, bridge: {renew: allow}}]\n", "the only value is accept"},
		"bridge cap":               {minimal + "accounts: [{id: 111122223333, name: a, kind: local, bridge: {cap: 48h}}]\n", "want up to 24h"},
		"tags":                     {minimal + "accounts: [{id: 111122223333, name: a, kind: local, tags: yes}]\n", "want on or off"},
		"issuer discovery":         {minimal + "oidc: {public_url: \"https://a.example/.well-known/openid-configuration\"}\n", "is a discovery address"},
		"issuer query":             {minimal + "oidc: {public_url: \"https://a.example/?x=1\"}\n", "is not an address such as"},
		"issuer http":              {minimal + "oidc: {account_url: \"http://a.example\"}\n", "http is for loopback only"},
		"account level":            {minimal + "oidc: {account_id: \"a/b\"}\n", "oidc.account_id"},
		"signing":                  {minimal + "oidc: {signing: HS256}\n", "want RS256 or ES256"},
		"device flow":              {minimal + "oidc: {device_flow: off}\n", "the only value is refuse"},
		"audience":                 {minimal + "oidc: {audiences: [a, a]}\n", "stands twice"},
		"publish both":             {minimal + "oidc: {publish: {folder: a, bucket: b}}\n", "not both"},
		"publish unseen":           {minimal + "oidc: {publish: {folder: a}}\n", "oidc.public_url: missing"},
		"publish nowhere":          {minimal + "oidc: {publish: {upstream: a, bucket: b}}\n", "there is no upstream"},
		"publish half":             {minimal + "oidc: {publish: {bucket: b}}\n", "want folder, or upstream and bucket"},
		"publish inside":           {disk + "oidc: {public_url: \"https://k.example\", publish: {upstream: disk, bucket: b}}\n", "nobody but this server reaches"},
		"publish under a store":    {accounts + "upstreams: [{name: disk, kind: embedded, folder: /srv/store}]\noidc: {public_url: \"https://k.example\", publish: {folder: /srv/store/keys}}\n", "where roles can write"},
		"rotation":                 {minimal + "oidc: {rotation: {every: 1h, prepublish: 2h}}\n", "want more than prepublish"},
		"rotation too fast":        {minimal + "oidc: {rotation: {grace: 1ms}}\n", "oidc.rotation.grace"},
		"no exchange":              {minimal + "accounts: [{id: 111122223333, name: a, kind: local, exchanges: []}]\n", "without an exchange nobody can get keys"},
		"deliver":                  {minimal + "accounts: [{id: 111122223333, name: a, kind: local, deliver: relay}]\n", "want direct (the role's own keys) or gateway"},
		"deliver a local account":  {minimal + "accounts: [{id: 111122223333, name: a, kind: local, deliver: gateway}]\n", "accounts[0].deliver: gateway is for accounts of kind aws"},
		"deliver without a bucket": {minimal + "accounts: [{id: 111122223333, name: a, kind: aws, deliver: gateway}]\n", "such keys would reach nothing"},
		"deliver without s3":       {minimal + "faces: [sts]\naccounts: [{id: 111122223333, name: a, kind: aws, deliver: gateway}]\n", "s3 is not among the faces"},
		"deliver local bucket":     {disk + "buckets: [{match: s, account: \"111122223333\", upstream: disk, deliver: direct}]\n", "buckets[0].deliver: is for buckets of aws accounts"},
		"client ca without tls":    {minimal + "listen: {aws: {client_ca: ca.pem}}\n", "client certificates need tls"},
		"client ca for iam":        {minimal + "iam: {listen: {address: \"127.0.0.1:9\", client_ca: ca.pem}}\n", "iam.listen.client_ca: only listen.aws"},
		"fast path":                {minimal + "listen: {aws: {fast_path: yes}}\n", "want on or off"},
		"fast path for iam":        {minimal + "iam: {listen: {address: \"127.0.0.1:9\", fast_path: \"off\"}}\n", "iam.listen.fast_path: only listen.aws"},
		"everybody's network":      {minimal + "gateway_keys: {networks: [\"::/0\"]}\n", "so wide that it binds to nothing"},
		"partition":                {minimal + "accounts: [{id: 111122223333, name: a, kind: local, partition: x}]\n", "want aws, aws-cn or aws-us-gov"},
		"bits beyond the mask":     {minimal + "egress: {allow: [10.1.0.0/8]}\n", "did you mean 10.0.0.0/8"},
		"not a network":            {minimal + "egress: {allow: [intranet]}\n", "neither an address nor a network"},
		"upstream kind":            {minimal + "upstreams: [{name: u}]\n", "want embedded"},
		"upstream twice":           {minimal + "upstreams: [{name: u, kind: embedded}, {name: U, kind: embedded}]\n", "stands twice"},
		"folder twice":             {minimal + "upstreams: [{name: u, kind: embedded, folder: /s}, {name: v, kind: embedded, folder: /s/}]\n", "is the folder of u too"},
		"embedded endpoint":        {minimal + "upstreams: [{name: u, kind: embedded, endpoint: \"https://m\"}]\n", "upstreams[0].endpoint: is for kind: s3"},
		"embedded literal":         {minimal + "upstreams: [{name: u, kind: embedded, keys: literal}]\n", "the embedded store keeps files"},
		"s3 folder":                {s3("folder: x"), "upstreams[0].folder: is for kind: embedded"},
		"s3 endpoint":              {s3("keys: literal"), "upstreams[0].endpoint: missing"},
		"s3 keys":                  {s3("endpoint: \"https://m\""), "want literal"},
		"s3 plain http":            {s3("keys: literal, endpoint: \"http://m:9000\""), "sends objects in the open"},
		"s3 endpoint with user":    {s3("keys: literal, endpoint: \"https://a:b@m\""), "keys go into access_key_file"},
		"s3 endpoint with path":    {s3("keys: literal, endpoint: \"https://m/x\""), "want scheme, host and port only"},
		"s3 encryption":            {s3("encryption: [aes]"), "want AES256, aws:kms or customer-key"},
		"s3 keys in the open":      {s3("endpoint: \"http://m\", plain_http: accept, encryption: [customer-key]"), "which needs https"},
		"s3 storage class":         {s3("storage_classes: [COLD]"), `"COLD": want one of STANDARD`},
		"embedded encryption":      {minimal + "upstreams: [{name: u, kind: embedded, encryption: [AES256]}]\n", "the embedded store has neither"},
		"s3 no keys":               {minimal + "upstreams: [{name: u, kind: s3}]\n", "access_key_file: missing"},
		"bucket name":              {disk + "buckets: [{match: Sales, account: \"111122223333\", upstream: disk}]\n", `"Sales" is not a bucket name`},
		"bucket account":           {disk + "buckets: [{match: s, account: \"1\", upstream: disk}]\n", `"1" is not one of the accounts`},
		"bucket at aws":            {disk + "buckets: [{match: s, account: \"777788889999\", upstream: disk}]\n", "is an aws account"},
		"service key for aws":      {accounts + "upstreams: [{name: s3, kind: aws, access_key_file: k}]\n", "each role's own keys"},
		"local bucket at aws":      {accounts + "upstreams: [{name: s3, kind: aws}]\nbuckets: [{match: s, account: \"111122223333\", upstream: s3}]\n", "is a local account"},
		"another partition":        {accounts + "upstreams: [{name: s3, kind: aws, region: cn-north-1}]\nbuckets: [{match: s, account: \"777788889999\", upstream: s3}]\n", "is in partition aws, but"},
		"aws in the open":          {accounts + "upstreams: [{name: s3, kind: aws, endpoint: \"http://s3.example.com\"}]\n", "sends objects in the open"},
		"aws with plain_http":      {accounts + "upstreams: [{name: s3, kind: aws, plain_http: accept}]\n", "encrypted ways alone"},
		"addressing":               {accounts + "upstreams: [{name: s3, kind: aws, addressing: host}]\n", "want path"},
		"half a client":            {accounts + "upstreams: [{name: s3, kind: aws, client: {key: k}}]\n", "want both certificate and key"},
		"bucket endpoint":          {accounts + "upstreams: [{name: s3, kind: aws, bucket_endpoints: {lake: \"https://x/y\"}}]\n", "upstreams[0].bucket_endpoints[lake]: \"https://x/y\": want scheme"},
		"bucket endpoint twice":    {accounts + "upstreams: [{name: s3, kind: aws, bucket_endpoints: {lake: \"https://x\", lake: \"https://y\"}}]\n", "given twice"},
		"bucket endpoints, list":   {accounts + "upstreams: [{name: s3, kind: aws, bucket_endpoints: [a]}]\n", "want names and values"},
		"bucket upstream":          {disk + "buckets: [{match: s, account: \"111122223333\", upstream: disc}]\n", `did you mean "disk"?`},
		"bucket no upstream":       {accounts + "buckets: [{match: s, account: \"111122223333\", upstream: disc}]\n", "none is configured"},
		"shadowed rule": {disk + "buckets: [{match: \"h*\", account: \"111122223333\", upstream: disk}, {match: \"hr-*\", account: \"111122223333\", upstream: disk}]\n",
			`buckets[1].match: "hr-*" is never reached: "h*" above covers it`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Parse("carnet.yaml", []byte(tc.src), "/etc/carnet")
			var p *config.Problems
			if !errors.As(err, &p) {
				t.Fatalf("got %v, want problems", err)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got:\n%v\nwant in it:\n%s", err, tc.want)
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := config.Parse("carnet.yaml", []byte("regoin: x\ndata: /d\nfaces: [ec2]\n"), "/")
	const want = "carnet.yaml can't be used:\n" +
		"  base_url: missing: give the address that people open, such as https://carnet.example.com\n" +
		"  secrets.key_encryption_key: missing: name a file that holds the key; the server makes it at its first start on a new database\n" +
		"  line 1: regoin: unknown key: did you mean \"region\"?\n" +
		"  line 3: faces[0]: \"ec2\" is not a face: want sts, iam or s3"
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

func TestSecretFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	s, err := config.ReadSecret(write("good", "s3cr3t\n", 0o600))
	if err != nil || s.Reveal() != "s3cr3t" {
		t.Errorf("good: %v", err)
	}
	for name, want := range map[string]string{
		write("open", "s3cr3t", 0o640):  "can be read by others (mode 0640): run chmod 600",
		write("blank", " \n", 0o600):    "holds no secret",
		dir:                             "is not a regular file",
		filepath.Join(dir, "not-there"): "no such file",
	} {
		if _, err := config.ReadSecret(name); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	c := &config.Config{Database: config.Database{PostgreSQLDSNFile: filepath.Join(dir, "open")}}
	c.Listen.Web.TLS.Certificate = filepath.Join(dir, "no.crt")
	err = c.CheckFiles()
	if err == nil || !strings.Contains(err.Error(), "no.crt") || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("CheckFiles: got %v, want both problems", err)
	}
}

// docs/configuration.md names every key, and the defaults as they are.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	for _, key := range allKeys(reflect.TypeFor[config.Config]()) {
		if !regexp.MustCompile(`\b` + key + `\b`).MatchString(doc) {
			t.Errorf("the key %s is missing", key)
		}
	}
	for _, row := range []string{
		"| `region` | `" + config.DefaultRegion + "` |",
		"| `listen.web.address` | `" + config.DefaultWebAddress + "` |",
		"| `listen.aws.address` | `" + config.DefaultAWSAddress + "` |",
		"| `login_session.lifetime` | `12h` |",
		"| `listen.aws.fast_path` | `on` |",
		"| `access_log.format` | `json` |",
		"| `audit.reads`, `audit.writes` | `off` |",
		"| `audit.strict` | `off` |",
		"| `audit.retention` | `9600h` |",
		"| `audit.hold` | `720h` |",
		"| `telemetry.traces.sample` | `0.01` |",
		"| `iam.minimum_duration` | `15m` |",
		"| `oidc.signing` | `" + config.DefaultSigning + "` |",
		"| `oidc.rotation.every` | `2160h` |",
		"| `oidc.rotation.prepublish` | `24h` |",
		"| `oidc.rotation.grace` | `24h` |",
		"| `bridge.cap` | `12h` |",
	} {
		if !strings.Contains(doc, row) {
			t.Errorf("the row %s is missing", row)
		}
	}
	if config.DefaultLoginSession != 12*time.Hour || config.DefaultMinimumDuration != 15*time.Minute {
		t.Error("the defaults changed: change the documentation and this test")
	}
}

// TestOwnPortIsLeftOut: browsers leave the scheme's own port out of the Host
// header, and pages compare that with base_url.
func TestOwnPortIsLeftOut(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"https://carnet.example.com:443/":  "https://carnet.example.com",
		"https://carnet.example.com:80":    "https://carnet.example.com:80",
		"https://carnet.example.com:8443":  "https://carnet.example.com:8443",
		"https://[2001:db8::443]":          "https://[2001:db8::443]",
		"http://127.0.0.1:80":              "http://127.0.0.1",
		"HTTPS://carnet.example.com:443":   "https://carnet.example.com",
		"https://carnet.example.com:44443": "https://carnet.example.com:44443",
	} {
		c := parse(t, strings.Replace(minimal, "http://127.0.0.1:8480", given, 1)+"listen: {aws: {url: '"+given+"'}}\n")
		if c.BaseURL != want || c.Listen.AWS.URL != want {
			t.Errorf("%s is read as base_url %s and AWS URL %s, want %s", given, c.BaseURL, c.Listen.AWS.URL, want)
		}
	}
}

// TestSystemdCredential: its access list shows up as a group that may read,
// and only in systemd's own folder.
func TestSystemdCredential(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	for path, want := range map[string]bool{
		filepath.Join(dir, "dsn"): true, filepath.Join(elsewhere, "dsn"): false,
	} {
		if err := os.WriteFile(path, []byte("s3cr3t"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o440); err != nil {
			t.Fatal(err)
		}
		s, err := config.ReadSecret(path)
		if (err == nil) != want || want && s.Reveal() != "s3cr3t" {
			t.Errorf("%s: %v, want read %v", path, err, want)
		}
		c := &config.Config{Database: config.Database{PostgreSQLDSNFile: path}}
		if err := c.CheckFiles(); (err == nil) != want {
			t.Errorf("CheckFiles on %s: %v, want taken %v", path, err, want)
		}
	}
}
