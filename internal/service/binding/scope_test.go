package binding

import (
	"strings"
	"testing"
)

func TestScopes(t *testing.T) {
	id := strings.Repeat("0af1", 16)
	for group, want := range map[string]string{
		"/": "/",
		"/user.slice/user-1000.slice/session-3.scope":                                  "/user.slice/user-1000.slice/session-3.scope",
		"/user.slice/user-1000.slice/session-c1.scope/a/b":                             "/user.slice/user-1000.slice/session-c1.scope",
		"/user.slice/user-1000.slice/user@1000.service/app.slice/app-terminal-7.scope": "/user.slice/user-1000.slice/user@1000.service",
		"/system.slice/jupyterhub.service":                                             "/system.slice/jupyterhub.service",
		"/system.slice/jupyterhub.service/inner":                                       "/system.slice/jupyterhub.service",
		"/system.slice/docker-" + id + ".scope":                                        "/system.slice/docker-" + id + ".scope",
		"/docker/" + id + "/x":                                                         "/docker/" + id,
		"/kubepods/burstable/pod1234/" + id:                                            "/kubepods/burstable/pod1234/" + id,
		"/kubepods.slice/kubepods-pod12.slice/cri-containerd-" + id + ".scope/y":       "/kubepods.slice/kubepods-pod12.slice/cri-containerd-" + id + ".scope",
		"/system.slice/docker-" + id + ".scope/system.slice/ssh.service":               "/system.slice/docker-" + id + ".scope/system.slice/ssh.service",
		"/a/b":                "/a/b",
		"/a/session-.scope":   "/a/session-.scope",
		"/a/.service/b":       "/a/.service/b",
		"/other/" + id + "/x": "/other/" + id + "/x",
		"":                    "",
		"a/b":                 "",
		"/a//b":               "",
		"/a/":                 "",
	} {
		if got := ScopeOf(group); got != want {
			t.Errorf("%s: got %q, want %q", group, got, want)
		}
	}
}

// FuzzScope: a scope holds the group that it was found for.
func FuzzScope(f *testing.F) {
	f.Add("/user.slice/user-1000.slice/session-3.scope/x")
	f.Add("/")
	f.Add("/kubepods/pod1/" + strings.Repeat("a", 64))
	f.Fuzz(func(t *testing.T, group string) {
		scope := ScopeOf(group)
		if scope != "" && group != scope && !strings.HasPrefix(group, scope+"/") {
			t.Errorf("%q is not in %q", group, scope)
		}
	})
}
