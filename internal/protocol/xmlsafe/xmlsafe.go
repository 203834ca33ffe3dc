// Package xmlsafe admits XML from strangers, before any tree is built.
//
// It reads bytes once, keeps no copy, and lets pass only a strict subset of
// XML 1.0 with namespaces: UTF-8, ASCII names, no document type, no processing
// instruction, nothing after the root, bounded size, depth, elements,
// attributes and namespaces. What passes means the same to every reader that
// knows the standard, so that no two of them can be played against each other.
// It stands in for the round-trip validator, which costs more than all the
// rest of a verification together: fuzzing holds that nothing passes here that
// the validator would stop. It must never repair anything, and its errors
// never repeat the input.
package xmlsafe

import (
	"fmt"

	"github.com/beevik/etree"
)

// Limits bounds one document. Each field has to be set; zero admits nothing.
type Limits struct {
	Bytes      int
	Depth      int // nesting of elements; the root is 1
	Elements   int
	Attributes int // in the whole document, namespace declarations included
	PerElement int // attributes of one element, namespace declarations included
	Prefixes   int // namespace declarations in scope at one place
	Comments   bool
}

// Reason says which rule a document breaks.
type Reason string

// The reasons.
const (
	TooLarge   Reason = "too large"
	TooMany    Reason = "over a limit of structure"
	NotUTF8    Reason = "not UTF-8"
	Declared   Reason = "a document type declaration"
	Instructed Reason = "a processing instruction"
	Commented  Reason = "a comment"
	Trailing   Reason = "content outside the root element"
	Malformed  Reason = "not well-formed"
	Namespaced Reason = "a namespace that is undeclared, relative or reserved"
)

// Error names the rule and the place. It never holds the input.
type Error struct {
	Reason Reason
	Detail string
	Offset int // in bytes
}

// Error gives rule, detail and place.
func (e *Error) Error() string {
	return fmt.Sprintf("%s at byte %d: %s", e.Reason, e.Offset, e.Detail)
}

// Parse scans src and then builds its tree, with white space and comments as
// they are. The tree resolves no entity and no charset.
func Parse(src []byte, l Limits) (*etree.Element, error) {
	if err := Scan(src, l); err != nil {
		return nil, err
	}
	doc := etree.NewDocument()
	doc.ReadSettings.MaxDepth = l.Depth
	if err := doc.ReadFromBytes(src); err != nil || doc.Root() == nil {
		return nil, &Error{Reason: Malformed, Detail: "the tree can't be built"}
	}
	return doc.Root(), nil
}
