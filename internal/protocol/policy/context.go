package policy

import (
	"strings"
	"unicode"
)

// Context holds the condition keys of one request. Letter case of keys does
// not count; a key with no value is absent. The zero Context is empty.
type Context struct {
	entries []entry
}

type entry struct {
	key    string // in lower case
	values []string
}

// Set gives key its values and takes the place of earlier ones.
func (c *Context) Set(key string, values ...string) {
	key = foldKey(key)
	for i := range c.entries {
		if c.entries[i].key == key {
			c.entries[i].values = values
			return
		}
	}
	c.entries = append(c.entries, entry{key: key, values: values})
}

// Get gives the values of key; none where it is absent.
func (c *Context) Get(key string) []string { return c.lookup(foldKey(key)) }

// Clone gives a copy to which keys can be added apart.
func (c *Context) Clone() Context {
	return Context{entries: append(make([]entry, 0, len(c.entries)+16), c.entries...)}
}

func (c *Context) lookup(lower string) []string {
	if c == nil {
		return nil
	}
	for i := range c.entries {
		if c.entries[i].key == lower {
			return c.entries[i].values
		}
	}
	return nil
}

// foldKey gives the form under which names of keys are the same. The capital I
// with a dot stays: its small letter is a plain i, but no operator takes the two
// for one another, so a tag could pass a policy that forbids its key and then
// be read under that key.
func foldKey(key string) string {
	const dotted = 'İ'
	if !strings.ContainsRune(key, dotted) {
		return strings.ToLower(key)
	}
	return strings.Map(func(c rune) rune {
		if c == dotted {
			return c
		}
		return unicode.ToLower(c)
	}, key)
}
