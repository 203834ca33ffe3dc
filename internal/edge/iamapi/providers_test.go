package iamapi_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/service/iam"
	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

func metadata(t testing.TB) *string {
	text := string(forge.NewECDSA(t, time.Now()).Metadata())
	return aws.String(text + strings.Repeat("\n", max(0, 1000-len(text))))
}

func rsaKey(t testing.TB, bits int) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// TestSAMLProviders walks a SAML provider through its life.
func TestSAMLProviders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c, ctx := w.admin(t), t.Context()
	document := metadata(t)
	made := must[*awsiam.CreateSAMLProviderOutput](t)(c.CreateSAMLProvider(ctx, &awsiam.CreateSAMLProviderInput{
		Name: aws.String("corp"), SAMLMetadataDocument: document, Tags: tagsOf("team", "blue"),
	}))
	name := made.SAMLProviderArn
	if *name != prefix+"saml-provider/corp" || len(made.Tags) != 1 {
		t.Errorf("%+v", made)
	}
	if e := w.trail.last(); e.Action != "iam.CreateSAMLProvider" || e.Target != *name {
		t.Errorf("%+v", e)
	}
	got := must[*awsiam.GetSAMLProviderOutput](t)(c.GetSAMLProvider(ctx, &awsiam.GetSAMLProviderInput{SAMLProviderArn: name}))
	if *got.SAMLMetadataDocument != *document || got.CreateDate == nil || got.ValidUntil == nil || got.AssertionEncryptionMode != "" || len(*got.SAMLProviderUUID) < 22 {
		t.Errorf("%+v", got)
	}
	list := must[*awsiam.ListSAMLProvidersOutput](t)(c.ListSAMLProviders(ctx, &awsiam.ListSAMLProvidersInput{})).SAMLProviderList
	if len(list) != 1 || *list[0].Arn != *name || list[0].ValidUntil == nil {
		t.Errorf("%+v", list)
	}
	must[*awsiam.TagSAMLProviderOutput](t)(c.TagSAMLProvider(ctx, &awsiam.TagSAMLProviderInput{SAMLProviderArn: name, Tags: tagsOf("cost", "")}))
	must[*awsiam.UntagSAMLProviderOutput](t)(c.UntagSAMLProvider(ctx, &awsiam.UntagSAMLProviderInput{SAMLProviderArn: name, TagKeys: []string{"Team"}}))
	tags := must[*awsiam.ListSAMLProviderTagsOutput](t)(c.ListSAMLProviderTags(ctx, &awsiam.ListSAMLProviderTagsInput{SAMLProviderArn: name})).Tags
	if len(tags) != 1 || *tags[0].Key != "cost" {
		t.Errorf("%+v", tags)
	}
	other := metadata(t)
	must[*awsiam.UpdateSAMLProviderOutput](t)(c.UpdateSAMLProvider(ctx, &awsiam.UpdateSAMLProviderInput{SAMLProviderArn: name, SAMLMetadataDocument: other}))
	snapshot := must[*iam.Snapshot](t)(w.iam.Current())
	if p, ok := snapshot.Provider(arn.SAMLProvider{Partition: "aws", Account: account, Name: "corp"}); !ok || p.Metadata.EntityID == "" || p.Decrypter != nil {
		t.Errorf("%+v", p)
	}
	must[*awsiam.DeleteSAMLProviderOutput](t)(c.DeleteSAMLProvider(ctx, &awsiam.DeleteSAMLProviderInput{SAMLProviderArn: name}))
	_, err := c.GetSAMLProvider(ctx, &awsiam.GetSAMLProviderInput{SAMLProviderArn: name})
	if code(t, err) != "NoSuchEntity" || message(err) != "Manifest not found for arn "+*name {
		t.Errorf("%v", err)
	}
}

