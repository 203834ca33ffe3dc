package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"time"
)

// Target takes the trail to a place outside the database: a file, a log
// collector, a bucket.
type Target interface {
	// Name is the target's name in the configuration.
	Name() string
	// Put takes documents of one chain, in its order, and returns once they are
	// where an end of this process can't lose them. It may get the same ones again.
	// Faults: Invalid and TooLarge where the target looked at these documents and
	// refuses them; all others mean that it is away or set up wrong.
	Put(ctx context.Context, documents []Document) error
}

// Untaken is a chain of which a target lacks records.
type Untaken struct {
	Writer string
	Head   int64 // its last record
	Taken  int64 // the last one that the target has; 0: none
	// Oldest is the time of the first record that it lacks; zero where that was
	// pruned.
	Oldest time.Time
}

// TargetState is what the database knows of a target.
type TargetState struct {
	Name    string
	Holder  string    // the server that feeds it
	Until   time.Time // unless another may
	Taken   time.Time // when it last took records; zero: never
	Trouble string    // why it takes none; empty: nothing is wrong
	Since   time.Time // of Trouble
}

// Places keeps how far each target has come, and which server feeds it.
type Places interface {
	// Lease gives a target to a holder until a time, unless another has it at now.
	// A target that is not known yet begins with nothing taken.
	Lease(ctx context.Context, target, holder string, now, until time.Time) (ok bool, err error)
	// Behind gives the chains of which a target lacks records, on one snapshot.
	Behind(ctx context.Context, target string) ([]Untaken, error)
	// Records gives a writer's records after a number, in order.
	Records(ctx context.Context, writer string, after int64, most int) ([]Record, error)
	// Advance notes that a target took a chain up to a record, and that nothing is
	// wrong with it. Not ok, and nothing noted, where the holder has it no more.
	Advance(ctx context.Context, target, holder, writer string, seq int64, now time.Time) (ok bool, err error)
	// Ail notes what is wrong with a target, since now; the first word of it stays.
	Ail(ctx context.Context, target, holder, trouble string, now time.Time) error
}

// Lines writes documents as JSON lines, the form of every export.
func Lines(documents []Document) ([]byte, error) {
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	lines.SetEscapeHTML(false)
	for _, d := range documents {
		if err := lines.Encode(d); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}
