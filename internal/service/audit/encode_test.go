package audit

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/event"
)

// TestEncodeIsJSON: every field of an event is written, as encoding/json writes
// it, one that a later release adds too.
func TestEncodeIsJSON(t *testing.T) {
	t.Parallel()
	var full event.Event
	v := reflect.ValueOf(&full).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.String {
			f.SetString(fmt.Sprintf("value %d", i))
		}
	}
	full.At, full.Detail = time.Date(2026, 3, 1, 8, 0, 0, 123e6, time.UTC), map[string]string{"b": "2", "a": "1", "": "", "ü": "<x>"}
	for _, e := range []event.Event{
		full,
		{Action: "exchange", Outcome: event.Done, At: time.Unix(0, 0).UTC()},
		{Action: "x", Target: "a\"b\\c<d>&e", UserName: "Jürg \x00\xff\u2028", Detail: map[string]string{}},
		{Action: "x", At: time.Date(2026, 3, 1, 8, 0, 0, 0, time.FixedZone("", 3600)), Detail: map[string]string{"a": "ok"}},
	} {
		want, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if got := encode(&e); string(got) != string(want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
