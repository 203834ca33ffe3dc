package scim

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
)

func mustRead(t *testing.T, rt *ResourceType, text string) Resource {
	t.Helper()
	r, err := rt.Read([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return r
}

func same(t *testing.T, got Resource, want string) {
	t.Helper()
	a, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &y); err != nil {
		t.Fatalf("%s: %v", want, err)
	}
	if !reflect.DeepEqual(x, y) {
		t.Errorf("got  %s\nwant %s", a, want)
	}
}

func TestReadingResources(t *testing.T) {
	t.Parallel()
	users := Users()
	got := mustRead(t, users, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"mine","USERNAME":"Ann","active":"False","emails":[{"value":"a@x","primary":true},{"value":"a@x","primary":true}],
		"unknown":{"a":1},"name":{"familyName":"A","x":1},"groups":[{"value":"g"}],"displayName":null,"nickName":"","phoneNumbers":[],
		"urn:ietf:params:scim:schemas:extension:enterprise:2.0:user":{"Department":"D","manager":"m1"},"meta":{"version":"x"},"roles":{"value":"arn:aws:iam::111122223333:role/r"}}`)
	same(t, got, `{"userName":"Ann","active":false,"emails":[{"value":"a@x","primary":true}],"name":{"familyName":"A"},
		"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"D","manager":{"value":"m1"}},"roles":[{"value":"arn:aws:iam::111122223333:role/r"}]}`)
	for text, code := range map[string]string{
		`[]`: CodeSyntax, `{`: CodeSyntax, ``: CodeSyntax, `{} {}`: CodeSyntax, `{"userName":"a","username":"b"}`: CodeSyntax,
		`{"userName":1e5}`: "", `{"userName":{}}`: CodeValue, `{"active":"maybe"}`: CodeValue, `{"active":1}`: CodeValue, `{"name":"x"}`: CodeValue, `{"userName":"a\u0000"}`: CodeValue,
		`{"emails":[{"value":"a","primary":true},{"value":"b","primary":true}]}`: CodeValue, `{"emails":"a@x"}`: "", `{"userName":["a","b"]}`: CodeValue,
		strings.Repeat(`{"name":`, 20) + "1" + strings.Repeat("}", 20): CodeSyntax, `{"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":1}`: CodeValue,
		`{"userName":"` + strings.Repeat("a", MaxDocument) + `"}`: CodeSyntax,
	} {
		_, err := users.Read([]byte(text))
		if got := codeOf(err); got != code {
			t.Errorf("%.60s: %q %v, want %q", text, got, err, code)
		}
	}
}

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return fault.Of(err).Code
}

const ann = `{"userName":"ann@example.com","displayName":"Ann","active":true,"externalId":"E-1","name":{"givenName":"Ann","familyName":"Lee"},
	"emails":[{"value":"ann@work","type":"work","primary":true},{"value":"ann@home","type":"home"}],"roles":[{"value":"arn:aws:iam::111122223333:role/a"},{"value":"arn:aws:iam::111122223333:role/b"}],
	"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"D1","manager":{"value":"m1"}}}`

func TestFilters(t *testing.T) {
	t.Parallel()
	users := Users()
	r := mustRead(t, users, ann)
	for filter, want := range map[string]bool{
		`userName eq "ANN@example.com"`: true, `USERNAME EQ "ann@example.com"`: true, `userName eq "ann"`: false, `userName sw "ann@"`: true, `userName ew ".com"`: true, `userName co "Example"`: true,
		`externalId eq "E-1"`: true, `externalId eq "e-1"`: false, `id eq "x"`: false, `not (id pr)`: true, `userName ne "bob"`: true, `nickName ne "x"`: true, `active eq true`: true, `active eq false`: false, `active eq "True"`: true,
		`emails.value eq "ann@home"`: true, `emails eq "ann@home"`: true, `emails[type eq "work"]`: true, `emails[type eq "work" and value co "home"]`: false, `emails[type eq "work"].value eq "ann@work"`: true,
		`emails[type eq "other"].value pr`: false, `name.familyName eq "lee"`: true, `displayName pr and active eq true`: true, `displayName eq "x" or active eq true and userName pr`: true,
		`(displayName eq "x" or active eq true) and not (userName eq "bob")`: true, `roles.value eq "arn:aws:iam::111122223333:role/a"`: true, `roles eq "ARN:aws:iam::111122223333:role/a"`: false,
		`urn:ietf:params:scim:schemas:core:2.0:User:userName eq "ann@example.com"`: true, `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq "d1"`: true,
		`urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value eq "m1"`: true, `manager eq "m1"`: false, `title eq null`: true, `userName gt "ann"`: true, `userName lt "ann"`: false,
		`userName eq "\u0061nn@example.com"`: true, `title pr or emails[not (type eq "work")]`: true,
	} {
		f, err := users.ParseFilter(filter)
		if err != nil {
			if filter != `manager eq "m1"` {
				t.Errorf("%s: %v", filter, err)
			}
			continue
		}
		if got := f.Match(r); got != want {
			t.Errorf("%s: %v, want %v", filter, got, want)
		}
	}
	for _, filter := range []string{
		"", " ", "userName", `userName eq`, `userName eq ann`, `userName is "a"`, `userName eq "a" and`, `(userName eq "a"`, `userName eq "a")`, `userName eq "a" userName eq "b"`, `unknown eq "a"`, `emails[type eq "work"`,
		`emails[type eq "work"] eq "a"`, `emails[colour eq "red"]`, `userName[type eq "a"]`, `userName eq {"a":1}`, `userName eq 1.5`, `urn:other:User:userName eq "a"`, `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User eq "a"`,
		`active gt true`, strings.Repeat("(", 100) + `userName pr` + strings.Repeat(")", 100), strings.Repeat(`userName pr or `, 400) + `userName pr`, `userName eq "a" or ' or 1=1 --`, "userName eq \"\xff\"",
	} {
		if _, err := users.ParseFilter(filter); codeOf(err) != CodeFilter {
			t.Errorf("%.80s: %v, want %s", filter, err, CodeFilter)
		}
	}
	if e, ok := AsEquality(mustFilter(t, users, `externalId eq "x"`)); !ok || e != (Equality{"externalId", "x"}) {
		t.Errorf("%+v %v", e, ok)
	}
	for _, filter := range []string{`externalId ne "x"`, `emails.value eq "x"`, `active eq true`, `userName eq "a" and active eq true`} {
		if _, ok := AsEquality(mustFilter(t, users, filter)); ok {
			t.Errorf("%s is taken for a look-up by one value", filter)
		}
	}
}

func mustFilter(t *testing.T, rt *ResourceType, text string) Filter {
	t.Helper()
	f, err := rt.ParseFilter(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func patched(t *testing.T, rt *ResourceType, r Resource, operations string) (Resource, error) {
	t.Helper()
	ops, err := ReadPatch([]byte(`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":` + operations + `}`))
	if err != nil {
		return nil, err
	}
	// What is stored always says whether it is active; the tables here leave it out.
	_, said := r["active"]
	if !said && rt.attribute("active") != nil {
		r["active"] = true
	}
	before := r.Clone()
	out, err := rt.Apply(r, ops)
	if !said {
		delete(out, "active")
	}
	if !reflect.DeepEqual(r, before) {
		t.Errorf("%s changed the resource that it was given", operations)
	}
	return out, err
}

// TestDialectsOfPatch: what the clients of identity providers send.
func TestDialectsOfPatch(t *testing.T) {
	t.Parallel()
	users := Users()
	for name, c := range map[string]struct{ before, operations, after string }{
		"Okta switches off":               {`{"userName":"a","active":true}`, `[{"op":"replace","value":{"active":false}}]`, `{"userName":"a","active":false}`},
		"Okta sends back what it got":     {`{"userName":"a"}`, `[{"op":"replace","value":{"id":"x","meta":{"version":"1"},"schemas":["y"],"displayName":"A"}}]`, `{"userName":"a","displayName":"A"}`},
		"Entra switches off":              {`{"userName":"a","active":true}`, `[{"op":"Replace","path":"active","value":"False"}]`, `{"userName":"a","active":false}`},
		"Entra in capitals":               {`{"userName":"a"}`, `[{"Op":"Add","Path":"displayName","Value":"A"}]`, `{"userName":"a","displayName":"A"}`},
		"Entra, a mail of a type":         {`{"userName":"a","emails":[{"type":"work","value":"old"},{"type":"home","value":"h"}]}`, `[{"op":"Replace","path":"emails[type eq \"work\"].value","value":"new"}]`, `{"userName":"a","emails":[{"type":"work","value":"new"},{"type":"home","value":"h"}]}`},
		"Entra, a number that is not yet": {`{"userName":"a"}`, `[{"op":"Add","path":"phoneNumbers[type eq \"mobile\"].value","value":"1"}]`, `{"userName":"a","phoneNumbers":[{"type":"mobile","value":"1"}]}`},
		"Entra, dotted names, no path":    {`{"userName":"a"}`, `[{"op":"Add","value":{"name.givenName":"G","name.familyName":"F","emails[type eq \"work\"].value":"w","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department":"D"}}]`, `{"userName":"a","name":{"givenName":"G","familyName":"F"},"emails":[{"type":"work","value":"w"}],"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"D"}}`},
		"Entra, a manager as a text":      {`{"userName":"a"}`, `[{"op":"Add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager","value":"m"}]`, `{"userName":"a","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":{"value":"m"}}}`},
		"Entra, a manager as an object":   {`{"userName":"a","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":{"value":"m"}}}`, `[{"op":"Replace","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager","value":{"value":"n"}}]`, `{"userName":"a","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":{"value":"n"}}}`},
		"Entra, no manager any more":      {`{"userName":"a","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":{"value":"m"}}}`, `[{"op":"Remove","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager"}]`, `{"userName":"a"}`},
		"an empty text clears":            {`{"userName":"a","displayName":"A","title":"T"}`, `[{"op":"replace","path":"displayName","value":""},{"op":"replace","path":"title","value":null}]`, `{"userName":"a"}`},
		"several operations":              {`{"userName":"a"}`, `[{"op":"add","path":"displayName","value":"A"},{"op":"replace","path":"displayName","value":"B"},{"op":"add","path":"nickName","value":"N"}]`, `{"userName":"a","displayName":"B","nickName":"N"}`},
		"an extension as a whole":         {`{"userName":"a"}`, `[{"op":"add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User","value":{"department":"D","nothing":1}}]`, `{"userName":"a","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"D"}}`},
		"an extension in a value":         {`{"userName":"a"}`, `[{"op":"replace","value":{"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"D"}}}]`, `{"userName":"a","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"D"}}`},
		"a new primary":                   {`{"userName":"a","emails":[{"value":"x","primary":true}]}`, `[{"op":"add","path":"emails","value":[{"value":"y","primary":true}]}]`, `{"userName":"a","emails":[{"value":"x","primary":false},{"value":"y","primary":true}]}`},
		"parts of a name":                 {`{"userName":"a","name":{"givenName":"G","familyName":"F"}}`, `[{"op":"replace","path":"name","value":{"givenName":"H"}}]`, `{"userName":"a","name":{"givenName":"H","familyName":"F"}}`},
		"roles by value":                  {`{"userName":"a","roles":[{"value":"r1"},{"value":"r2"}]}`, `[{"op":"remove","path":"roles[value eq \"r1\"]"},{"op":"add","path":"roles","value":[{"value":"r3"},{"value":"r2"}]}]`, `{"userName":"a","roles":[{"value":"r2"},{"value":"r3"}]}`},
		"all roles":                       {`{"userName":"a","roles":[{"value":"r1"}]}`, `[{"op":"remove","path":"roles"}]`, `{"userName":"a"}`},
		"no roles":                        {`{"userName":"a","roles":[{"value":"r1"}]}`, `[{"op":"replace","path":"roles","value":[]}]`, `{"userName":"a"}`},
		"what no schema knows":            {`{"userName":"a"}`, `[{"op":"add","value":{"favouriteColour":"red","displayName":"A"}}]`, `{"userName":"a","displayName":"A"}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := patched(t, users, mustRead(t, users, c.before), c.operations)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, c.after)
		})
	}
	groups := Groups()
	for name, c := range map[string]struct{ before, operations, after string }{
		"Okta renames, with the id":  {`{"displayName":"G"}`, `[{"op":"replace","value":{"id":"g1","displayName":"H"}}]`, `{"displayName":"H"}`},
		"members come":               {`{"displayName":"G","members":[{"value":"1"}]}`, `[{"op":"add","path":"members","value":[{"value":"2","display":"Two"},{"value":"1"}]}]`, `{"displayName":"G","members":[{"value":"1"},{"value":"2"}]}`},
		"a member goes, by filter":   {`{"displayName":"G","members":[{"value":"1"},{"value":"2"}]}`, `[{"op":"remove","path":"members[value eq \"1\"]"}]`, `{"displayName":"G","members":[{"value":"2"}]}`},
		"members go, by their list":  {`{"displayName":"G","members":[{"value":"1"},{"value":"2"},{"value":"3"}]}`, `[{"op":"Remove","path":"members","value":[{"value":"1"},{"value":"3"}]}]`, `{"displayName":"G","members":[{"value":"2"}]}`},
		"members as bare ids":        {`{"displayName":"G"}`, `[{"op":"add","path":"members","value":["1","2"]}]`, `{"displayName":"G","members":[{"value":"1"},{"value":"2"}]}`},
		"the last member":            {`{"displayName":"G","members":[{"value":"1"}]}`, `[{"op":"remove","path":"members[value eq \"1\"]"}]`, `{"displayName":"G"}`},
		"one who isn't there":        {`{"displayName":"G","members":[{"value":"1"}]}`, `[{"op":"remove","path":"members[value eq \"9\"]"}]`, `{"displayName":"G","members":[{"value":"1"}]}`},
		"all members are others now": {`{"displayName":"G","members":[{"value":"1"}]}`, `[{"op":"replace","path":"members","value":[{"value":"5"}]}]`, `{"displayName":"G","members":[{"value":"5"}]}`},
	} {
		t.Run("group: "+name, func(t *testing.T) {
			got, err := patched(t, groups, mustRead(t, groups, c.before), c.operations)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, c.after)
		})
	}
}

func TestRefusedPatches(t *testing.T) {
	t.Parallel()
	users := Users()
	r := mustRead(t, users, ann)
	for operations, code := range map[string]string{
		`[]`: CodeSyntax, `{}`: CodeSyntax, `[1]`: CodeSyntax, `[{"op":"move","path":"a"}]`: CodeSyntax, `[{"path":"displayName","value":"x"}]`: CodeSyntax, `[{"op":"add","path":1,"value":"x"}]`: CodePath,
		`[{"op":"add","path":"displayName"}]`: CodeValue, `[{"op":"remove"}]`: CodeNoTarget, `[{"op":"add","value":"x"}]`: CodeValue, `[{"op":"add","path":"colour","value":"x"}]`: CodePath,
		`[{"op":"replace","path":"id","value":"x"}]`: CodeMutability, `[{"op":"replace","path":"groups","value":[]}]`: CodeMutability, `[{"op":"replace","path":"meta.version","value":"x"}]`: CodeMutability,
		`[{"op":"remove","path":"userName"}]`: CodeMutability, `[{"op":"replace","path":"userName","value":null}]`: CodeMutability, `[{"op":"replace","path":"emails[type eq \"other\"].value","value":"x"}]`: CodeNoTarget,
		`[{"op":"add","path":"emails[type sw \"o\"].value","value":"x"}]`: CodeNoTarget, `[{"op":"add","path":"emails[type eq \"work\"","value":"x"}]`: CodePath, `[{"op":"add","path":"emails[type eq \"work\"].colour","value":"x"}]`: CodePath,
		`[{"op":"add","path":"active","value":"perhaps"}]`: CodeValue, `[{"op":"add","path":"displayName.x","value":"x"}]`: CodePath, `[{"op":"add","path":"displayName","value":"x","op":"remove"}]`: CodeSyntax,
		`[{"op":"add","path":"displayName","value":"ok"},{"op":"add","path":"active","value":"perhaps"}]`: CodeValue, `[{"op":"add","path":"phoneNumbers.value","value":"x"}]`: CodeNoTarget,
	} {
		_, err := patched(t, users, r, operations)
		if got := codeOf(err); got != code {
			t.Errorf("%s: %q %v, want %q", operations, got, err, code)
		}
	}
	if _, err := ReadPatch([]byte(`{"schemas":["urn:other"],"Operations":[{"op":"remove","path":"title"}]}`)); codeOf(err) != CodeSyntax {
		t.Errorf("another message: %v", err)
	}
}

func TestProjectionsAndOrder(t *testing.T) {
	t.Parallel()
	users := Users()
	r := mustRead(t, users, ann)
	r["id"] = "u1"
	for parameters, want := range map[[2]string]string{
		{"userName", ""}:                    `{"id":"u1","userName":"ann@example.com"}`,
		{"emails.value,name.givenName", ""}: `{"id":"u1","emails":[{"value":"ann@work"},{"value":"ann@home"}],"name":{"givenName":"Ann"}}`,
		{"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department", ""}: `{"id":"u1","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"D1"}}`,
		{"nothing", ""}: `{"id":"u1"}`,
		{"", "emails,roles,id,name,displayName,externalId,urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"}: `{"id":"u1","userName":"ann@example.com","active":true}`,
	} {
		p, err := users.ParseProjection(parameters[0], parameters[1])
		if err != nil {
			t.Fatal(err)
		}
		same(t, p.Apply(r), want)
	}
	if _, err := users.ParseProjection("a", "b"); err == nil {
		t.Error("both at once are taken")
	}
	p, _ := Groups().ParseProjection("", "members")
	if p.Wants("members") || !p.Wants("displayName") {
		t.Error("members are wanted")
	}
	list := []Resource{{"userName": "b"}, {}, {"userName": "A"}, {"userName": "c"}}
	by, err := users.ParsePath("userName")
	if err != nil {
		t.Fatal(err)
	}
	Sort(list, by, false)
	if list[0].Text("userName") != "A" || list[2].Text("userName") != "c" || len(list[3]) != 0 {
		t.Errorf("%v", list)
	}
	Sort(list, by, true)
	if list[0].Text("userName") != "c" || len(list[3]) != 0 {
		t.Errorf("%v", list)
	}
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	users := Users()
	b, err := users.WriteList([]Resource{mustRead(t, users, ann)}, 7, 3)
	if err != nil {
		t.Fatal(err)
	}
	var page struct {
		Schemas                                []string
		TotalResults, StartIndex, ItemsPerPage int
		Resources                              []struct {
			Schemas  []string
			UserName string
		}
	}
	if err := json.Unmarshal(b, &page); err != nil || page.TotalResults != 7 || page.StartIndex != 3 || page.ItemsPerPage != 1 || len(page.Resources[0].Schemas) != 2 {
		t.Errorf("%v %s", err, b)
	}
	if got := string(WriteError(fault.Coded(fault.Conflict, CodeUniqueness, "The name is taken"), 409)); !strings.Contains(got, `"status":"409"`) || !strings.Contains(got, `"scimType":"uniqueness"`) {
		t.Error(got)
	}
	if got := string(WriteError(fault.New(fault.NotFound, "There is none"), 404)); strings.Contains(got, "scimType") {
		t.Error(got)
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{`userName eq "a"`, `emails[type eq "work" and not (value co "x")].value pr or active eq true`, `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department sw "d"`, `((`, `name.familyName gt "\u0000"`} {
		f.Add(s)
	}
	users := Users()
	r, err := users.Read([]byte(ann))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		filter, err := users.ParseFilter(text)
		if err != nil {
			if codeOf(err) != CodeFilter {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if (not{filter}).Match(r) == filter.Match(r) {
			t.Errorf("%q is both", text)
		}
	})
}

func FuzzPatch(f *testing.F) {
	for _, s := range []string{
		`{"Operations":[{"op":"replace","value":{"active":false}}]}`, `{"Operations":[{"Op":"Add","Path":"emails[type eq \"work\"].value","Value":"x"}]}`,
		`{"Operations":[{"op":"remove","path":"roles","value":[{"value":"arn:aws:iam::111122223333:role/a"}]}]}`, `{"Operations":[{"op":"add","value":{"name.givenName":"G","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":"m"}}}]}`,
	} {
		f.Add([]byte(s))
	}
	users := Users()
	r, err := users.Read([]byte(ann))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		ops, err := ReadPatch(text)
		if err != nil {
			return
		}
		before := r.Clone()
		out, err := users.Apply(r, ops)
		if !reflect.DeepEqual(r, before) {
			t.Fatalf("%s changed what it was given", text)
		}
		if err != nil {
			return
		}
		written, err := users.Write(out)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := users.Read(written); err != nil || !reflect.DeepEqual(map[string]any(again), map[string]any(out)) {
			t.Fatalf("%s gives %s, which reads as %v, %v", text, written, again, err)
		}
	})
}