// TestSAMLProviderKeys adds, changes over and removes the keys that open
// encrypted assertions. A key is never shown, logged or recorded.
func TestSAMLProviderKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c, ctx := w.admin(t), t.Context()
	first, second := rsaKey(t, 2048), rsaKey(t, 2048)
	name := must[*awsiam.CreateSAMLProviderOutput](t)(c.CreateSAMLProvider(ctx, &awsiam.CreateSAMLProviderInput{
		Name: aws.String("corp"), SAMLMetadataDocument: metadata(t), AssertionEncryptionMode: types.AssertionEncryptionModeTypeRequired, AddPrivateKey: &first,
	})).SAMLProviderArn
	get := func() *awsiam.GetSAMLProviderOutput {
		return must[*awsiam.GetSAMLProviderOutput](t)(c.GetSAMLProvider(ctx, &awsiam.GetSAMLProviderInput{SAMLProviderArn: name}))
	}
	update := func(change func(*awsiam.UpdateSAMLProviderInput)) error {
		in := &awsiam.UpdateSAMLProviderInput{SAMLProviderArn: name}
		change(in)
		_, err := c.UpdateSAMLProvider(ctx, in)
		return err
	}
	if err := update(func(in *awsiam.UpdateSAMLProviderInput) { in.AddPrivateKey = &second }); err != nil {
		t.Fatal(err)
	}
	keys := get().PrivateKeyList
	if len(keys) != 2 || keys[0].Timestamp == nil {
		t.Fatalf("%+v", keys)
	}
	snapshot := must[*iam.Snapshot](t)(w.iam.Current())
	p, _ := snapshot.Provider(arn.SAMLProvider{Partition: "aws", Account: account, Name: "corp"})
	if p.Decrypter == nil || len(p.Decrypter.Keys) != 2 || !p.RequireEncrypted {
		t.Errorf("%+v", p)
	}
	for label, tc := range map[string]struct {
		change func(*awsiam.UpdateSAMLProviderInput)
		code   string
	}{
		"a third key":    {func(in *awsiam.UpdateSAMLProviderInput) { in.AddPrivateKey = aws.String(rsaKey(t, 2048)) }, "LimitExceeded"},
		"an unknown key": {func(in *awsiam.UpdateSAMLProviderInput) { in.RemovePrivateKey = aws.String(strings.Repeat("A", 22)) }, "NoSuchEntity"},
		"not a key": {func(in *awsiam.UpdateSAMLProviderInput) {
			in.RemovePrivateKey, in.AddPrivateKey = keys[0].KeyId, aws.String("not a key")
		}, "InvalidInput"},
		"a key too short": {func(in *awsiam.UpdateSAMLProviderInput) {
			in.RemovePrivateKey, in.AddPrivateKey = keys[0].KeyId, aws.String(rsaKey(t, 1024))
		}, "InvalidInput"},
		"an unknown mode":           {func(in *awsiam.UpdateSAMLProviderInput) { in.AssertionEncryptionMode = "Sometimes" }, "ValidationError"},
		"a key in other characters": {func(in *awsiam.UpdateSAMLProviderInput) { in.AddPrivateKey = aws.String("key \u2603 7c1d") }, "ValidationError"},
	} {
		if err := update(tc.change); code(t, err) != tc.code || strings.Contains(message(err), "7c1d") {
			t.Errorf("%s: %v", label, err)
		}
	}
	if err := update(func(in *awsiam.UpdateSAMLProviderInput) { in.RemovePrivateKey = keys[0].KeyId }); err != nil {
		t.Error(err)
	}
	if err := update(func(in *awsiam.UpdateSAMLProviderInput) { in.RemovePrivateKey = keys[1].KeyId }); code(t, err) != "InvalidInput" {
		t.Errorf("the last key of a provider that requires one: %v", err)
	}
	if left := get().PrivateKeyList; len(left) != 1 || *left[0].KeyId != *keys[1].KeyId {
		t.Errorf("%+v", left)
	}
	for _, e := range w.trail.events {
		if text := fmt.Sprintf("%+v", e); strings.Contains(text, "PRIVATE KEY") {
			t.Errorf("a key in the trail: %s", text)
		}
	}
	if log := w.log.String(); strings.Contains(log, "PRIVATE KEY") || strings.Contains(log, "7c1d") {
		t.Error("a key in the log")
	}
}

func TestSAMLProviderErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c, ctx := w.admin(t), t.Context()
	create := func(name string, document *string) error {
		_, err := c.CreateSAMLProvider(ctx, &awsiam.CreateSAMLProviderInput{Name: &name, SAMLMetadataDocument: document})
		return err
	}
	get := func(name string) error {
		_, err := c.GetSAMLProvider(ctx, &awsiam.GetSAMLProviderInput{SAMLProviderArn: &name})
		return err
	}
	document := metadata(t)
	if err := create("corp", document); err != nil {
		t.Fatal(err)
	}
	for label, tc := range map[string]struct {
		err        error
		code, text string
	}{
		"made twice":         {create("Corp", document), "EntityAlreadyExists", "Provider with name Corp already exists."},
		"not metadata":       {create("a", aws.String(strings.Repeat("x", 1000))), "InvalidInput", ""},
		"too short":          {create("a", aws.String("<x/>")), "ValidationError", ""},
		"bad name":           {create("a=b", document), "ValidationError", ""},
		"not an ARN":         {get(prefix + "role/xxxxxxxxxxxx"), "InvalidInput", ""},
		"of another account": {get("arn:aws:iam::" + other + ":saml-provider/corp"), "AccessDenied", ""},
		"in other letters":   {get(prefix + "saml-provider/CORP"), "NoSuchEntity", ""},
	} {
		if code(t, tc.err) != tc.code || tc.text != "" && message(tc.err) != tc.text {
			t.Errorf("%s: got %v, want %s %s", label, tc.err, tc.code, tc.text)
		}
	}
}

// TestOIDCProviders walks an OpenID Connect provider through its life.
func TestOIDCProviders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c, ctx := w.admin(t), t.Context()
	thumb := "9E99A48A9960B14926BB7F3B02E22DA2B0AB7280"
	made := must[*awsiam.CreateOpenIDConnectProviderOutput](t)(c.CreateOpenIDConnectProvider(ctx, &awsiam.CreateOpenIDConnectProviderInput{
		Url: aws.String("https://issuer.example.com/oidc"), ClientIDList: []string{"sts.amazonaws.com", "sts.amazonaws.com"}, ThumbprintList: []string{thumb}, Tags: tagsOf("a", "1"),
	}))
	name := made.OpenIDConnectProviderArn
	if *name != prefix+"oidc-provider/issuer.example.com/oidc" {
		t.Errorf("%+v", made)
	}
	must[*awsiam.AddClientIDToOpenIDConnectProviderOutput](t)(c.AddClientIDToOpenIDConnectProvider(ctx, &awsiam.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: name, ClientID: aws.String("other")}))
	must[*awsiam.AddClientIDToOpenIDConnectProviderOutput](t)(c.AddClientIDToOpenIDConnectProvider(ctx, &awsiam.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: name, ClientID: aws.String("other")}))
	must[*awsiam.RemoveClientIDFromOpenIDConnectProviderOutput](t)(c.RemoveClientIDFromOpenIDConnectProvider(ctx, &awsiam.RemoveClientIDFromOpenIDConnectProviderInput{OpenIDConnectProviderArn: name, ClientID: aws.String("never there")}))
	must[*awsiam.UpdateOpenIDConnectProviderThumbprintOutput](t)(c.UpdateOpenIDConnectProviderThumbprint(ctx, &awsiam.UpdateOpenIDConnectProviderThumbprintInput{OpenIDConnectProviderArn: name, ThumbprintList: []string{strings.Repeat("0a", 20)}}))
	must[*awsiam.TagOpenIDConnectProviderOutput](t)(c.TagOpenIDConnectProvider(ctx, &awsiam.TagOpenIDConnectProviderInput{OpenIDConnectProviderArn: name, Tags: tagsOf("b", "2")}))
	must[*awsiam.UntagOpenIDConnectProviderOutput](t)(c.UntagOpenIDConnectProvider(ctx, &awsiam.UntagOpenIDConnectProviderInput{OpenIDConnectProviderArn: name, TagKeys: []string{"a"}}))
	got := must[*awsiam.GetOpenIDConnectProviderOutput](t)(c.GetOpenIDConnectProvider(ctx, &awsiam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: name}))
	if *got.Url != "issuer.example.com/oidc" || strings.Join(got.ClientIDList, " ") != "sts.amazonaws.com other" ||
		len(got.ThumbprintList) != 1 || len(got.Tags) != 1 || got.CreateDate == nil {
		t.Errorf("%+v", got)
	}
	list := must[*awsiam.ListOpenIDConnectProvidersOutput](t)(c.ListOpenIDConnectProviders(ctx, &awsiam.ListOpenIDConnectProvidersInput{})).OpenIDConnectProviderList
	tags := must[*awsiam.ListOpenIDConnectProviderTagsOutput](t)(c.ListOpenIDConnectProviderTags(ctx, &awsiam.ListOpenIDConnectProviderTagsInput{OpenIDConnectProviderArn: name})).Tags
	if len(list) != 1 || *list[0].Arn != *name || len(tags) != 1 || *tags[0].Key != "b" {
		t.Errorf("%+v %+v", list, tags)
	}
	snapshot := must[*iam.Snapshot](t)(w.iam.Current())
	p, ok := snapshot.OIDCProvider(account, "https://issuer.example.com/oidc")
	if !ok || p.ARN != *name || p.Name != "issuer.example.com/oidc" {
		t.Errorf("%+v", p)
	}
	must[*awsiam.DeleteOpenIDConnectProviderOutput](t)(c.DeleteOpenIDConnectProvider(ctx, &awsiam.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: name}))
	_, err := c.GetOpenIDConnectProvider(ctx, &awsiam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: name})
	if code(t, err) != "NoSuchEntity" || message(err) != "OpenIDConnect Provider not found for arn "+*name {
		t.Errorf("%v", err)
	}
}

func TestOIDCProviderErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c, ctx := w.admin(t), t.Context()
	create := func(url string, change func(*awsiam.CreateOpenIDConnectProviderInput)) error {
		in := &awsiam.CreateOpenIDConnectProviderInput{Url: &url}
		if change != nil {
			change(in)
		}
		_, err := c.CreateOpenIDConnectProvider(ctx, in)
		return err
	}
	if err := create("https://issuer.example", nil); err != nil {
		t.Fatal(err)
	}
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprint("client-", i)
	}
	thumbs := make([]string, 6)
	for i := range thumbs {
		thumbs[i] = fmt.Sprintf("%040d", i)
	}
	get := func(name string) error {
		_, err := c.GetOpenIDConnectProvider(ctx, &awsiam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: &name})
		return err
	}
	for label, tc := range map[string]struct {
		err        error
		code, text string
	}{
		"made twice":        {create("https://issuer.example", nil), "EntityAlreadyExists", "Provider with url https://issuer.example already exists."},
		"no TLS":            {create("http://issuer.example/x", nil), "InvalidInput", "Invalid Open ID Connect Provider URL: it must begin with https://."},
		"no scheme":         {create("issuer.example/x", nil), "InvalidInput", ""},
		"a port":            {create("https://issuer.example:8443/x", nil), "InvalidInput", "Invalid Open ID Connect Provider URL: it must not hold a port."},
		"a query":           {create("https://issuer.example/x?y", nil), "InvalidInput", ""},
		"an empty query":    {create("https://issuer.example/x?", nil), "InvalidInput", ""},
		"a fragment":        {create("https://issuer.example/x#y", nil), "InvalidInput", ""},
		"a user":            {create("https://u@issuer.example/x", nil), "InvalidInput", ""},
		"loopback, not set": {create("http://127.0.0.1:8480/oidc", nil), "InvalidInput", ""},
		"too long":          {create("https://issuer.example/"+strings.Repeat("x", 256), nil), "ValidationError", ""},
		"a hundred and one": {create("https://b.example", func(in *awsiam.CreateOpenIDConnectProviderInput) { in.ClientIDList = many }), "LimitExceeded", "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: 100"},
		"six thumbprints":   {create("https://b.example", func(in *awsiam.CreateOpenIDConnectProviderInput) { in.ThumbprintList = thumbs }), "InvalidInput", "Thumbprint list must contain fewer than 5 entries."},
		"not a thumbprint": {create("https://b.example", func(in *awsiam.CreateOpenIDConnectProviderInput) {
			in.ThumbprintList = []string{strings.Repeat("z", 40)}
		}), "InvalidInput", ""},
		"a short thumbprint": {create("https://b.example", func(in *awsiam.CreateOpenIDConnectProviderInput) { in.ThumbprintList = []string{"abc"} }), "ValidationError", ""},
		"not an ARN":         {get(prefix + "saml-provider/xxxxx"), "InvalidInput", ""},
		"of another account": {get("arn:aws:iam::" + other + ":oidc-provider/issuer.example"), "AccessDenied", ""},
		"not there":          {get(prefix + "oidc-provider/issuer.example/y"), "NoSuchEntity", ""},
	} {
		if code(t, tc.err) != tc.code || tc.text != "" && message(tc.err) != tc.text {
			t.Errorf("%s: got %v, want %s %s", label, tc.err, tc.code, tc.text)
		}
	}
}
