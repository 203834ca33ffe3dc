package awsconfig

import (
	"regexp"
	"strings"
)

// Splice puts block in the place of the owner's block in text, or at the end
// where there is none. An empty block takes the owner's block away. Lost or
// doubled markers are repaired; sections inside the block that Carnet did not
// write are kept, after it.
func Splice(text, owner, block string) string {
	kept, at := strip(text, owner)
	if at < 0 {
		at = len(kept)
		if block != "" && at > 0 && strings.TrimSpace(kept[at-1]) != "" {
			block = "\n" + block
		}
	}
	before, after := strings.Join(kept[:at], ""), strings.Join(kept[at:], "")
	if block != "" && before != "" && !strings.HasSuffix(before, "\n") {
		before += "\n"
	}
	return before + block + after
}

// strip gives the lines that are not the owner's block, and where the block
// was: an index into them, -1 when there is none.
func strip(text, owner string) (kept []string, at int) {
	at = -1
	lines := strings.SplitAfter(text, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	for i := 0; i < len(lines); {
		switch {
		case isBegin(lines[i], owner):
			if at < 0 {
				at = len(kept)
			}
			var foreign []string
			foreign, i = inside(lines, i+1, owner)
			kept = append(kept, foreign...)
		case isEnd(lines[i], owner):
			// The begin was lost: what Carnet wrote stands right before.
			kept = dropOwnTail(kept, owner)
			if at < 0 || at > len(kept) {
				at = len(kept)
			}
			i++
		default:
			kept = append(kept, lines[i])
			i++
		}
	}
	return kept, at
}

// inside reads the block whose begin marker stands before line i. It gives the
// foreign sections in it and the line after it.
func inside(lines []string, i int, owner string) (foreign []string, next int) {
	for j := i; j < len(lines); j++ {
		if isEnd(lines[j], owner) {
			return notOwn(lines[i:j], owner), j + 1
		}
		if isBegin(lines[j], owner) {
			break
		}
	}
	// The end was lost: the block is what follows in sections of our own.
	next = i
	for j := i; j < len(lines); {
		if isBlank(lines[j]) {
			j++
			continue
		}
		stop := sectionEnd(lines, j)
		for k := j; k < stop; k++ { // a remark is the person's, and ends what is surely ours
			if strings.HasPrefix(lines[k], "#") {
				stop = max(k, j+1)
			}
		}
		if !isOwn(lines[j:stop], owner) {
			break
		}
		j, next = stop, stop
	}
	return nil, next
}

// notOwn keeps the sections of lines that Carnet did not write.
func notOwn(lines []string, owner string) []string {
	var out []string
	for i := 0; i < len(lines); {
		stop := sectionEnd(lines, i)
		if header(lines[i]) != "" && !isOwn(lines[i:stop], owner) {
			out = append(out, lines[i:stop]...)
		}
		i = stop
	}
	return out
}

// dropOwnTail takes our sections from the end of lines.
func dropOwnTail(lines []string, owner string) []string {
	for {
		start := len(lines) - 1
		for start >= 0 && header(lines[start]) == "" {
			start--
		}
		if start < 0 || !isOwn(lines[start:], owner) {
			return lines
		}
		lines = lines[:start]
	}
}

// sectionEnd gives the end of the section, or of the stretch of lines before
// the first section, that begins at line i.
func sectionEnd(lines []string, i int) int {
	for j := i + 1; j < len(lines); j++ {
		if header(lines[j]) != "" {
			return j
		}
	}
	return len(lines)
}

// isOwn reports whether Carnet wrote this section for the owner: Render puts
// credential_process first.
func isOwn(section []string, owner string) bool {
	head := header(section[0])
	if name, ok := strings.CutPrefix(head, "services "); ok {
		return ownServices(strings.TrimSpace(name), owner)
	}
	if !strings.HasPrefix(head, "profile ") || len(section) < 2 {
		return false
	}
	key, value, _ := strings.Cut(section[1], "=")
	return strings.TrimSpace(key) == "credential_process" && strings.Contains(value, fetch(owner))
}

var number = regexp.MustCompile(`^\+[0-9]+$`)

func ownServices(name, owner string) bool {
	rest, ok := strings.CutPrefix(name, "carnet-"+owner)
	return ok && (rest == "" || number.MatchString(rest))
}

// header gives the text between the brackets of a section's first line, or "".
func header(line string) string {
	rest, ok := strings.CutPrefix(line, "[")
	if !ok {
		return ""
	}
	name, _, ok := strings.Cut(rest, "]")
	if !ok {
		return ""
	}
	return strings.TrimSpace(name)
}

func isBegin(line, owner string) bool {
	return strings.HasPrefix(line, "# BEGIN CARNET "+owner+":")
}

func isEnd(line, owner string) bool { return strings.TrimRight(line, " \t\r\n") == end(owner) }

func isBlank(line string) bool { return strings.TrimSpace(line) == "" }

// Sections gives the names of the sections of text outside the owner's block,
// such as "profile lab", "services x" or, in a credentials file, "lab".
func Sections(text, owner string) map[string]bool {
	kept, _ := strip(text, owner)
	out := map[string]bool{}
	for _, l := range kept {
		// SDKs differ on leading blanks; a clash must be seen by all.
		if head := header(strings.TrimLeft(l, " \t\ufeff")); head != "" {
			out[plain(head)] = true
		}
	}
	return out
}

// plain brings `profile "lab"` and `profile   lab` to "profile lab".
func plain(head string) string {
	return strings.Join(strings.Fields(strings.NewReplacer(`"`, "", `'`, "").Replace(head)), " ")
}
