package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
)

// paper is an authority of certificates, for servers on loopback and for clients.
type paper struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  string
	n    int64
}

func newPaper(t *testing.T) *paper {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	p := &paper{key: key, n: 1}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "paper"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	must(t, err)
	p.cert, err = x509.ParseCertificate(der)
	must(t, err)
	p.pem = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return p
}

// certify gives a certificate with its key, in PEM.
func (p *paper) certify(t *testing.T, name string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	p.n++
	of := &x509.Certificate{SerialNumber: big.NewInt(p.n), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, of, p.cert, private.Public(), p.key)
	must(t, err)
	raw, err := x509.MarshalECPrivateKey(private)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}))
}

// file gives the path of the authority's certificate.
func (p *paper) file(t *testing.T) string { return p.write(t, p.pem) }

// write puts PEM into a file of its own.
func (p *paper) write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "paper.pem")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// client is an HTTP client that believes in the paper; with a certificate it shows
// that.
func (p *paper) client(t *testing.T, certificate, key string) *http.Client {
	t.Helper()
	how := &tls.Config{RootCAs: x509.NewCertPool()}
	how.RootCAs.AddCert(p.cert)
	if certificate != "" {
		pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
		must(t, err)
		how.Certificates = []tls.Certificate{pair}
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: how}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

var awsListener = regexp.MustCompile(`aws: \{address: "[^"]+"\}`)

// cloud starts another Carnet that plays AWS at an address: its local account is
// w's account at AWS, and it believes the same identity provider.
func (w *gatewayWorld) cloud(t *testing.T, p *paper, address string, change ...func(string) string) *installation {
	t.Helper()
	in := install(t, append(change, func(text string) string {
		return awsListener.ReplaceAllString(text, `aws: {tls: {certificate: aws.crt, key: aws.key}, address: "`+address+`"}`)
	}, replace(`{id: "777788889999", name: lake, kind: aws}`, `{id: "777788889999", name: lake, kind: local}`),
		replace(`{match: "*", account: "111122223333"`, `{match: "*", account: "777788889999"`))...)
	in.aws = address
	certificate, key := p.certify(t, "aws")
	in.write(t, "aws.crt", certificate)
	in.write(t, "aws.key", key)
	in.write(t, "corp.xml", string(w.idp.Metadata()))
	in.must(t, "authority", "apply", in.write(t, "authority.yaml", fmt.Sprintf(`accounts:
  "777788889999":
    saml_providers: [{name: corp, metadata_file: corp.xml}]
    roles:
      - name: reader
        trust_policy: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {Federated: "arn:aws:iam::777788889999:saml-provider/corp"},
          Action: "sts:AssumeRoleWithSAML", Condition: {StringEquals: {"SAML:aud": %q}}}]}
        policies: [{name: lake, document: {Version: "2012-10-17", Statement: [
          {Effect: Allow, Action: "s3:*", Resource: ["arn:aws:s3:::lake-one", "arn:aws:s3:::lake-one/open/*"]},
          {Effect: Allow, Action: "s3:ListAllMyBuckets", Resource: "*"}]}}]
`, w.base+"/saml/consume")))
	in.serve(t)
	return in
}

const reader = "arn:aws:iam::777788889999:role/reader"

// TestDeliveredByTheGateway: an account at AWS whose keys never leave the server.
// People are given gateway keys; AWS sees the role's own, and decides.
func TestDeliveredByTheGateway(t *testing.T) {
	t.Parallel()
	p, address := newPaper(t), freeAddress(t)
	w := newGatewayWorld(t,
		replace(`{id: "777788889999", name: lake, kind: aws}`, `{id: "777788889999", name: lake, kind: aws, deliver: gateway, sts: {endpoint: "https://`+address+`", ca: ca.pem}}`),
		replace("buckets:\n", "buckets:\n  - {match: lake-one, account: \"777788889999\", upstream: cloud}\n  - {match: lake-two, account: \"777788889999\", upstream: cloud, deliver: direct}\n"),
		replace("upstreams:\n", "upstreams:\n  - {name: cloud, kind: aws, endpoint: \"https://"+address+"\", ca: ca.pem}\n"),
		replace("accounts:", "egress: {allow: [127.0.0.0/8]}\naccounts:"),
		func(text string) string { return strings.ReplaceAll(text, "ca.pem", p.file(t)) })
	cloud := w.cloud(t, p, address)
	alice := w.enter(t, analyst, reader)
	fetch := func(body string) (k fetched) {
		k.status = ask(t, alice, http.MethodPost, w.base+"/api/v1/roles/credentials", body, &k)
		return k
	}
	direct := fetch(`{"role":"reader","bucket":"lake-two"}`)
	if direct.status != http.StatusOK || direct.SessionToken == "" || !strings.HasPrefix(direct.AccessKeyID, "ASIA") {
		t.Fatalf("a bucket that is delivered directly: %+v", direct)
	}
	own := awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: aws.String("https://" + address), UsePathStyle: true, RetryMaxAttempts: 1, HTTPClient: p.client(t, "", ""),
		Credentials: credentials.NewStaticCredentialsProvider(direct.AccessKeyID, direct.SecretAccessKey, direct.SessionToken)})
	if _, err := own.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("lake-one")}); err != nil {
		t.Fatal(err)
	}
	k := fetch(`{"role":"reader"}`)
	if k.status != http.StatusOK || k.SessionToken != "" || !strings.HasPrefix(k.AccessKeyID, "GWKA") || k.Expiration.After(time.Now().Add(time.Hour+time.Minute)) {
		t.Fatalf("%+v", k)
	}
	if again := fetch(`{"role":"reader","bucket":"lake-one"}`); again.AccessKeyID != k.AccessKeyID || again.SecretAccessKey != k.SecretAccessKey {
		t.Error("a second fetch gives another key while the first is young")
	}
	if local := fetch(`{"role":"analyst"}`); local.SessionToken == "" {
		t.Errorf("a local account's role: %+v", local)
	}
	c := w.s3(k.AccessKeyID, k.SecretAccessKey, "")
	put := func(c *awss3.Client, key, content string) error {
		_, err := c.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: aws.String("lake-one"), Key: aws.String(key), Body: strings.NewReader(content)})
		return err
	}
	if err := put(c, "open/x", strings.Repeat("content ", 100_000)); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, "AWS denies", put(c, "closed/x", "y"), "AccessDenied", "assumed-role/reader/alice")
	if out, err := c.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: aws.String("lake-one")}); err != nil || len(out.Contents) != 1 {
		t.Errorf("%v, %v", out, err)
	}
	if out, err := own.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("lake-one"), Key: aws.String("open/x")}); err != nil || *out.ContentLength != 800_000 {
		t.Errorf("%v, %v", out, err)
	} else {
		_ = out.Body.Close()
	}
	wantRefusal(t, "the key is nothing at AWS", func() error {
		_, err := awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: aws.String("https://" + address), UsePathStyle: true, RetryMaxAttempts: 1, HTTPClient: p.client(t, "", ""),
			Credentials: credentials.NewStaticCredentialsProvider(k.AccessKeyID, k.SecretAccessKey, "")}).ListBuckets(t.Context(), &awss3.ListBucketsInput{})
		return err
	}(), "InvalidAccessKeyId")
	_, err := c.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("sales"), Key: aws.String("y")})
	wantRefusal(t, "a local bucket with a role at AWS", err, "AccessDenied", "not where the bucket is")
	// Roles of both accounts in one key: the owner of the bucket decides.
	mixed := w.with(w.key(t, "--person", "alice", "--network", "127.0.0.1", "--role", analyst, "--role", reader))
	if err := put(mixed, "open/y", "y"); err != nil {
		t.Error(err)
	}
	if err := puts(t, mixed, "y"); err != nil {
		t.Error(err)
	}
	// Who connects to an engine has a gateway key of their own, and AWS's stay here.
	w.must(t, "cluster", "add", "lab", "--meta")
	m := w.join(t, "lab", "n1")
	var token struct{ Token string }
	if status := ask(t, alice, http.MethodPost, w.base+"/api/v1/id-tokens", `{"audience":"jdbc"}`, &token); status != http.StatusOK {
		t.Fatal(status)
	}
	var connected nodedoc.JDBCConnection
	m.works(t, "jdbc", nodedoc.JDBC{User: "alice", Password: token.Token, Role: "reader"}, &connected)
	if j := connected.Keys; !strings.HasPrefix(j.AccessKeyID, "GWKA") || j.SessionToken != "" || j.S3 != "http://"+w.aws || j.STS != "" {
		t.Errorf("%+v", j)
	}
	if err := put(w.s3(connected.Keys.AccessKeyID, connected.Keys.SecretAccessKey, ""), "open/z", "z"); err != nil {
		t.Error(err)
	}
	w.must(t, "revoke", "person", "alice")
	soon(t, "that alice was revoked", func() bool { return put(c, "open/x", "y") != nil && put(mixed, "open/x", "y") != nil })
	wantRefusal(t, "after alice was revoked", put(c, "open/x", "y"), "ExpiredToken")
	if strings.Contains(w.log.String(), direct.SessionToken) || cloud == nil {
		t.Error("AWS's session token is in the log")
	}
}

