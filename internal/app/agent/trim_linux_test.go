package agent

import (
	"os"
	"strings"
	"testing"
)

// TestTrimsOnlyWhatIsTheFiles: memory that a process may have written to stays.
func TestTrimsOnlyWhatIsTheFiles(t *testing.T) {
	t.Parallel()
	const maps = `00400000-00500000 r-xp 00000000 08:01 7 /usr/bin/carnet
00500000-00600000 r--p 00100000 08:01 7 /usr/bin/carnet
00600000-00700000 rw-p 00200000 08:01 7 /usr/bin/carnet
00700000-00800000 r--s 00200000 08:01 7 /usr/bin/carnet
00800000-00900000 r--p 00000000 08:01 9 /usr/bin/other
00900000-00a00000 r--p 00000000 00:00 0
c000000000-c000400000 rw-p 00000000 00:00 0
x-y r--p 00000000 08:01 7 /usr/bin/carnet
`
	got := readOnly(maps, "/usr/bin/carnet")
	if len(got) != 2 || got[0] != (mapping{0x400000, 0x500000}) || got[1] != (mapping{0x500000, 0x600000}) {
		t.Errorf("got %v", got)
	}
	trim() // and this process goes on
	if text, err := os.ReadFile("/proc/self/maps"); err != nil || !strings.Contains(string(text), "r-xp") {
		t.Error(err)
	}
}
