package binding

import "strings"

// ScopeOf gives the scope that a process is attached in, by the path of its control
// group: the nearest of a login (session-N.scope), a container or pod, and a service;
// where there is none, the group itself. Empty for what is no path of a group.
func ScopeOf(group string) string {
	if group == "/" {
		return group
	}
	if !strings.HasPrefix(group, "/") || strings.HasSuffix(group, "/") || strings.Contains(group, "//") {
		return ""
	}
	for at := group; at != ""; at = at[:strings.LastIndexByte(at, '/')] {
		parent, name := cutLast(at)
		_, above := cutLast(parent)
		if isScope(name, above) {
			return at
		}
	}
	return group
}

func cutLast(path string) (parent, name string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}

// runtimes are how container runtimes begin the names of their scopes.
var runtimes = [...]string{"docker-", "libpod-", "cri-containerd-", "crio-", "nerdctl-", "podman-"}

// isScope reports whether a group by this name holds one login, container or service.
// The names are those of systemd (pam_systemd(8), systemd.service(5)), of container
// runtimes and of the kubelet.
func isScope(name, above string) bool {
	if id, ok := strings.CutPrefix(name, "session-"); ok {
		if id, ok = strings.CutSuffix(id, ".scope"); ok && id != "" {
			return true
		}
	}
	if strings.HasSuffix(name, ".service") && len(name) > len(".service") {
		return true
	}
	if scope, ok := strings.CutSuffix(name, ".scope"); ok {
		for _, r := range runtimes {
			if id, ok := strings.CutPrefix(scope, r); ok && isHex(id) {
				return true
			}
		}
	}
	// The kubelet's and Docker's own driver name a container's group by its id alone.
	return isHex(name) && (above == "docker" || strings.HasPrefix(above, "pod") || strings.Contains(above, "-pod"))
}

// isHex reports an id of a container: 64 lower-case hexadecimal digits.
func isHex(s string) bool {
	if len(s) != 64 {
		return false
	}
	return strings.Trim(s, "0123456789abcdef") == ""
}