// TestBoundToACertificate: a key that is bound to a client certificate works over a
// connection that proved it, and over no other.
func TestBoundToACertificate(t *testing.T) {
	t.Parallel()
	p := newPaper(t)
	certificate, private := p.certify(t, "trino")
	other, otherKey := p.certify(t, "another")
	server, serverKey := p.certify(t, "server")
	w := newGatewayWorld(t, func(text string) string {
		return strings.Replace(text, "  aws: {address", "  aws: {tls: {certificate: "+p.write(t, server)+", key: "+p.write(t, serverKey)+"}, client_ca: "+p.file(t)+", address", 1)
	})
	k := w.key(t, "--person", "alice", "--role", analyst, "--certificate", p.write(t, certificate))
	if len(k.GatewayKey.Certificates) != 1 {
		t.Fatal(k)
	}
	over := func(certificate, key string) error {
		return gets(t, awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: aws.String("https://" + w.aws), UsePathStyle: true, RetryMaxAttempts: 1, HTTPClient: p.client(t, certificate, key),
			Credentials: credentials.NewStaticCredentialsProvider(k.GatewayKey.AccessKeyID, k.SecretAccessKey, "")}), "nothing")
	}
	wantRefusal(t, "with the certificate", over(certificate, private), "NoSuchBucket")
	wantRefusal(t, "with another's certificate", over(other, otherKey), "AccessDenied", "another client certificate")
	wantRefusal(t, "without", over("", ""), "AccessDenied", "the connection has none")
	foreign := newPaper(t)
	forged, forgedKey := foreign.certify(t, "trino")
	if err := over(forged, forgedKey); err == nil || strings.Contains(err.Error(), "NoSuch") {
		t.Errorf("a certificate of another authority: %v", err)
	}
}
