package web

import (
	"fmt"
	"strconv"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/service/audit"
)

// picture is how much happened when, as bars: the shapes for the eye, the words and
// the table for whoever doesn't see them.
type picture struct {
	Bars   []bar
	Width  int // of the drawing, in its own units
	Height int
	Most   string // the height of the highest bar
	First  string // the ends of the axis
	Last   string
	Total  string
	Totals []tally
	Since  *clock // where not all could be counted
	Each   string // what a bar is
}

// tally is how many events had an outcome.
type tally struct {
	Outcome event.Outcome
	Events  string
}

// bar is one span of time.
type bar struct {
	X, Width int
	Parts    []part
	Text     string // when, and how many
	Label    string
	Counts   [3]int // by outcome, as outcomes has them
}

// part is one outcome of a bar.
type part struct {
	Outcome   event.Outcome
	Y, Height float64
}

// outcomes are drawn from the ground up.
var outcomes = [...]event.Outcome{event.Done, event.Denied, event.Failed}

const (
	barStep, barWidth = 10, 8
	pictureHeight     = 100
	leastPart         = 2.5 // a single denial among thousands has to be seen
)

// draw gives the picture of what was counted; nil where nothing was.
func draw(a audit.Activity) *picture {
	if len(a.Counts) == 0 {
		return nil
	}
	begin := a.From.Truncate(a.Step)
	spans := int(a.To.Sub(begin)/a.Step) + 1
	p := &picture{Bars: make([]bar, spans), Width: spans*barStep - (barStep - barWidth), Height: pictureHeight, First: labelOf(begin, a.Step), Last: labelOf(a.To, a.Step), Each: spanText(a.Step)}
	var totals [len(outcomes)]int
	for _, c := range a.Counts {
		i := int(c.From.Sub(begin) / a.Step)
		if i < 0 || i >= spans {
			continue
		}
		for k, o := range outcomes {
			if o == c.Outcome {
				p.Bars[i].Counts[k] += c.Events
				totals[k] += c.Events
			}
		}
	}
	most := 0
	for i := range p.Bars {
		c := p.Bars[i].Counts
		most = max(most, c[0]+c[1]+c[2])
	}
	for i := range p.Bars {
		p.Bars[i].draw(i, begin.Add(time.Duration(i)*a.Step), a.Step, most)
	}
	for k, o := range outcomes {
		p.Totals = append(p.Totals, tally{o, thousands(totals[k])})
	}
	p.Most, p.Total = thousands(most), thousands(totals[0]+totals[1]+totals[2])
	if !a.Since.IsZero() {
		p.Since = &clock{At: a.Since}
	}
	return p
}

func (b *bar) draw(i int, from time.Time, step time.Duration, most int) {
	b.X, b.Width, b.Label = i*barStep, barWidth, labelOf(from, step)
	b.Text = b.Label + ": "
	y := float64(pictureHeight)
	for k, o := range outcomes {
		n := b.Counts[k]
		if k > 0 {
			b.Text += ", "
		}
		b.Text += thousands(n) + " " + string(o)
		if n == 0 {
			continue
		}
		h := max(leastPart, float64(n)/float64(most)*(pictureHeight-2*leastPart))
		y -= h
		b.Parts = append(b.Parts, part{o, round(y), round(h)})
	}
}

func round(x float64) float64 { return float64(int(x*10+0.5)) / 10 }

// Empty reports whether nothing happened in a span.
func (b bar) Empty() bool { return b.Counts == [3]int{} }

func labelOf(t time.Time, step time.Duration) string {
	if step >= 24*time.Hour {
		return t.UTC().Format("2 Jan 2006")
	}
	return t.UTC().Format("2 Jan 15:04")
}

// spanText says how long a span is.
func spanText(d time.Duration) string {
	unit, n := "minute", int(d/time.Minute)
	switch {
	case d >= 7*24*time.Hour:
		unit, n = "week", int(d/(7*24*time.Hour))
	case d >= 24*time.Hour:
		unit, n = "day", int(d/(24*time.Hour))
	case d >= time.Hour:
		unit, n = "hour", int(d/time.Hour)
	}
	if n == 1 {
		return article(unit)
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

// thousands writes a number as people read it: 1,234,567.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func article(unit string) string {
	if unit == "hour" {
		return "an hour"
	}
	return "a " + unit
}
